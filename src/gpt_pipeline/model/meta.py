"""A model's names and shapes without its weights."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.gpt import GPTModel

_DRAWS = {nn.init.normal_, nn.init.kaiming_uniform_, nn.init.uniform_, Tensor.normal_}


class _NothingDrawn(TorchFunctionMode):
    """Skips random initialization, which on the meta device loads torch's compiler, for seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def meta_model(config: GPTConfig) -> GPTModel:
    """The model on torch's meta device: every name, shape and type, and no memory.

    `load_state_dict(..., assign=True)` makes a model of it.
    """
    with _NothingDrawn(), torch.device("meta"):
        return GPTModel(config)
