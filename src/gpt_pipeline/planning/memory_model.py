"""The memory that a run takes, by its micro-batch: measured, or drawn on in a line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gpt_pipeline.config import BatchSplit

USABLE_SHARE = 0.9
"""Of the memory that is free: the rest is for fragments, and for what other programs take."""


@dataclass(frozen=True)
class MemoryBaseline:
    """What a run holds whatever its micro-batch is, after its first step.

    Attributes:
        device: type of the device whose memory this is; the host's for the CPU.
        dtype: of the matrix products.
        parameters: of the model.
        program_bytes: Python, torch and libraries; 0 on a GPU.
        weights_bytes: the model's.
        gradients_bytes: one for each weight that is trained.
        optimizer_bytes: the optimizer's state.
        snapshot_bytes: the copy that checkpoints are written from, where it is on the device.
        available_bytes: what the device has for the run.
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
        """All of it."""
        return (
            self.program_bytes
            + self.weights_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.snapshot_bytes
        )

    @property
    def usable_bytes(self) -> int:
        """What the run may take at its peak."""
        return int(USABLE_SHARE * self.available_bytes)


@dataclass(frozen=True)
class MemoryReading:
    """A step and an evaluation of some windows at once: most memory held, and seconds."""

    windows: int
    step_bytes: int
    evaluation_bytes: int
    step_s: float
    evaluation_s: float


@dataclass(frozen=True)
class Speed:
    """Steps that were timed: how many, of how many windows each, and their seconds together."""

    steps: int
    windows: int
    micro_batch_size: int
    seconds: float
    evaluation_s_per_window: float

    @property
    def windows_per_s(self) -> float:
        """Windows trained a second."""
        return self.steps * self.windows / self.seconds


@dataclass(frozen=True)
class MemoryModel:
    """What was measured, by rising number of windows; at least one reading."""

    baseline: MemoryBaseline
    readings: Sequence[MemoryReading]
    speed: Speed | None = None

    def is_measured(self, windows: int) -> bool:
        """Whether the peak at this micro-batch was measured and not drawn on."""
        return any(reading.windows == windows for reading in self.readings)

    def peak_bytes(self, windows: int) -> int:
        """Most memory that the run holds with this many windows at once.

        Between two readings and beyond the last it is a line; a single reading is taken for one
        that rises from the baseline.
        """
        steps = [(r.windows, r.step_bytes) for r in self.readings]
        looks = [(r.windows, r.evaluation_bytes) for r in self.readings]
        most = max(self._on_line(steps, windows), self._on_line(looks, windows))
        return most + self.baseline.snapshot_bytes

    def fits(self, windows: int) -> bool:
        """Whether so many windows at once fit."""
        return self.peak_bytes(windows) <= self.baseline.usable_bytes

    def largest_split(self, windows_per_step: int) -> BatchSplit | None:
        """The largest micro-batch that fits and divides a step; None where not one window does."""
        size = self._most_windows(windows_per_step)
        while size > 0 and windows_per_step % size:
            size -= 1
        return BatchSplit(size, windows_per_step // size) if size else None

    def _most_windows(self, limit: int) -> int:
        """The most windows that fit, up to a limit; memory rises with them."""
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
        slope = max(0.0, (y2 - y1) / (n2 - n1))  # a peak that fell was a matter of chance
        return math.ceil(y2 + slope * (windows - n2))


def half(split: BatchSplit) -> BatchSplit | None:
    """The largest split of the same step with at most half the micro-batch; None below one."""
    windows = split.windows_per_step
    size = split.micro_batch_size // 2
    while size > 0 and windows % size:
        size -= 1
    return BatchSplit(size, windows // size) if size else None
