"""The measured peak FLOP/s: the highest rate of matrix products that this process has seen.

A data sheet does not know the clock rate, the number of threads or the other programs of the
machine at hand, so the peak is measured. Other programs can only lower a reading. Therefore the
peak is the best of readings that are taken throughout a run.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch.nn.functional import linear

_SIZES = (512, 1024, 2048, 4096, 8192)
"""Sizes of the square matrices, tried in this order until they fill the device; a CPU needs two.

A product of the smallest size is so short that some of them are not interrupted on a busy machine.
"""
_LONG_ENOUGH_S = 1e-3
"""A product that takes this long fills the device: larger ones are no faster."""
_REPETITIONS = 50
_BUDGET_S = 0.03
"""Seconds per size."""

_LEAST_INTERVAL_S = 60.0
_LARGEST_SHARE = 1e-3
"""Share of a run's time that readings may take."""


class PeakFlops:
    """The measured peak FLOP/s of a device, the best of several short readings.

    Args:
        device: the device to measure.
        dtype: the format of the matrices.
        measure: takes one reading in FLOP/s; waits for the device.
        clock: seconds that pass, for the interval between readings.

    Attributes:
        best: the highest reading so far in FLOP/s; 0 before the first.
        readings: how many readings were taken.
    """

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        *,
        measure: Callable[[torch.device, torch.dtype], float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.best, self.readings = 0.0, 0
        self._device, self._dtype = device, dtype
        self._measure, self._clock = measure or measure_flops, clock
        self._due_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether it is time for a reading: at first, then at most every minute.

        Readings take at most 0.1 % of the time, however long each of them is.
        """
        return self._clock() >= self._due_at

    def read(self) -> None:
        """Take a reading and keep it if it is the best; 60 ms on a CPU."""
        started = self._clock()
        self._due_at = started + _LEAST_INTERVAL_S  # also if the reading fails
        self.readings += 1
        self.best = max(self.best, self._measure(self._device, self._dtype))
        ended = self._clock()
        self._due_at = ended + max(_LEAST_INTERVAL_S, (ended - started) / _LARGEST_SHARE)


@torch.no_grad()
def measure_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of the fastest of many matrix products of growing size.

    Reads and writes none of torch's random state. On a GPU it resets the peak of memory, so that
    the matrices are not counted in it.
    """
    best = 0.0
    for size in _SIZES:
        seconds = min(_timings(size, device, dtype))
        best = max(best, 2 * size**3 / seconds)
        if size > _SIZES[0] and seconds >= _LONG_ENOUGH_S:
            break
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return best


def _timings(size: int, device: torch.device, dtype: torch.dtype) -> Iterator[float]:
    """Seconds of products [size, size] x [size, size], one after the other."""
    own = torch.Generator(device).manual_seed(0)  # zeros would draw less power, and run faster
    shape = (size, size)
    x = torch.rand(shape, generator=own, device=device).to(dtype)
    weight = torch.rand(shape, generator=own, device=device).to(dtype)
    end = time.perf_counter() + _BUDGET_S
    for _ in range(_REPETITIONS):
        _wait_for(device)
        start = time.perf_counter()
        linear(x, weight)
        _wait_for(device)
        yield time.perf_counter() - start
        if time.perf_counter() > end:
            return


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
