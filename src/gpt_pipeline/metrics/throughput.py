"""Throughput of the last training steps: tokens per second, and time spent waiting for data."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class _Span(NamedTuple):
    seconds: float
    waited_s: float
    tokens: int


class Throughput:
    """Times steps and averages over the last ones; evaluation and saving are not included."""

    def __init__(self, *, steps: int = 20) -> None:
        self._spans: deque[_Span] = deque(maxlen=steps)
        self._start = time.perf_counter()
        self._waited_s = 0.0

    def start(self) -> None:
        """Start timing a step."""
        self._start, self._waited_s = time.perf_counter(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the block, inside a step, as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited_s += time.perf_counter() - start

    def stop(self, tokens: int) -> None:
        """End the step, which processed this many tokens."""
        self._spans.append(_Span(time.perf_counter() - self._start, self._waited_s, tokens))

    @property
    def tokens_per_s(self) -> float:
        """Tokens per second; 0 before the first step."""
        seconds = self._seconds
        return sum(span.tokens for span in self._spans) / seconds if seconds else 0.0

    @property
    def data_wait_share(self) -> float:
        """Share of the steps' time, 0 to 1, spent waiting for data."""
        seconds = self._seconds
        return sum(span.waited_s for span in self._spans) / seconds if seconds else 0.0

    @property
    def _seconds(self) -> float:
        return sum(span.seconds for span in self._spans)
