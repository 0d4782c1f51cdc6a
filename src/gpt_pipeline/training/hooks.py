"""What the loop is given, and what it tells: windows come in, reports go out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from gpt_pipeline.checkpoint import Checkpoint
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Arrays, Batch
from gpt_pipeline.training.throughput_meter import Speed


class TrainingWindows(Protocol):
    """Where training windows come from."""

    @property
    def num_windows(self) -> int:
        """Windows of one epoch."""

    def batch(self, position: int, count: int) -> Batch:
        """The windows at positions [position, position + count) of the run's order."""

    def num_targets(self, position: int, count: int) -> int:
        """How many tokens they have to predict."""


class ValidationWindows(Protocol):
    """Where validation windows come from."""

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text behind a token, on average."""

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Arrays]:
        """Every window once, or `limit` batches of them spread evenly."""


@dataclass(frozen=True)
class StepReport:
    """What a progress display shows of a step; `progress` is the share of the run done."""

    step: int
    num_steps: int
    loss: float
    lr: float
    speed: Speed
    progress: float
    val_loss: float | None


@dataclass(frozen=True)
class Hooks:
    """What the caller does beside the loop.

    Attributes:
        stepped: called after a step.
        evaluated: called after an evaluation and the save that it leads to, with the step and the
            model.
        stop: whether to save and stop at the end of the step.
        interrupt: whether the step or evaluation at hand has taken too long since then.
    """

    stepped: Callable[[StepReport], None]
    evaluated: Callable[[int, GPTModel], None]
    stop: Callable[[], bool]
    interrupt: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Outcome:
    """How a run ended: complete, or not, with the checkpoint to go on from.

    Attributes:
        finished: it is complete.
        checkpoint: the newest one.
        out_of_memory: why there was no memory for a step or an evaluation; None where there was.
    """

    finished: bool
    checkpoint: Checkpoint | None
    out_of_memory: str | None = None
