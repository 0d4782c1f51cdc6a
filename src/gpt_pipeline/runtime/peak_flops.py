"""What the device can do at most: its rate of matrix products, measured in this process.

A table of device names would say what a data sheet says; a share of that says nothing of the
machine at hand, its clock, its number of threads or its neighbours.
"""

import time
from collections.abc import Iterator

import torch
from torch.nn.functional import linear

_SIZES = (512, 1024, 2048, 4096, 8192)
"""Of the square matrices, growing until they fill the device; a CPU needs two.

The first is for a busy machine: its product takes so little that one of many is not interrupted.
"""
_LONG_ENOUGH_S = 1e-3
"""A product that takes this long fills the device: larger ones are no faster."""
_REPETITIONS = 50
_BUDGET_S = 0.1
"""Seconds for one size."""

_measured: dict[tuple[torch.device, torch.dtype, int], float] = {}


def peak_flops(device: torch.device, dtype: torch.dtype, *, anew: bool = False) -> float:
    """The most FLOP/s that this process has seen a matrix product run at.

    The first call for a device and a format measures, 0.2 s on a CPU, and waits for the device;
    so does a call with `anew`, for when the first one met a busy moment. No random state of torch
    is read or written. On a GPU, the peak of memory is counted anew from here, so that it is not
    that of these matrices.
    """
    key = (device, dtype, torch.get_num_threads())
    if anew or key not in _measured:
        _measured[key] = max(_measured.get(key, 0.0), _measure(device, dtype))
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
    return _measured[key]


@torch.no_grad()
def _measure(device: torch.device, dtype: torch.dtype) -> float:
    """The best of many products of growing size, in FLOP/s."""
    best = 0.0
    for size in _SIZES:
        seconds = min(_timings(size, device, dtype))
        best = max(best, 2 * size**3 / seconds)
        if size > _SIZES[0] and seconds >= _LONG_ENOUGH_S:
            break
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
