"""What a run takes from the machine: tokens a second, and memory."""

import resource
import sys
import time
from collections import deque

import torch


class Throughput:
    """Tokens a second over the last steps; evaluation and saving are not counted in."""

    def __init__(self, *, steps: int = 20) -> None:
        self._spans: deque[tuple[float, int]] = deque(maxlen=steps)
        self._start = time.perf_counter()

    def start(self) -> None:
        """Begin to time a step."""
        self._start = time.perf_counter()

    def stop(self, tokens: int) -> None:
        """End the step that went through this many tokens."""
        self._spans.append((time.perf_counter() - self._start, tokens))

    @property
    def tokens_per_s(self) -> float:
        """The rate; 0 before the first step."""
        seconds = sum(span for span, _ in self._spans)
        return sum(tokens for _, tokens in self._spans) / seconds if seconds else 0.0


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory held so far: of the GPU where there is one, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB
