"""AdamW with decay on matrices only, and its state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gpt_pipeline.config import ModelConfig, OptimizerConfig
from gpt_pipeline.errors import CheckpointError

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def make_optimizer(
    module: nn.Module, model: ModelConfig, optimizer: OptimizerConfig
) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101): matrices and embeddings decay, biases and norms do not."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": model.weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=model.learning_rate,
        betas=(optimizer.beta1, optimizer.beta2),
        eps=optimizer.eps,
        fused=True,
    )


def optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state under `<parameter>.<moment>`, empty before the first step."""
    return {
        f"{name}.{key}": value
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def load_optimizer_tensors(
    module: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        CheckpointError: a tensor belongs to no parameter, or is not of its shape.
    """
    left = dict(tensors)
    for name, parameter in module.named_parameters():
        held = [moment for moment in _MOMENTS if f"{name}.{moment}" in left]
        if held and len(held) != len(_MOMENTS):
            raise CheckpointError(f"the optimizer state has of {name} only {', '.join(held)}")
        for key in [k for k in left if k.rpartition(".")[0] == name]:
            value = left.pop(key)
            moment = key.rpartition(".")[2]
            if moment not in _MOMENTS or value.shape != (
                () if moment == "step" else parameter.shape
            ):
                raise CheckpointError(
                    f"the optimizer state has an unusable {key}, of shape {tuple(value.shape)}"
                )
            # fused AdamW keeps its step count beside the parameter, the moments in its type
            dtype = torch.float32 if moment == "step" else parameter.dtype
            optimizer.state[parameter][moment] = value.to(parameter.device, dtype)
    if left:
        raise CheckpointError(f"the optimizer state names an unknown parameter: {sorted(left)[0]}")
