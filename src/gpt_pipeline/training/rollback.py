"""What a run does when steps in a row are not finite: how often it goes back, and its report."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gpt_pipeline.errors import TrainingError
from gpt_pipeline.training.state import TrainState
from gpt_pipeline.training.step import StepResult

log = logging.getLogger(__name__)

MAX_ROLLBACKS = 3
"""Going back once mends an accident, going back with half the learning rate an instability; a
third time, the run stops."""


@dataclass(frozen=True)
class StepRecord:
    """A step as it was; `position` is that of its first window."""

    step: int
    position: int
    windows: int
    lr: float
    result: StepResult

    def __str__(self) -> str:
        loss, norm = self.result.loss, self.result.grad_norm
        return f"step {self.step}: loss {loss:.4g}, gradient norm {norm:.4g}, lr {self.lr:.3g}"


class Rollbacks:
    """Watches the steps of a run for rows that are not finite."""

    def __init__(self) -> None:
        self.last_good: StepRecord | None = None
        self.first_bad: StepRecord | None = None
        self._added: list[StepRecord] = []

    def add(self, step: StepRecord) -> None:
        """Take in a step, whose figures may not be known yet."""
        self._added.append(step)

    def look(self, state: TrainState, most: int) -> bool:
        """Wait for the figures of the steps since the last look, and count the bad ones.

        Returns whether `most` in a row were not finite; later ones are then of no account.
        """
        added, self._added = self._added, []
        for step in added:
            if step.result.finite:
                self.last_good, self.first_bad = step, None
                state.bad_steps = 0
                continue
            self.first_bad = self.first_bad or step
            state.bad_steps += 1
            state.skipped_steps += 1
            log.warning("skipped %s; %d in a row", step, state.bad_steps)
            if state.bad_steps >= most:
                return True
        return False

    def clear(self) -> None:
        """Forget the row of bad steps: the run has gone back."""
        self.first_bad = None

    def next_try(self, state: TrainState) -> TrainState:
        """What the state that the run goes back to must keep of the present one."""
        rollbacks = state.rollbacks + 1
        halved = rollbacks == MAX_ROLLBACKS - 1
        return replace(
            state,
            rollbacks=rollbacks,
            last_bad_step=state.step,
            lr_scale=state.lr_scale * (0.5 if halved else 1.0),
        )

    def report(
        self, state: TrainState, newest: Path | None, diagnose: Callable[[StepRecord], str]
    ) -> TrainingError:
        """The error that ends the run, with where it began.

        Args:
            state: the run's, at the end of the row of bad steps.
            newest: the checkpoint from before them.
            diagnose: finds the first value that is not finite in a step.
        """
        first = self.first_bad
        lines = [
            f"training stops at step {state.step}: {state.bad_steps} steps in a row were not "
            "finite, for the third time; going back did not help, nor did half the learning rate"
        ]
        if first is not None:
            lines.append(f"it began at {first}")
            last = first.position + first.windows - 1
            lines.append(
                f"there, the first value that is not finite is in {diagnose(first)}; "
                f"its windows are {first.position} to {last} of the run's order"
            )
        if self.last_good is not None:
            lines.append(f"the last good step was {self.last_good}")
        kept = f"{newest} is from before that" if newest else "no checkpoint was written before it"
        lines.append(
            f"{kept}; lower model.learning_rate (or raise model.warmup_steps), and start again"
        )
        return TrainingError("\n".join(lines))
