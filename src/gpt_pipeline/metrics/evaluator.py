"""Evaluates a model on validation windows, in training and in every command alike."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from torch import Tensor

from gpt_pipeline.metrics.evaluation import Evaluation, evaluate, scored
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Arrays, Precision

Scored = tuple[Tensor, Tensor]
"""Logits [R, V] and their targets [R]."""


class ValidationWindows(Protocol):
    """Validation text as windows."""

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text per token, on average."""

    def batches(self, batch_size: int, limit: int | None = None) -> Iterator[Arrays]:
        """Every window once, or `limit` batches spread evenly over them."""


class Evaluator:
    """Evaluates one model; it is in evaluation mode meanwhile.

    Args:
        model: the network.
        precision: the device and number format of its forward pass.
        micro_batch_size: windows per batch.
        check: called before and after each part of an evaluation; what it raises ends it.
    """

    def __init__(
        self,
        model: GPTModel,
        precision: Precision,
        *,
        micro_batch_size: int,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._model, self._precision = model, precision
        self._micro_batch_size, self._check = micro_batch_size, check

    def __call__(self, windows: ValidationWindows, limit: int | None = None) -> Evaluation:
        """Evaluate on every validation token, or on `limit` batches (a partial evaluation)."""
        was_training = self._model.training
        self._model.eval()
        try:
            batches = windows.batches(self._micro_batch_size, limit)
            parts = self._checked(scored(self._model, self._precision, batches))
            return evaluate(parts, bytes_per_token=windows.bytes_per_token)
        finally:
            self._model.train(was_training)

    def _checked(self, parts: Iterable[Scored]) -> Iterator[Scored]:
        check = self._check or _no_check
        check()
        for part in parts:
            yield part
            check()


def _no_check() -> None:
    """Nobody interrupts the evaluation."""
