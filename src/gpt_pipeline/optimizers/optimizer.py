"""The interface that training needs of an optimizer, beyond torch's own."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.optimizers.base import SCALARS

_UNWRAPPED_ON = ("2.11", "2.12", "2.13", "2.14", "2.15")
"""Versions of torch on which the methods below were compared with their unwrapped form."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def unwrapped(method: _Method) -> _Method:
    """A method of a torch optimizer without the wrapper that excludes it from compiled graphs.

    The wrapper imports torch's compiler, which takes 4 s, and has no other effect here. On
    versions of torch that were not compared (tests/training/test_optimizers.py), the method is
    returned as it is.
    """
    release = ".".join(torch.__version__.split(".")[:2])
    return inspect.unwrap(method) if release in _UNWRAPPED_ON else method


class Optimizer(torch.optim.Optimizer):
    """A torch optimizer with named state, a learning rate per step, and steps that can be skipped.

    Each parameter group has an `lr_scale`, a factor on the learning rate of a step, and
    `state_names`, the state tensors of its parameters.

    Attributes:
        found_inf: None, or float32 [] on the device: a step changes nothing where it is 1. The name
            is the one that torch's fused optimizers read.
    """

    found_inf: Tensor | None = None

    add_param_group = unwrapped(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrapped(torch.optim.Optimizer.zero_grad)

    def set_learning_rate(self, lr: float) -> None:
        """Set the learning rate of the next step."""
        for group in self.param_groups:
            group["lr"] = lr * group["lr_scale"]

    def skip_where(self, bad: Tensor) -> None:
        """Let the next step change nothing where `bad`, a bool [] on the device, is true.

        The host does not wait for its value.
        """
        self.found_inf = bad.float()

    def evaluation_weights(self) -> AbstractContextManager[None]:
        """A context in which the parameters hold the weights to evaluate, sample from and save.

        For most optimizers these are the weights that are trained. An optimizer that averages its
        weights exchanges them; `step` must not be called inside.
        """
        return nullcontext()

    def state_tensors(self, module: nn.Module) -> dict[str, Tensor]:
        """The state to save, as `<parameter>.<name>`; empty before the first step."""
        return {
            f"{name}.{key}": self.state[parameter][key]
            for name, parameter in module.named_parameters()
            for key in self._names_of().get(parameter, ())
            if key in self.state.get(parameter, {})
        }

    def load_state_tensors(self, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_tensors` returned; the module holds the saved weights already.

        Raises:
            CheckpointError: a tensor belongs to no trained parameter, has another shape than its
                parameter, is missing, or belongs to another optimizer.
        """
        left, names_of = dict(tensors), self._names_of()
        for name, parameter in module.named_parameters():
            expected = names_of.get(parameter, ())
            found = {key: left.pop(f"{name}.{key}") for key in expected if f"{name}.{key}" in left}
            foreign = next((key for key in left if key.rpartition(".")[0] == name), None)
            if foreign is not None and expected:
                raise CheckpointError(
                    f"the optimizer state has an unusable {foreign}, of shape "
                    f"{tuple(left[foreign].shape)}; this optimizer keeps {', '.join(expected)}"
                )
            if found and len(found) != len(expected):
                raise CheckpointError(f"the optimizer state has of {name} only {', '.join(found)}")
            for key, value in found.items():
                self.state[parameter][key] = _placed(value, parameter, name, key)
        if left:
            raise CheckpointError(
                f"the optimizer state names an unknown parameter: {sorted(left)[0]}, or one that "
                "is frozen now"
            )

    def _names_of(self) -> dict[nn.Parameter, Sequence[str]]:
        return {p: group["state_names"] for group in self.param_groups for p in group["params"]}


def _placed(value: Tensor, parameter: nn.Parameter, name: str, key: str) -> Tensor:
    """A saved tensor of the state in the type and on the device of its parameter."""
    scalar = key in SCALARS
    if value.shape != (() if scalar else parameter.shape):
        raise CheckpointError(
            f"the optimizer state has an unusable {name}.{key}, of shape {tuple(value.shape)}; "
            f"the parameter has {tuple(parameter.shape)}"
        )
    return value.to(parameter.device, torch.float32 if scalar else parameter.dtype)


@contextmanager
def undone_where(bad: Tensor | None, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Undo what the block writes into the tensors where `bad`, float32 [] or None, is 1."""
    if bad is None:
        yield
        return
    before = [tensor.clone() for tensor in tensors]
    yield
    undo = bad.bool()
    for tensor, old in zip(tensors, before, strict=True):
        tensor.copy_(torch.where(undo, old, tensor))


def trained(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """The named parameters that are trained; frozen ones are left out."""
    return [(name, p) for name, p in module.named_parameters() if p.requires_grad]


def decay_groups(
    parameters: Sequence[nn.Parameter], weight_decay: float, **shared: Any
) -> list[dict[str, Any]]:
    """Two parameter groups: matrices and embeddings decay, biases and norms do not.

    Args:
        parameters: of both groups.
        weight_decay: of matrices and embeddings.
        shared: other options of both groups, `lr_scale` and `state_names` among them.
    """
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay, **shared},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0, **shared},
    ]
