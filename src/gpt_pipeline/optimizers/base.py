"""What every optimizer's config has: its keys, its state, and how it is built."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from gpt_pipeline.section import Positive, Section

if TYPE_CHECKING:
    from torch import nn

    from gpt_pipeline.optimizers.optimizer import Optimizer

SCALARS = ("step", "weight_sum")
"""State tensors with one value, float32 []; all others have the parameter's shape and type."""


class OptimizerSection(Section):
    """The keys that all optimizers share; learning rate and weight decay are in `model`.

    A subclass has the tag `name: Literal["..."]`, its own keys with their defaults in
    conf/optimizer/<name>.yaml, and the two methods below. `build` imports torch, and defines the
    optimizer's class: the config is read without torch.
    """

    supports_float16: ClassVar[bool] = True
    """Whether its update is finite for gradients that were scaled for float16."""
    needs_schedule: ClassVar[str | None] = None
    """The only `schedule` that it works with; None: it works with all."""

    name: str
    """optimizer"""
    grad_clip: Positive
    """maximum norm of the gradient; a larger gradient is scaled down to it"""

    @abstractmethod
    def build(
        self, module: "nn.Module", *, learning_rate: float, weight_decay: float
    ) -> "Optimizer":
        """The optimizer for the parameters of a module that require a gradient.

        Raises:
            ConfigError: it cannot train this module.
        """

    @abstractmethod
    def state_names(self, name: str, parameter: "nn.Parameter") -> tuple[str, ...]:
        """The state tensors that are kept for a parameter; those in SCALARS have one value."""

    def training_bytes(self, module: "nn.Module") -> int:
        """Memory in bytes of weights, gradients and optimizer state, all in float32.

        Nothing is allocated: the module may be on the meta device. Frozen parameters have neither
        gradient nor state. Scalars of the state are not counted.
        """
        values = 0
        for name, parameter in module.named_parameters():
            copies = 1
            if parameter.requires_grad:
                state = self.state_names(name, parameter)
                copies += 1 + sum(key not in SCALARS for key in state)
            values += copies * parameter.numel()
        return 4 * values
