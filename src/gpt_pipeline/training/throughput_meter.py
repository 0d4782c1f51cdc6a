"""The throughput of a run, and its share of what the device can do."""

import logging
from dataclasses import dataclass

from gpt_pipeline.best_effort import BestEffort
from gpt_pipeline.metrics import Throughput, training_flops_per_token
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.memory import peak_memory_bytes
from gpt_pipeline.runtime.peak_flops import PeakFlops
from gpt_pipeline.runtime.precision import Precision

log = logging.getLogger(__name__)

_FIRST_READINGS = 4
"""Readings that may follow each other without an interval while they are below the run's own rate.
"""
_WORTH_LOGGING = 1.05
"""A new peak is logged if it is higher than the logged one by this factor."""


@dataclass(frozen=True)
class Speed:
    """What the last steps took from the machine.

    Attributes:
        tokens_per_s: tokens per second, without evaluations and saves.
        mfu: model FLOPs utilisation, 0 to 1: the share of the measured peak FLOP/s; None if the
            peak could not be measured.
        data_wait_share: share of the steps' time, 0 to 1, spent waiting for data.
        memory_bytes: peak memory so far; None if it could not be read.
    """

    tokens_per_s: float
    mfu: float | None
    data_wait_share: float
    memory_bytes: int | None


class ThroughputMeter:
    """Times the steps of one run.

    Args:
        model: for its FLOPs per token.
        precision: device and format of the matrix products.
        peak: the device's measured peak FLOP/s.

    Attributes:
        clock: to be started and stopped with each step.
    """

    def __init__(
        self, model: GPTModel, precision: Precision, *, peak: PeakFlops | None = None
    ) -> None:
        self.clock = Throughput()
        self._device, self._dtype = precision.device, precision.name
        self._flops_per_token = training_flops_per_token(model)
        self._peak = peak or PeakFlops(precision.device, precision.dtype)
        self._logged_peak, self._peak_memory_bytes = 0.0, 0
        self._best_effort = BestEffort()

    def speed(self, *, may_wait: bool = True) -> Speed:
        """Return the figures of the last steps.

        Args:
            may_wait: whether the peak FLOP/s may be measured now, which waits for the device; it
                then is, if a reading is due.
        """
        tokens_per_s = self.clock.tokens_per_s
        memory_bytes, mfu = None, None
        with self._best_effort.to("read the memory in use"):  # before a reading resets a GPU's peak
            used = peak_memory_bytes(self._device)
            memory_bytes = self._peak_memory_bytes = max(self._peak_memory_bytes, used)
        with self._best_effort.to("measure the peak FLOP/s"):
            mfu = self._mfu(tokens_per_s * self._flops_per_token, may_wait=may_wait)
        return Speed(tokens_per_s, mfu, self.clock.data_wait_share, memory_bytes)

    def _mfu(self, flops_per_s: float, *, may_wait: bool) -> float | None:
        """The utilisation by the best reading so far; a run cannot exceed the true peak."""
        peak = self._peak
        if may_wait and peak.is_due:
            peak.read()
        while may_wait and peak.best < flops_per_s and peak.readings < _FIRST_READINGS:
            peak.read()
        if peak.best > _WORTH_LOGGING * self._logged_peak:
            self._logged_peak = peak.best
            log.info("measured peak: %s GFLOP/s in %s", f"{peak.best / 1e9:,.0f}", self._dtype)
        return min(1.0, flops_per_s / peak.best) if peak.best > 0 else None
