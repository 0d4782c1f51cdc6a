"""A step or an evaluation that is given up: on request, or because there is no memory for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from gpt_pipeline.training.step import OptimizerStep, StepInterrupted, nothing_to_check

_SAYINGS = ("can't allocate memory", "out of memory", "bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")
"""How torch's parts say it: the host's allocator, CUDA and MPS, C++, cuBLAS."""


class OutOfMemory(StepInterrupted):
    """There was no memory for the step or evaluation at hand."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that host or device have no memory left."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYINGS)


def reason(error: BaseException) -> str:
    """An error's first line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


@contextmanager
def interruptible(step: OptimizerStep, interrupt: Callable[[], bool]) -> Iterator[None]:
    """Let `interrupt` end what is computed inside.

    Raises:
        StepInterrupted: it did.
        OutOfMemory: there was no memory.
    """

    def check() -> None:
        if interrupt():
            raise StepInterrupted

    step.check = check
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if ran_out_of_memory(error):
            raise OutOfMemory(reason(error)) from None
        raise
    finally:
        step.check = nothing_to_check
