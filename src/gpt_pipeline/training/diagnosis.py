"""Where a value that is not finite comes from: the bad step is repeated and watched."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gpt_pipeline.runtime.precision import Batch
from gpt_pipeline.training.step import OptimizerStep


def first_not_finite(
    step: OptimizerStep, batch: Batch, micro_batch_size: int, seeds: Tensor | None = None
) -> str:
    """Name the first value of a step that is not finite. The weights do not change.

    Looks at the weights, then at the output of each module in the order of the computation, then
    at the gradients from the head backwards.

    Args:
        step: at the weights of the bad step.
        batch: its inputs and targets, int64 [N, T].
        micro_batch_size: windows per micro-batch.
        seeds: of the windows' dropout, as the step had them.
    """
    for name, parameter in step.model.named_parameters():
        if not torch.isfinite(parameter).all():
            return f"the weights {name}"
    found: list[str] = []
    hooks = [
        module.register_forward_hook(_watch(name, found))
        for name, module in step.model.named_modules()
        if name != ""  # the model itself, whose output is the loss
    ]
    hooks += [
        parameter.register_hook(_watch_gradient(name, found))  # type: ignore[no-untyped-call]
        for name, parameter in step.model.named_parameters()
        if parameter.requires_grad
    ]
    try:
        with step.eager():
            _, loss = step.loss_and_gradient(batch, micro_batch_size, None, seeds)
    finally:
        for hook in hooks:
            hook.remove()
        step.optimizer.zero_grad()
    if not found and not torch.isfinite(loss):
        return "the logits or the loss"
    return found[0] if found else "nothing when the step was repeated: it is not reproducible"


def _watch(name: str, found: list[str]) -> Callable[[nn.Module, Any, Any], None]:
    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not torch.isfinite(output).all():
            found.append(f"the output of {name}")

    return look


def _watch_gradient(name: str, found: list[str]) -> Callable[[Tensor], None]:
    def look(gradient: Tensor) -> None:
        if not torch.isfinite(gradient).all():
            found.append(f"the gradient of {name}")

    return look
