"""What a run takes from the machine: tokens a second, waiting for data, and memory."""

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
    """Figures of the last steps; evaluation and saving are not counted in."""

    def __init__(self, *, steps: int = 20) -> None:
        self._spans: deque[_Span] = deque(maxlen=steps)
        self._start = time.perf_counter()
        self._waited_s = 0.0

    def start(self) -> None:
        """Begin to time a step."""
        self._start, self._waited_s = time.perf_counter(), 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What is done inside, in a step, is waiting for data."""
        start = time.perf_counter()
        yield
        self._waited_s += time.perf_counter() - start

    def stop(self, tokens: int) -> None:
        """End the step that went through this many tokens."""
        self._spans.append(_Span(time.perf_counter() - self._start, self._waited_s, tokens))

    @property
    def tokens_per_s(self) -> float:
        """The rate; 0 before the first step."""
        seconds = self._seconds
        return sum(span.tokens for span in self._spans) / seconds if seconds else 0.0

    @property
    def data_wait_share(self) -> float:
        """Share of the steps' time, 0 to 1, that went into getting their data."""
        seconds = self._seconds
        return sum(span.waited_s for span in self._spans) / seconds if seconds else 0.0

    @property
    def _seconds(self) -> float:
        return sum(span.seconds for span in self._spans)
