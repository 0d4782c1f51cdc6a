"""AdamW and Muon, with decay on matrices only, and their state as named tensors."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gpt_pipeline.config import ModelConfig
from gpt_pipeline.errors import CheckpointError, ConfigError
from gpt_pipeline.optimizers import MuonConfig, OptimizerConfig

_ADAMW_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_MUON_MOMENTS = ("momentum_buffer",)


class _WithoutCompiler(torch.optim.Optimizer):
    """torch's wrappers keep these out of compiled graphs, and load its compiler for that: 4 s."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)


class _AdamW(_WithoutCompiler, torch.optim.AdamW):
    found_inf: Tensor | None = None  # torch's own name: its fused kernels do nothing where it is 1
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


class _Muon(_WithoutCompiler, torch.optim.Muon):
    found_inf: Tensor | None = None
    _step = torch.no_grad()(inspect.unwrap(torch.optim.Muon.step))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Torch's step, taken back where `found_inf` is 1."""
        if self.found_inf is None:
            self._step()
            return
        kept = [(p, p.clone(), self._momentum(p)) for g in self.param_groups for p in g["params"]]
        self._step()
        skipped = self.found_inf.bool()
        for parameter, weights, momentum in kept:
            parameter.copy_(torch.where(skipped, weights, parameter))
            buffer = self.state[parameter]["momentum_buffer"]
            buffer.copy_(torch.where(skipped, momentum, buffer))

    def _momentum(self, parameter: Tensor) -> Tensor:
        """A copy of what the step begins with."""
        state = self.state[parameter]
        return state["momentum_buffer"].clone() if state else torch.zeros_like(parameter)


class MuonWithAdamW(_WithoutCompiler):
    """Two optimizers as one: Muon for the matrices of the blocks, AdamW for the rest.

    Parameter groups and state are those of the two, each parameter in one of them.
    """

    def __init__(self, muon: torch.optim.Optimizer, adamw: torch.optim.Optimizer) -> None:
        self.parts = (muon, adamw)
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        for part in self.parts:
            part.state = self.state

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step of both."""
        for part in self.parts:
            part.step()


def make_optimizer(
    module: nn.Module, model: ModelConfig, optimizer: OptimizerConfig
) -> torch.optim.Optimizer:
    """The optimizer of a name: matrices and embeddings decay, biases and norms do not.

    A group's `lr_scale` multiplies the learning rate of a step.

    Raises:
        ConfigError: optimizer=muon for a model without matrices in blocks.
    """
    matrices, rest = _parts(module, optimizer)
    if not isinstance(optimizer, MuonConfig):
        return _adamw(rest, model, optimizer)
    if not matrices:
        raise ConfigError(
            ["optimizer=muon needs a model with matrices in its blocks; got none; "
             "use optimizer=adamw"]
        )  # fmt: skip
    return MuonWithAdamW(_muon(matrices, model, optimizer), _adamw(rest, model, optimizer))


def training_bytes(module: nn.Module, optimizer: OptimizerConfig) -> int:
    """Memory of weights, gradients and the optimizer's moments, in float32.

    Nothing is allocated: the module may be on the meta device.
    """
    matrices, rest = _parts(module, optimizer)
    copies = {len(_MUON_MOMENTS): matrices, len(_ADAMW_MOMENTS) - 1: rest}  # a step is one number
    return sum(
        4 * (2 + moments) * parameter.numel()
        for moments, parameters in copies.items()
        for parameter in parameters
    )


def _parts(
    module: nn.Module, optimizer: OptimizerConfig
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that are Muon's, and those that are AdamW's."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.dim() == 2 and name.startswith("blocks.")
            (matrices if matrix and optimizer.name == "muon" else rest).append(parameter)
    return matrices, rest


def _adamw(
    parameters: list[nn.Parameter], model: ModelConfig, optimizer: OptimizerConfig
) -> torch.optim.AdamW:
    """AdamW: Loshchilov and Hutter, arXiv 1711.05101."""
    shared: dict[str, Any] = {"lr_scale": 1.0, "moments": _ADAMW_MOMENTS}
    decayed = [p for p in parameters if p.dim() >= 2]
    others = [p for p in parameters if p.dim() < 2]
    return _AdamW(
        [
            {"params": decayed, "weight_decay": model.weight_decay, **shared},
            {"params": others, "weight_decay": 0.0, **shared},
        ],
        lr=model.learning_rate,
        betas=(optimizer.beta1, optimizer.beta2),
        eps=optimizer.eps,
        fused=True,
    )


def _muon(
    matrices: list[nn.Parameter], model: ModelConfig, optimizer: MuonConfig
) -> torch.optim.Optimizer:
    """Muon: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".

    Its steps are scaled to the size of AdamW's (Liu et al. 2025, "Muon is Scalable for LLM
    Training", equation 4), so that both take one learning rate.
    """
    return _Muon(
        [
            {
                "params": matrices,
                "lr_scale": optimizer.muon_lr_scale,
                "moments": _MUON_MOMENTS,
            }
        ],
        lr=model.learning_rate,
        weight_decay=model.weight_decay,
        momentum=optimizer.momentum,
        ns_steps=optimizer.ns_steps,
        adjust_lr_fn="match_rms_adamw",
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def skip_where(optimizer: torch.optim.Optimizer, bad: Tensor) -> None:
    """Let the next step change nothing if `bad`, a bool [] on the device, turns out true.

    The host need not know: it does not wait.
    """
    parts = optimizer.parts if isinstance(optimizer, MuonWithAdamW) else (optimizer,)
    for part in parts:
        part.found_inf = bad.float()  # type: ignore[attr-defined]


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
        CheckpointError: a tensor belongs to no parameter, is not of its shape, or is of another
            optimizer.
    """
    left = dict(tensors)
    moments_of = {p: group["moments"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in module.named_parameters():
        moments: tuple[str, ...] = moments_of[parameter]
        held = [moment for moment in moments if f"{name}.{moment}" in left]
        if held and len(held) != len(moments):
            raise CheckpointError(f"the optimizer state has of {name} only {', '.join(held)}")
        for key in [k for k in left if k.rpartition(".")[0] == name]:
            value = left.pop(key)
            moment = key.rpartition(".")[2]
            if moment not in moments or value.shape != (
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
