"""What a run is given by its caller, and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gpt_pipeline.checkpoint import Checkpoint
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Batch
from gpt_pipeline.training.log import StepReport


class TrainingWindows(Protocol):
    """Training text as windows, in the order of the run."""

    @property
    def num_windows(self) -> int:
        """Windows per epoch."""

    def batch(self, position: int, count: int) -> Batch:
        """The windows at positions [position, position + count) of the run's order."""

    def num_targets(self, position: int, count: int) -> int:
        """Number of tokens to predict in these windows."""


@dataclass(frozen=True)
class Hooks:
    """Functions of the caller that the loop calls.

    Attributes:
        stepped: called after each step.
        evaluated: called with the step and the model after each evaluation and the save that may
            follow it. The model has the weights that were evaluated.
        stop: whether to save and stop at the end of the step.
        interrupt: whether to interrupt the step or evaluation in progress.
    """

    stepped: Callable[[StepReport], None]
    evaluated: Callable[[int, GPTModel], None]
    stop: Callable[[], bool]
    interrupt: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Outcome:
    """How a run or a session of it ended.

    Attributes:
        finished: the run is complete.
        checkpoint: the newest checkpoint; None if no step was done.
        out_of_memory: the reason if memory ran out; None otherwise.
    """

    finished: bool
    checkpoint: Checkpoint | None
    out_of_memory: str | None = None
