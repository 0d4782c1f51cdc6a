"""One optimizer step: gradient accumulation, clipping, and the guard against what is not finite."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gpt_pipeline.config import Config, float16_problem
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.compiled import Compiled
from gpt_pipeline.runtime.precision import Batch, Precision
from gpt_pipeline.training.head_loss import HeadLoss, loss_and_gradient

_Part = TypeVar("_Part")


def nothing_to_check() -> None:
    """What `OptimizerStep.check` is while nobody may give a step up."""


class StepInterrupted(Exception):
    """The step or evaluation at hand was given up; nothing of it has reached weights or state."""


class StepResult:
    """What a step measured; whoever looks at more than `tokens` waits for the device."""

    def __init__(self, figures: Tensor, tokens: int) -> None:
        """Take loss and gradient norm [2], still on the device, and the tokens they are of."""
        self._figures, self.tokens = figures, tokens

    @cached_property
    def _known(self) -> tuple[float, float]:
        loss, grad_norm = self._figures.tolist()
        return loss, grad_norm

    @property
    def loss(self) -> float:
        """Mean over the tokens, in nats."""
        return self._known[0]

    @property
    def grad_norm(self) -> float:
        """Before clipping."""
        return self._known[1]

    @property
    def finite(self) -> bool:
        """Whether both are numbers; where one is not, the step was skipped."""
        return all(map(math.isfinite, self._known))


class _Given(torch.autograd.Function):
    """A scalar whose gradient is known. `hidden_states.backward(gradient)` would load sympy, 2
    s.
    """

    @staticmethod
    def forward(ctx: Any, hidden_states: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return hidden_states.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, one: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient, None


class OptimizerStep:
    """The model's weights, its optimizer and its loss scaler, moved one step at a time.

    Attributes:
        hidden_states: what computes hidden_states [B, T, C] from tokens [B, T]: the model's own,
        or compiled. waiting: the context in which micro-batches go to the device.
        waits: whether the host waits for each step's figures before it moves the weights. A GPU
            decides by itself, or it would stand idle for as long as the optimizer is launched.
        check: called many times within a step; what it raises gives the step up.
        moving: whether the optimizer is at work; an error that ends it leaves weights half-way.
    """

    def __init__(self, model: GPTModel, config: Config, precision: Precision) -> None:
        self.model, self.precision = model, precision
        self.hidden_states: Callable[[Tensor], Tensor] = model.hidden_states
        if precision.dtype == torch.float16 and not config.optimizer.supports_float16:
            raise ConfigError([float16_problem(config.optimizer.name)])
        self.optimizer = config.optimizer.build(
            model,
            learning_rate=config.model.learning_rate,
            weight_decay=config.model.weight_decay,
        )
        self.head_loss = HeadLoss(precision.dtype)
        self.scaler = precision.scaler()
        self.waits = precision.device.type != "cuda" or self.scaler.is_enabled()
        self.grad_clip = config.optimizer.grad_clip
        self.check: Callable[[], None] = nothing_to_check
        self.waiting: Callable[[], AbstractContextManager[None]] = nullcontext
        self.moving = False

    def __call__(
        self, batch: Batch, *, micro_batch_size: int, lr: float, tokens: int | None = None
    ) -> StepResult:
        """Go one step along the gradient of the mean loss over the batch's tokens.

        The mean is over all tokens of the batch, however it is split into micro-batches. A loss
        or gradient that is not finite never reaches the weights.

        Args:
            batch: inputs and targets, int64 [N, T], here or on the device; targets below 0 are
                not counted.
            micro_batch_size: windows that go through the model at once.
            lr: the learning rate.
            tokens: how many targets count; None: they are counted.
        """
        try:
            tokens, total = self.loss_and_gradient(batch, micro_batch_size, tokens)
        except BaseException:
            self.optimizer.zero_grad(set_to_none=False)
            raise
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.grad_clip)
        figures = torch.stack((total, norm))
        result = StepResult(figures, tokens)
        if not self.waits:
            self.optimizer.skip_where(~figures.isfinite().all())
        if not self.waits or result.finite:
            self.optimizer.set_learning_rate(lr)
            self.moving = True
            self.scaler.step(self.optimizer)
            self.moving = False
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=False)
        return result

    def loss_and_gradient(
        self, batch: Batch, micro_batch_size: int, tokens: int | None = None
    ) -> tuple[int, Tensor]:
        """Gather the gradient; gives the number of tokens and their mean loss."""
        inputs, targets = batch
        if tokens is None:
            tokens = int((targets >= 0).sum())
        total = torch.zeros((), device=self.precision.device)
        at_once = self.precision.windows_at_once(micro_batch_size, inputs.shape[1])
        for first in range(0, len(inputs), at_once):
            self.check()
            part = slice(first, first + at_once)
            with self.waiting():
                x, y = self.precision.to_device((inputs[part], targets[part]))
            total += self._micro_batch(x, y, tokens)
        return tokens, total

    def _micro_batch(self, x: Tensor, y: Tensor, tokens: int) -> Tensor:
        """Gather the gradient of one micro-batch; gives its share of the mean loss."""
        with self.precision.autocast():
            hidden_states = self.hidden_states(x).flatten(0, 1)  # [B*T, C]
        total, gradient = self.head_loss(
            hidden_states.detach(),
            y.flatten(),
            self.model.lm_head_weight,
            scale=self.scaler.get_scale() / tokens,
            check=self.check,
        )
        _Given.apply(hidden_states, gradient).backward()
        return total / tokens

    def checked(self, parts: Iterable[_Part]) -> Iterator[_Part]:
        """The parts of a long computation, with a `check` before and after each."""
        self.check()
        for part in parts:
            yield part
            self.check()

    def compile(self, *, required: bool = True) -> None:
        """Compile the layers with their backward, and the loss with its gradient."""
        self.hidden_states = Compiled(self.model.hidden_states, required=required)
        self.head_loss.compiled = Compiled(loss_and_gradient, required=required)

    def reset(self) -> None:
        """Forget what optimizer and scaler have learned."""
        self.optimizer.state.clear()
        self.scaler = self.precision.scaler()

    def check_within(self) -> None:
        """Call `check` from within forward and backward too, once a block and at the head.

        For steps of many seconds on a CPU. Not for a compiled forward, which hooks would cut up.
        """

        def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.check()

        def after(gradient: Tensor) -> None:
            self.check()

        for block in [*self.model.blocks, self.model.final_norm]:
            block.register_forward_pre_hook(before)
            for parameter in block.parameters():
                parameter.register_hook(after)
