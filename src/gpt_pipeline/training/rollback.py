"""Rollbacks: after too many consecutive steps that are not finite, return to a checkpoint."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from gpt_pipeline.errors import TrainingError
from gpt_pipeline.tracking.metrics_file import MetricsFile
from gpt_pipeline.training.checkpointing import Checkpointer
from gpt_pipeline.training.state import TrainState
from gpt_pipeline.training.step import StepResult

log = logging.getLogger(__name__)

MAX_ROLLBACKS = 3
"""The first rollback recovers from an accident, the second one, with half the learning rate, from
an instability; instead of a third one, the run stops with an error."""


@dataclass(frozen=True)
class StepRecord:
    """A step of the run; `position` is that of its first window."""

    step: int
    position: int
    windows: int
    lr: float
    result: StepResult

    def __str__(self) -> str:
        loss, norm = self.result.loss, self.result.grad_norm
        return f"step {self.step}: loss {loss:.4g}, gradient norm {norm:.4g}, lr {self.lr:.3g}"


class Rollbacks:
    """Counts steps that are not finite, and rolls the run back.

    Args:
        state: of the run; its counts of bad steps and rollbacks are kept here.
        checkpointer: restores the newest checkpoint.
        max_bad_steps: consecutive bad steps that lead to a rollback.
        diagnose: names the first value in a step that is not finite.
    """

    def __init__(
        self,
        state: TrainState,
        checkpointer: Checkpointer,
        *,
        max_bad_steps: int,
        diagnose: Callable[[StepRecord], str],
    ) -> None:
        self._state, self._checkpointer = state, checkpointer
        self._max_bad_steps, self._diagnose = max_bad_steps, diagnose
        self._last_good: StepRecord | None = None
        self._first_bad: StepRecord | None = None
        self._unchecked: list[StepRecord] = []

    def add(self, record: StepRecord) -> None:
        """Record a step, whose figures may not be known yet."""
        self._unchecked.append(record)

    def check(self, metrics: MetricsFile) -> None:
        """Wait for the figures of the recorded steps, and roll back after too many bad ones.

        Raises:
            TrainingError: this would be the third rollback.
        """
        records, self._unchecked = self._unchecked, []
        state = self._state
        for record in records:
            if record.result.finite:
                self._last_good, self._first_bad = record, None
                state.bad_steps = 0
                continue
            self._first_bad = self._first_bad or record
            state.bad_steps += 1
            state.skipped_steps += 1
            log.warning("skipped %s; %d consecutive", record, state.bad_steps)
            if state.bad_steps >= self._max_bad_steps:  # the steps after it do not count
                self._roll_back(metrics)
                return

    def _roll_back(self, metrics: MetricsFile) -> None:
        state, before = self._state, replace(self._state)
        self._checkpointer.poll(wait=True)
        if before.rollbacks + 1 == MAX_ROLLBACKS:
            raise self._error()
        checkpoint = self._checkpointer.restore_newest()
        halved = before.rollbacks + 1 == MAX_ROLLBACKS - 1
        state.rollbacks, state.last_bad_step = before.rollbacks + 1, before.step
        state.lr_scale = before.lr_scale * (0.5 if halved else 1.0)
        state.skipped_steps = before.skipped_steps
        self._first_bad = None
        metrics.rewind(lines=state.metrics_lines, step=state.step)
        log.warning(
            "%d consecutive steps were not finite: rolled back to %s, learning rate times %g from "
            "there", before.bad_steps, checkpoint.path if checkpoint else "the start",
            state.lr_scale,
        )  # fmt: skip

    def _error(self) -> TrainingError:
        """The error that ends the run: where it began, and what to change."""
        state, first = self._state, self._first_bad
        lines = [
            f"training stops at step {state.step}: {state.bad_steps} consecutive steps were not "
            "finite, for the third time, despite two rollbacks and half the learning rate"
        ]
        if first is not None:
            lines.append(f"the first was {first}")
            last = first.position + first.windows - 1
            lines.append(
                f"its first value that is not finite is in {self._diagnose(first)}; "
                f"it was computed on training windows {first.position} to {last}"
            )
        if self._last_good is not None:
            lines.append(f"the last good step was {self._last_good}")
        newest = self._checkpointer.checkpoint
        kept = f"{newest.path} was saved before" if newest else "no checkpoint was saved before"
        lines.append(
            f"{kept}; lower model.learning_rate (or raise model.warmup_steps), and start again"
        )
        return TrainingError("\n".join(lines))
