"""What a run reports: entries of metrics.jsonl, and figures for the progress display."""

import math
from dataclasses import dataclass
from typing import Any

from gpt_pipeline.config import Config
from gpt_pipeline.metrics import Evaluation
from gpt_pipeline.tracking.metrics_file import MetricsFile, without_nan
from gpt_pipeline.training.rollback import StepRecord
from gpt_pipeline.training.schedule import RunLength
from gpt_pipeline.training.state import TrainState
from gpt_pipeline.training.step import StepResult
from gpt_pipeline.training.throughput_meter import Speed


@dataclass(frozen=True)
class StepReport:
    """Figures of a step for a progress display; `progress` is the share of the run done, 0 to 1.

    `loss` is that of the last step whose figures are known: a GPU is not waited for at each step.
    """

    step: int
    num_steps: int
    loss: float
    lr: float
    speed: Speed
    progress: float
    val_loss: float | None


class TrainingLog:
    """Writes the entries of metrics.jsonl: at most one per step, with the evaluation after it."""

    def __init__(self, config: Config, length: RunLength, state: TrainState) -> None:
        self._log_every = config.logging.log_every
        self._eval_freq = config.model.eval_freq
        self._length, self._state = length, state
        self._loss = math.nan
        self._val_loss: float | None = None

    def wait_for(self, result: StepResult) -> None:
        """Wait for the figures of a step."""
        self._loss = result.loss

    def step(self, metrics: MetricsFile, record: StepRecord, speed: Speed) -> StepReport:
        """Write the entry of a step, or keep it in `state.pending` if an evaluation follows."""
        state, entry = self._state, self._entry()
        complete = self._length.is_complete(state)
        if record.step == 1 or record.step % self._log_every == 0 or complete:
            entry |= _step_figures(record, speed)
        if record.step % self._eval_freq == 0 or complete:
            state.pending = without_nan(entry)
        elif len(entry) > len(self._entry()):
            metrics.log(entry)
        return StepReport(
            step=record.step,
            num_steps=self._length.last_step(state),
            loss=self._loss,
            lr=record.lr,
            speed=speed,
            progress=self._length.progress(state),
            val_loss=self._val_loss,
        )

    def evaluation(self, metrics: MetricsFile, figures: Evaluation | None) -> None:
        """Write the pending entry, with the figures of an evaluation if there was one."""
        entry = self._state.pending or self._entry()
        if figures is not None:
            self._val_loss = figures.loss
            entry = entry | _evaluation_figures(figures)
        if len(entry) > len(self._entry()):
            metrics.log(entry)
        self._state.pending = None

    def _entry(self) -> dict[str, Any]:
        """What every entry has."""
        return {"step": self._state.step, "tokens": self._state.tokens}


def _step_figures(record: StepRecord, speed: Speed) -> dict[str, Any]:
    return {
        "train_loss": record.result.loss,
        "grad_norm": record.result.grad_norm,
        "lr": record.lr,
        "tokens_per_s": round(speed.tokens_per_s, 1),
        **({} if speed.mfu is None else {"mfu": round(speed.mfu, 4)}),
        "data_wait_share": round(speed.data_wait_share, 5),
        **({} if speed.memory_bytes is None else {"memory_bytes": speed.memory_bytes}),
    }


def _evaluation_figures(figures: Evaluation) -> dict[str, Any]:
    return {
        "val_loss": figures.loss,
        "val_bits_per_byte": figures.bits_per_byte,
        "val_accuracy": figures.accuracy,
        "val_tokens": figures.tokens,
    }
