"""One optimizer step: forward, backward, clip, step; what is not finite is skipped."""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gpt_pipeline.config import Config, float16_problem
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.model import GPTModel
from gpt_pipeline.model.blocks.dropout import mix
from gpt_pipeline.runtime.compiled import Compiled
from gpt_pipeline.runtime.precision import Batch, Precision


def nothing_to_check() -> None:
    """The `check` of a step that nobody interrupts."""


class StepInterrupted(Exception):
    """The step or evaluation was interrupted; nothing of it has reached weights or state."""


class StepResult:
    """What a step measured. All but `tokens` wait for the device."""

    def __init__(self, figures: Tensor, tokens: int) -> None:
        """Take loss and gradient norm [2], still on the device, and the number of tokens."""
        self._figures, self.tokens = figures, tokens

    @cached_property
    def _known(self) -> tuple[float, float]:
        loss, grad_norm = self._figures.tolist()
        return loss, grad_norm

    @property
    def loss(self) -> float:
        """Mean over the tokens, in nats per token."""
        return self._known[0]

    @property
    def grad_norm(self) -> float:
        """Norm of the gradient before clipping."""
        return self._known[1]

    @property
    def finite(self) -> bool:
        """Whether both are finite; the step was skipped if not."""
        return all(map(math.isfinite, self._known))


def dropout_seeds(run_seed: int, position: int, count: int) -> Tensor:
    """Seeds of the dropout of the windows at [position, position + count) of a run's order.

    Int64 [count]. They depend on nothing else, so that a window has the same dropout in whichever
    micro-batch and process it is computed, and when its step is computed again.
    """
    run = mix(torch.tensor([run_seed]))
    return mix(run + torch.arange(position, position + count))


class OptimizerStep:
    """Forward, backward, clip, step: the model with its optimizer and its loss scaler.

    Args:
        model: the network.
        config: its optimizer and learning rate.
        precision: the device and number format of forward and backward.
        check: called many times within a step; what it raises interrupts the step.
        waiting: the context in which micro-batches are copied to the device.

    Attributes:
        network: the model, or the model compiled.
        waits: whether the host waits for a step's figures before it updates the weights. A GPU
            decides by itself: it would idle while the optimizer's kernels are launched.
        moving: whether the optimizer is updating the weights; an error then leaves them half-way.
    """

    def __init__(
        self,
        model: GPTModel,
        config: Config,
        precision: Precision,
        *,
        check: Callable[[], None] = nothing_to_check,
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model, self.precision = model, precision
        self.network: Callable[..., Tensor] = model
        if precision.dtype == torch.float16 and not config.optimizer.supports_float16:
            raise ConfigError([float16_problem(config.optimizer.name)])
        self.optimizer = config.optimizer.build(
            model,
            learning_rate=config.model.learning_rate,
            weight_decay=config.model.weight_decay,
        )
        self.scaler = precision.scaler()
        self.waits = precision.device.type != "cuda" or self.scaler.is_enabled()
        self.grad_clip = config.optimizer.grad_clip
        self._check, self._waiting = check, waiting
        self.moving = False

    def __call__(
        self,
        batch: Batch,
        *,
        micro_batch_size: int,
        lr: float,
        tokens: int | None = None,
        seeds: Tensor | None = None,
    ) -> StepResult:
        """Update the weights by the gradient of the mean loss over the batch's tokens.

        The mean is over all tokens of the batch, however it is split into micro-batches. A loss
        or gradient that is not finite never reaches the weights.

        Args:
            batch: inputs and targets, int64 [N, T], on the host or on the device; targets below 0
                are not counted.
            micro_batch_size: windows per micro-batch.
            lr: the learning rate.
            tokens: number of targets that count; None: the step counts them.
            seeds: of the windows' dropout, int64 [N] (`dropout_seeds`). They are used in eager mode
                on a CPU, where they cost nothing; elsewhere torch's global generator draws.
        """
        try:
            tokens, total = self.loss_and_gradient(batch, micro_batch_size, tokens, seeds)
        except BaseException:
            self.optimizer.zero_grad()
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
        self.optimizer.zero_grad()
        return result

    def loss_and_gradient(
        self,
        batch: Batch,
        micro_batch_size: int,
        tokens: int | None = None,
        seeds: Tensor | None = None,
    ) -> tuple[int, Tensor]:
        """Accumulate the gradient (times the scale of the loss scaler) over all micro-batches.

        Returns:
            The number of tokens that count, and their mean loss.
        """
        inputs, targets = batch
        if self.compiled or self.precision.device.type != "cpu":
            seeds = None
        if tokens is None:
            tokens = int((targets >= 0).sum())
        total = torch.zeros((), device=self.precision.device)
        at_once = self.precision.windows_at_once(micro_batch_size, inputs.shape[1])
        for first in range(0, len(inputs), at_once):
            self._check()
            part = slice(first, first + at_once)
            with self._waiting():
                x, y = self.precision.to_device((inputs[part], targets[part]))
            with self.precision.autocast():
                loss = self.network(x, y, *(() if seeds is None else (seeds[part],))) / tokens
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return tokens, total

    def compile(self, *, required: bool = True) -> None:
        """Compile forward and backward; if it fails, raise where `required`, else warn."""
        self.network = Compiled(self.model, required=required)

    @property
    def compiled(self) -> bool:
        """Whether `network` is compiled."""
        return isinstance(self.network, Compiled)

    @contextmanager
    def eager(self) -> Iterator[None]:
        """Compute without compilation inside, so that hooks of modules are called."""
        network, self.network = self.network, self.model
        try:
            yield
        finally:
            self.network = network

    def reset(self) -> None:
        """Clear the state of optimizer and loss scaler."""
        self.optimizer.state.clear()
        self.scaler = self.precision.scaler()

    def make_interruptible(self) -> None:
        """Call `check` within forward and backward too: at each block and each chunk of the head.

        For steps that take seconds on a CPU. Hooks would break the graph of a compiled model.
        """
        if self.compiled or self.precision.device.type != "cpu":
            return

        def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._check()

        def after(gradient: Tensor) -> None:
            self._check()

        self.model.register_chunk_hook(self._check)
        for block in [*self.model.blocks, self.model.final_norm]:
            block.register_forward_pre_hook(before)
            for parameter in block.parameters():
                if parameter.requires_grad:
                    parameter.register_hook(after)
