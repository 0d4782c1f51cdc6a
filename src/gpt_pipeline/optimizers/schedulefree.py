"""Schedule-free AdamW: Defazio et al. 2024, "The Road Less Scheduled", arXiv 2405.15682.

An average of the weights replaces the decay of the learning rate, so a run can be stopped or
extended at any step. Written here, and compared with the authors' library (`schedulefree` 1.4) by
tests/training/test_schedulefree.py, because two of the library's choices do not fit: it recomputes
the averaged weights x from the training weights, which rounds, so that a resumed run would not be
bit-identical; and it counts steps on the host, which does not know on CUDA whether a step was
skipped. Keeping x costs 4 bytes per parameter more than the library or AdamW.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from gpt_pipeline.optimizers.base import OptimizerSection
from gpt_pipeline.section import Positive, Rate

if TYPE_CHECKING:
    from torch import Tensor, nn

    from gpt_pipeline.optimizers.optimizer import Optimizer


class ScheduleFreeConfig(OptimizerSection):
    """Schedule-free AdamW for all weights."""

    needs_schedule: ClassVar[str | None] = "constant"

    name: Literal["schedulefree"]
    """schedulefree: AdamW with averaged weights instead of a decaying learning rate"""
    interpolation: Rate
    """share of the averaged weights in the weights that the gradient is computed at"""
    beta2: Rate
    """decay of AdamW's running mean of the squared gradient"""
    eps: Positive
    """added to AdamW's denominator for numerical stability"""

    def state_names(self, name: str, parameter: "nn.Parameter") -> tuple[str, ...]:
        """Averaged weights, weights without interpolation, a moment, and two scalars."""
        return ("x", "z", "exp_avg_sq", "step", "weight_sum")

    def build(
        self, module: "nn.Module", *, learning_rate: float, weight_decay: float
    ) -> "Optimizer":
        """Schedule-free AdamW for all trained parameters."""
        import torch

        from gpt_pipeline.optimizers.optimizer import (
            Optimizer,
            decay_groups,
            trained,
            undone_where,
        )

        beta, beta2, eps = self.interpolation, self.beta2, self.eps

        class ScheduleFree(Optimizer):
            """The parameters hold y, the point of the gradient: y = x + (1 - beta) (z - x)."""

            @torch.no_grad()
            def step(  # type: ignore[override]
                self, closure: Callable[[], Any] | None = None
            ) -> None:
                """Do one step, undone where `found_inf` is 1."""
                for group in self.param_groups:
                    for y in group["params"]:
                        if y.grad is None:
                            continue
                        state = self.state[y]
                        if not state:
                            zero = torch.zeros((), device=y.device)
                            state.update(x=y.clone(), z=y.clone(), exp_avg_sq=torch.zeros_like(y))
                            state.update(step=zero, weight_sum=zero.clone())
                        with undone_where(self.found_inf, [y, *state.values()]):
                            self._update(y, state, group["lr"], group["weight_decay"])

            def _update(
                self, y: "Tensor", state: Mapping[str, "Tensor"], lr: float, weight_decay: float
            ) -> None:
                """Algorithm 1 of the paper, with Adam's bias correction of the second moment."""
                x, z, exp_avg_sq = state["x"], state["z"], state["exp_avg_sq"]
                assert y.grad is not None
                state["step"].add_(1)
                state["weight_sum"].add_(lr**2)
                exp_avg_sq.mul_(beta2).addcmul_(y.grad, y.grad, value=1 - beta2)
                correction = 1 - beta2 ** state["step"]
                update = y.grad / (exp_avg_sq / correction).sqrt_().add_(eps)
                z.sub_(update.add_(y, alpha=weight_decay), alpha=lr)
                x.lerp_(z, lr**2 / state["weight_sum"])
                y.copy_(x.lerp(z, 1 - beta))

            @torch.no_grad()
            def _exchange(self, *, averaged: bool) -> None:
                for y, state in self.state.items():
                    y.copy_(state["x"] if averaged else state["x"].lerp(state["z"], 1 - beta))

            @contextmanager
            def evaluation_weights(self) -> Iterator[None]:
                """A context in which the parameters hold x."""
                self._exchange(averaged=True)
                try:
                    yield
                finally:
                    self._exchange(averaged=False)

            def state_tensors(self, module: "nn.Module") -> dict[str, "Tensor"]:
                """The state without x, which is saved as the model's weights."""
                tensors = super().state_tensors(module)
                return {key: value for key, value in tensors.items() if not key.endswith(".x")}

            def load_state_tensors(
                self, module: "nn.Module", tensors: Mapping[str, "Tensor"]
            ) -> None:
                """Restore the state; x is in the module's parameters."""
                if tensors:
                    x = {f"{name}.x": y.detach().clone() for name, y in trained(module)}
                    super().load_state_tensors(module, {**tensors, **x})
                    self._exchange(averaged=False)

        names = self.state_names("", next(module.parameters()))
        parameters = [parameter for _, parameter in trained(module)]
        groups = decay_groups(parameters, weight_decay, lr_scale=1.0, state_names=names)
        return ScheduleFree(groups, {"lr": learning_rate})
