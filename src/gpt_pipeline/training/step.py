"""One optimizer step: gradient accumulation, clipping, and the guard against what is not finite."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from gpt_pipeline.config import Config
from gpt_pipeline.model import GPTModel
from gpt_pipeline.training.optimizer import make_optimizer
from gpt_pipeline.training.precision import Arrays, Precision


@dataclass(frozen=True)
class StepResult:
    """What a step measured; `finite` is False when it was skipped."""

    loss: float
    grad_norm: float
    tokens: int

    @property
    def finite(self) -> bool:
        """Whether loss and gradient norm are numbers, so that the step was applied."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class OptimizerStep:
    """The model's weights, its optimizer and its loss scaler, moved one step at a time."""

    def __init__(self, model: GPTModel, config: Config, precision: Precision) -> None:
        self.model, self.precision = model, precision
        self.forward: nn.Module = model
        self.optimizer = make_optimizer(model, config.model, config.optimizer)
        self.scaler = precision.scaler()
        self.grad_clip = config.optimizer.grad_clip

    def __call__(self, batch: Arrays, *, micro_batch_size: int, lr: float) -> StepResult:
        """Go one step along the gradient of the mean loss over the batch's tokens.

        The mean is over all tokens of the batch, however it is split into micro-batches. A loss
        or gradient that is not finite never reaches the weights.

        Args:
            batch: inputs and targets, int64 [N, T]; targets below 0 are not counted.
            micro_batch_size: windows that go through the model at once.
            lr: the learning rate.
        """
        inputs, targets = batch
        tokens = int((targets >= 0).sum())
        total = torch.zeros((), device=self.precision.device)
        for first in range(0, len(inputs), micro_batch_size):
            part = slice(first, first + micro_batch_size)
            x, y = self.precision.to_device((inputs[part], targets[part]))
            with self.precision.autocast():
                logits = self.forward(x)  # [B, T, V]
            loss = F.cross_entropy(logits.float().flatten(0, 1), y.flatten(), reduction="sum")
            loss = loss / tokens
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_clip)
        result = StepResult(float(total), float(norm), tokens)  # waits for the device
        if result.finite:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return result
