"""Set up the device and torch: threads, allocator, determinism, and whether to compile."""

import ctypes
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gpt_pipeline.config import RuntimeConfig
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.runtime.cores import usable_cores

log = logging.getLogger(__name__)

# Parameters of glibc's mallopt(3), and the largest threshold that it takes.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_NEVER_BYTES, _PAD_BYTES, _LARGEST_THRESHOLD_BYTES = 2**31 - 1, 1 << 26, 1 << 25

_EARNS_COMPILING_FLOPS = 2e16
"""A few minutes of a GPU; compiling takes one and saves about a quarter of the rest."""
_EARNS_COMPILING_MINUTES = 4.0


def choose_device(name: str) -> torch.device:
    """Return the device that `runtime.device` names; `auto` prefers CUDA, then MPS, then the CPU.

    Raises:
        ConfigError: this machine does not have the device.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in present.items() if there)
    elif not present[name]:
        there = ", ".join(kind for kind, yes in present.items() if yes)
        raise ConfigError(
            [f"runtime.device must be auto or a device of this machine ({there}); got {name}"]
        )
    return torch.device(name)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it to the system.

    Each training step frees and allocates the same buffers. Getting them back from the system page
    by page takes a fifth of a small model's step on a CPU. Has no effect with other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD_BYTES)
        mallopt(_TRIM_THRESHOLD, _NEVER_BYTES)
        mallopt(_TOP_PAD, _PAD_BYTES)


def set_up_torch(runtime: RuntimeConfig) -> torch.device:
    """Apply runtime.* to this process (threads, allocator, determinism) and return the device.

    Raises:
        ConfigError: this machine does not have the device.
    """
    device = choose_device(runtime.device)
    keep_freed_memory()
    _set_threads(runtime.num_threads)
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS refuses
        torch.use_deterministic_algorithms(True)
    return device


@contextmanager
def torch_settings_restored() -> Iterator[None]:
    """After the block, restore what `set_up_torch` changes of torch: threads and determinism."""
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        if deterministic != torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


def _set_threads(asked: int | None) -> None:
    """Set torch's number of threads; without a request, cap torch's default at the usable cores.

    Torch ignores a container's CPU quota, and threads beyond the quota slow all others down.
    """
    if asked is None and {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys():
        return
    threads = asked or min(usable_cores(), torch.get_num_threads())
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def should_compile(
    runtime: RuntimeConfig, device: torch.device, *, flops: float, minutes: float | None
) -> bool:
    """Return whether to compile the model; logs the reason if `runtime.compile` is auto.

    Auto depends on the whole run, so that a resumed run makes the same choice.

    Args:
        runtime: the config.
        device: the device of the run.
        flops: training FLOPs of the whole run (`metrics.flops_per_token` times its tokens).
        minutes: schedule.max_minutes; None for no limit.

    Raises:
        ConfigError: runtime.compile=true on a machine without a C++ compiler.
    """
    compiler_missing = device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++"))
    if runtime.compile is True and compiler_missing:
        raise ConfigError(
            ["runtime.compile=true needs a C++ compiler on the CPU; g++ and clang++ are not on "
             "PATH; install g++, or set runtime.compile=false"]
        )  # fmt: skip
    if runtime.compile != "auto":
        return runtime.compile
    if device.type != "cuda":
        why = f"it does not speed up training on {device.type}"
    elif flops < _EARNS_COMPILING_FLOPS or (minutes or math.inf) < _EARNS_COMPILING_MINUTES:
        why = "the run is too short to make up for the minute of compilation"
    else:
        log.info("compile: on; the first step takes about a minute")
        return True
    log.info("compile: off, %s (runtime.compile=true turns it on)", why)
    return False
