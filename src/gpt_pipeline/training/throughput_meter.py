"""How fast a run goes, held against what its device can do."""

import logging
from dataclasses import dataclass

from gpt_pipeline.best_effort import BestEffort
from gpt_pipeline.metrics import Throughput, flops_per_token, multiplied_parameters
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.memory import peak_memory_bytes
from gpt_pipeline.runtime.peak_flops import peak_flops
from gpt_pipeline.runtime.precision import Precision

log = logging.getLogger(__name__)

_MOST_MEASUREMENTS = 4


@dataclass(frozen=True)
class Speed:
    """What the last steps took from the machine.

    Attributes:
        tokens_per_s: tokens a second; evaluation and saving are not counted in.
        mfu: share, 0 to 1, of the device's measured rate of matrix products; None where
            that could not be measured.
        data_wait_share: share, 0 to 1, of the steps' time spent on getting their data.
        memory_bytes: the most memory held so far; None where it could not be read.
    """

    tokens_per_s: float
    mfu: float | None
    data_wait_share: float
    memory_bytes: int | None


class ThroughputMeter:
    """Times the steps of one run.

    Attributes:
        clock: to be started and stopped with each step.
    """

    def __init__(self, model: GPTModel, precision: Precision) -> None:
        self.clock = Throughput()
        self._precision = precision
        shape = model.config
        self._flops_per_token = flops_per_token(
            multiplied_parameters(model, model.lm_head_weight),
            num_layers=shape.num_layers,
            embed_dim=shape.embed_dim,
            max_length=shape.max_length,
        )
        self._rate, self._measurements = 0.0, 0
        self._best_effort = BestEffort()

    def speed(self) -> Speed:
        """The figures now; the first call measures the device's rate, and says it."""
        tokens_per_s = self.clock.tokens_per_s
        memory_bytes, share = None, None
        with self._best_effort.to("read the memory in use"):  # before that of the measurement
            memory_bytes = peak_memory_bytes(self._precision.device)
        with self._best_effort.to("measure the rate of matrix products"):
            share = self._mfu(tokens_per_s * self._flops_per_token)
        return Speed(tokens_per_s, share, self.clock.data_wait_share, memory_bytes)

    def _mfu(self, flops_per_s: float) -> float | None:
        """A run cannot outdo its device: where it seems to, the rate was that of a busy moment."""
        if self._measurements == 0:
            self._measure()
        while self._rate < flops_per_s and self._measurements < _MOST_MEASUREMENTS:
            self._measure()
        return min(1.0, flops_per_s / self._rate) if self._rate > 0 else None

    def _measure(self) -> None:
        precision, before = self._precision, self._rate
        self._measurements += 1
        self._rate = peak_flops(precision.device, precision.dtype, anew=self._measurements > 1)
        if self._rate > before:
            log.info("matrix rate: %s GFLOP/s in %s", f"{self._rate / 1e9:,.0f}", precision.name)
