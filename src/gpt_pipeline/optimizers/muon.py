"""Muon for the matrices of the blocks, AdamW for the other parameters.

Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; torch's
implementation. Its updates are scaled to the size of AdamW's (Liu et al. 2025, "Muon is Scalable
for LLM Training", equation 4), so that both use one learning rate.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gpt_pipeline.errors import ConfigError
from gpt_pipeline.optimizers.adamw import STATE as ADAMW_STATE
from gpt_pipeline.optimizers.adamw import adamw
from gpt_pipeline.optimizers.base import OptimizerSection
from gpt_pipeline.section import Count, Positive, Rate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gpt_pipeline.optimizers.optimizer import Optimizer

_STATE = ("momentum_buffer",)


class MuonConfig(OptimizerSection):
    """Muon for the matrices of the blocks, AdamW for the other weights."""

    supports_float16: ClassVar[bool] = False

    name: Literal["muon"]
    """muon: Muon for the matrices of the blocks, AdamW for the other weights"""
    beta1: Rate
    """decay of AdamW's running mean of the gradient"""
    beta2: Rate
    """decay of AdamW's running mean of the squared gradient"""
    eps: Positive
    """added to AdamW's denominator for numerical stability"""
    momentum: Rate
    """decay of Muon's running mean of the gradient"""
    ns_steps: Count
    """Newton-Schulz iterations that orthogonalize Muon's update"""
    muon_lr_scale: Positive
    """Muon's learning rate as a multiple of model.learning_rate"""

    def build(
        self, module: "nn.Module", *, learning_rate: float, weight_decay: float
    ) -> "Optimizer":
        """Muon for the trained matrices of the blocks, AdamW for the other trained parameters.

        Raises:
            ConfigError: the blocks have no trained matrix.
        """
        from gpt_pipeline.optimizers.optimizer import trained

        matrices = [p for name, p in trained(module) if _is_for_muon(name, p)]
        others = [p for name, p in trained(module) if not _is_for_muon(name, p)]
        if not matrices:
            raise ConfigError(
                ["optimizer=muon needs a model with matrices in its blocks; got none; "
                 "use optimizer=adamw"]
            )  # fmt: skip
        betas = (self.beta1, self.beta2)
        return _muon_with_adamw(
            _muon(
                [{"params": matrices, "lr_scale": self.muon_lr_scale, "state_names": _STATE}],
                lr=learning_rate,
                weight_decay=weight_decay,
                momentum=self.momentum,
                ns_steps=self.ns_steps,
                adjust_lr_fn="match_rms_adamw",
            ),
            adamw(others, learning_rate, weight_decay, betas, self.eps),
        )

    def state_names(self, name: str, parameter: "nn.Parameter") -> tuple[str, ...]:
        """One moment for Muon, AdamW's state for the other parameters."""
        return _STATE if _is_for_muon(name, parameter) else ADAMW_STATE


def _is_for_muon(name: str, parameter: "nn.Parameter") -> bool:
    return parameter.dim() == 2 and name.startswith("blocks.")


def _muon(groups: Sequence[dict[str, Any]], **options: Any) -> "Optimizer":
    """torch's Muon, with steps that can be skipped."""
    import torch

    from gpt_pipeline.optimizers.optimizer import Optimizer, undone_where, unwrapped

    class Muon(Optimizer, torch.optim.Muon):
        _step = torch.no_grad()(unwrapped(torch.optim.Muon.step))

        @torch.no_grad()
        def step(  # type: ignore[override]
            self, closure: Callable[[], Any] | None = None
        ) -> None:
            """Do torch's step, undone where `found_inf` is 1."""
            parameters = [p for group in self.param_groups for p in group["params"]]
            for parameter in parameters:  # as torch starts, so that there is a state to restore
                if not self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            momenta = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            with undone_where(self.found_inf, [*parameters, *momenta]):
                self._step()  # type: ignore[no-untyped-call]

    return Muon(groups, **options)


def _muon_with_adamw(muon: "Optimizer", adamw: "Optimizer") -> "Optimizer":
    """The two as one optimizer, with the parameter groups and the state of both."""
    from gpt_pipeline.optimizers.optimizer import Optimizer

    class MuonWithAdamW(Optimizer):
        def __init__(self, parts: Sequence[Optimizer]) -> None:
            self._parts = parts
            super().__init__([group for part in parts for group in part.param_groups], {})
            for part in parts:
                part.state = self.state

        def step(  # type: ignore[override]
            self, closure: Callable[[], Any] | None = None
        ) -> None:
            """Do one step of both."""
            for part in self._parts:
                part.step()

        def skip_where(self, bad: "Tensor") -> None:
            for part in self._parts:
                part.skip_where(bad)

    return MuonWithAdamW([muon, adamw])
