"""AdamW: Loshchilov and Hutter, arXiv 1711.05101; torch's fused implementation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from gpt_pipeline.optimizers.base import OptimizerSection
from gpt_pipeline.section import Positive, Rate

if TYPE_CHECKING:
    from torch import nn

    from gpt_pipeline.optimizers.optimizer import Optimizer

STATE = ("exp_avg", "exp_avg_sq", "step")


class AdamWConfig(OptimizerSection):
    """AdamW for all weights."""

    name: Literal["adamw"]
    """adamw: AdamW for all weights"""
    beta1: Rate
    """decay of AdamW's running mean of the gradient"""
    beta2: Rate
    """decay of AdamW's running mean of the squared gradient"""
    eps: Positive
    """added to AdamW's denominator for numerical stability"""

    def build(
        self, module: "nn.Module", *, learning_rate: float, weight_decay: float
    ) -> "Optimizer":
        """AdamW for all trained parameters."""
        from gpt_pipeline.optimizers.optimizer import trained

        parameters = [parameter for _, parameter in trained(module)]
        return adamw(parameters, learning_rate, weight_decay, (self.beta1, self.beta2), self.eps)

    def state_names(self, name: str, parameter: "nn.Parameter") -> tuple[str, ...]:
        """Two moments and the number of steps."""
        return STATE


def adamw(
    parameters: "Sequence[nn.Parameter]",
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
    eps: float,
) -> "Optimizer":
    """AdamW for some parameters, with decay on matrices and embeddings only."""
    import torch

    from gpt_pipeline.optimizers.optimizer import Optimizer, decay_groups, unwrapped

    class AdamW(Optimizer, torch.optim.AdamW):
        """torch's AdamW; its fused kernels skip a step where `found_inf` is 1."""

        step = torch.no_grad()(unwrapped(torch.optim.AdamW.step))

    groups = decay_groups(parameters, weight_decay, lr_scale=1.0, state_names=STATE)
    return AdamW(groups, lr=learning_rate, betas=betas, eps=eps, fused=True)
