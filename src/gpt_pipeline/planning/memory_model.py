"""The memory that a run takes as a function of its micro-batch: measured, else extrapolated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpt_pipeline.config import BatchSplit

USABLE_SHARE = 0.9
"""Of the free memory: the rest is for fragmentation and other programs."""


@dataclass(frozen=True)
class MemoryBaseline:
    """The memory that a run holds after its first step, independent of its micro-batch.

    Attributes:
        device: type of the device whose memory this is; cpu for the host's.
        dtype: format of the matrix products.
        parameters: of the model.
        program_bytes: Python, torch and libraries; 0 on a GPU.
        weights_bytes: the model's weights.
        gradients_bytes: the gradients of all trained weights.
        optimizer_bytes: the optimizer's state.
        snapshot_bytes: the copy that checkpoints are written from, if it is on this device.
        available_bytes: memory that the run may use.
    """

    device: str
    dtype: str
    parameters: int
    program_bytes: int
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    snapshot_bytes: int
    available_bytes: int

    @property
    def bytes(self) -> int:
        """The sum."""
        return (
            self.program_bytes
            + self.weights_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.snapshot_bytes
        )

    @property
    def usable_bytes(self) -> int:
        """The highest peak at which the run fits."""
        return int(USABLE_SHARE * self.available_bytes)


@dataclass(frozen=True)
class MemoryReading:
    """Peak memory and seconds of a step and of an evaluation with one micro-batch of `windows`."""

    windows: int
    step_bytes: int
    evaluation_bytes: int
    step_s: float
    evaluation_s: float


@dataclass(frozen=True)
class StepTiming:
    """Timed steps: their number, the windows of each, and the seconds of all together."""

    steps: int
    windows: int
    micro_batch_size: int
    seconds: float
    evaluation_s_per_window: float

    @property
    def windows_per_s(self) -> float:
        """Windows trained per second."""
        return self.steps * self.windows / self.seconds


@dataclass(frozen=True)
class MemoryModel:
    """Measured readings by rising number of windows, at least one; between them it interpolates."""

    baseline: MemoryBaseline
    readings: Sequence[MemoryReading]
    timing: StepTiming | None = None

    def is_measured(self, windows: int) -> bool:
        """Whether the peak at this micro-batch was measured, not extrapolated."""
        return any(reading.windows == windows for reading in self.readings)

    def peak_bytes(self, windows: int) -> int:
        """Peak memory of the run with this many windows per micro-batch.

        Linear between two readings and beyond the last. With a single reading, the line starts at
        the baseline.
        """
        steps = [(r.windows, r.step_bytes) for r in self.readings]
        evaluations = [(r.windows, r.evaluation_bytes) for r in self.readings]
        most = max(self._on_line(steps, windows), self._on_line(evaluations, windows))
        return most + self.baseline.snapshot_bytes

    def fits(self, windows: int) -> bool:
        """Whether a micro-batch of this many windows fits into memory."""
        return self.peak_bytes(windows) <= self.baseline.usable_bytes

    def largest_split(self, windows_per_step: int) -> BatchSplit | None:
        """The split with the largest micro-batch that fits and divides a step; None if none."""
        size = self._most_windows(windows_per_step)
        while size > 0 and windows_per_step % size:
            size -= 1
        return BatchSplit(size, windows_per_step // size) if size else None

    def _most_windows(self, limit: int) -> int:
        """The largest number of windows that fits, up to a limit; memory rises with the number."""
        if self.fits(limit):
            return limit
        low, high = 0, limit
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.fits(middle) else (low, middle)
        return low

    def _on_line(self, points: Sequence[tuple[int, int]], windows: int) -> int:
        held = self.baseline.bytes - self.baseline.snapshot_bytes
        known = [(0, min(held, points[0][1])), *points]
        beyond = next((i for i, (n, _) in enumerate(known) if n >= windows), len(known) - 1)
        (n1, y1), (n2, y2) = known[max(0, beyond - 1)], known[max(1, beyond)]
        slope = max(0.0, (y2 - y1) / (n2 - n1))  # a peak that falls is noise
        return math.ceil(y2 + slope * (windows - n2))


def half(split: BatchSplit) -> BatchSplit | None:
    """The split of the same step with at most half the micro-batch; None if it is one window."""
    windows = split.windows_per_step
    size = split.micro_batch_size // 2
    while size > 0 and windows % size:
        size -= 1
    return BatchSplit(size, windows // size) if size else None
