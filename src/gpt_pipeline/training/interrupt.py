"""Interruption of a step or an evaluation: on request, or because memory ran out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from gpt_pipeline.training.step import StepInterrupted

_OUT_OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""Parts of the messages of torch's host allocator, of CUDA and MPS, of C++ and of cuBLAS."""


class OutOfMemory(StepInterrupted):
    """The step or evaluation ran out of memory."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the host or the device has no memory left."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def reason(error: BaseException) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


class Interruption:
    """Interrupts steps and evaluations; they call `check` many times, also in forward and backward.

    Outside `allowed` nothing is interrupted.
    """

    def __init__(self) -> None:
        self._requested: Callable[[], bool] | None = None

    def check(self) -> None:
        """Interrupt if that is allowed now and requested.

        Raises:
            StepInterrupted: it is.
        """
        if self._requested is not None and self._requested():
            raise StepInterrupted

    @contextmanager
    def allowed(self, requested: Callable[[], bool]) -> Iterator[None]:
        """A context in which the computation is interrupted when `requested` returns true.

        Raises:
            StepInterrupted: it was interrupted.
            OutOfMemory: memory ran out.
        """
        self._requested = requested
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if ran_out_of_memory(error):
                raise OutOfMemory(reason(error)) from None
            raise
        finally:
            self._requested = None
