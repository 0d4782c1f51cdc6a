"""torch.compile where it helps, and the plain function where it does not."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from gpt_pipeline.errors import GptPipelineError, TrainingError

log = logging.getLogger(__name__)


class Compiled:
    """A function of tensors, compiled for the shapes of its first call.

    Other shapes, as of a last smaller batch, go through the plain function: each would cost another
    compilation.

    Args:
        plain: the function.
        required: whether a compilation that fails is an error; else one warning, and plain.
    """

    def __init__(self, plain: Callable[..., Tensor], *, required: bool) -> None:
        self.plain, self.required = plain, required
        self._compiled: Callable[..., Tensor] = torch.compile(plain, dynamic=False)
        self._shapes: list[torch.Size] | None = None
        self._worked = False

    def __call__(self, *tensors: Tensor) -> Tensor:
        """What `plain` gives.

        Raises:
            TrainingError: the compilation failed, and is required.
        """
        shapes = [tensor.shape for tensor in tensors]
        if self._shapes is None:
            self._shapes = shapes
        if shapes != self._shapes:
            return self.plain(*tensors)
        try:
            result = self._compiled(*tensors)
        except Exception as error:
            # the first call compiles; what that needs of the machine (a user name, a cache folder,
            # processes, a C++ compiler) raises errors of many classes
            compiling = isinstance(error, torch._dynamo.exc.TorchDynamoException)
            if not (compiling or self._is_first(error)):
                raise
            return self._without(error, *tensors)
        self._worked = True
        return result

    def _is_first(self, error: Exception) -> bool:
        """Whether it is of the first call, and not of what the function computes."""
        return not (self._worked or isinstance(error, (GptPipelineError, torch.OutOfMemoryError)))

    def _without(self, error: Exception, *tensors: Tensor) -> Tensor:
        result = self.plain(*tensors)  # raises what is an error of the function itself
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if self.required:
            raise TrainingError(
                f"runtime.compile=true, and torch.compile failed: {reason}; "
                "set runtime.compile=false"
            ) from error
        log.warning("compile: failed, so the run continues without it: %s", reason)
        self._compiled = self.plain
        return result
