"""The machine as runtime.* asks for it: device, precision, threads, compile; choices are said."""

import ctypes
import math
import os
import shutil
import sys
import time

import torch

from gpt_pipeline.checkpoint import Checkpoint
from gpt_pipeline.cli.console import log
from gpt_pipeline.config import RuntimeConfig
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.inference.native import CompilerMissing, load_library
from gpt_pipeline.inference.quantize import for_inference
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime import usable_cores
from gpt_pipeline.runtime.precision import Precision, choose_device

# Parameters of glibc's mallopt(3), and the largest threshold that it takes.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_NEVER_BYTES, _PAD_BYTES, _LARGEST_THRESHOLD_BYTES = 2**31 - 1, 1 << 26, 1 << 25

_EARNS_COMPILING_FLOPS = 2e16
"""A few minutes of a GPU; compiling takes one and saves about a quarter of the rest."""
_EARNS_COMPILING_MINUTES = 4.0
_FROM_THE_CACHE_S = 0.3
"""Loading what is compiled takes less, compiling it more."""


def keep_freed_memory() -> None:
    """Let glibc keep what tensors free, instead of handing it to the system at each step.

    A step frees and takes the same buffers again; page by page from the system that costs a fifth
    of a small model's time on a CPU (docs/benchmarks.md). Other C libraries are left alone.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_THRESHOLD_BYTES)
        mallopt(_TRIM_THRESHOLD, _NEVER_BYTES)
        mallopt(_TOP_PAD, _PAD_BYTES)


def set_up_torch(runtime: RuntimeConfig) -> torch.device:
    """Set threads and determinism for this process, and choose the device.

    Raises:
        ConfigError: the device that was asked for is not there.
    """
    device = choose_device(runtime.device)
    keep_freed_memory()
    _set_threads(runtime.num_threads)
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS refuses
        torch.use_deterministic_algorithms(True)
    return device


def _set_threads(asked: int | None) -> None:
    """Threads as asked for; else torch's own choice, at most as many as there are usable cores.

    Torch knows nothing of a container's CPU quota: threads beyond it wait for their turn, and the
    others wait for them.
    """
    if asked is None and {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys():
        return
    threads = asked or min(usable_cores(), torch.get_num_threads())
    if threads != torch.get_num_threads():
        torch.set_num_threads(threads)


def training_precision(runtime: RuntimeConfig, device: torch.device) -> Precision:
    """The precision of a run, and a line on what the hardware decided."""
    precision = Precision.choose(runtime, device)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    why = ""
    if runtime.dtype == "auto" and precision.dtype == torch.float32:
        why = f" ({device.type} has no fast bfloat16)"
    log.info("machine: %s%s, %s%s", device.type, threads, precision.name, why)
    return precision


def model_for_inference(
    checkpoint: Checkpoint, runtime: RuntimeConfig, device: torch.device
) -> GPTModel:
    """A checkpoint's model with its weights kept as runtime.weights says, compiled where that may
    be.

    Raises:
        CheckpointError: the checkpoint's parts are not of one model.
    """
    model = checkpoint.load_model(device)
    attend_to_any_length()
    if runtime.weights == "float32" and runtime.dtype in ("bfloat16", "float16"):
        return model  # autocast chooses what each operation computes in
    return for_inference(
        model, runtime.weights, library=compiled_decoder(runtime, device),
        use_cuda_graphs=runtime.compile is not False,
    )  # fmt: skip


def attend_to_any_length() -> None:
    """Keep cuDNN's attention out of generation: it takes long to make a plan for each length."""
    torch.backends.cuda.enable_cudnn_sdp(False)


def compiled_decoder(runtime: RuntimeConfig, device: torch.device) -> ctypes.CDLL | None:
    """The forward pass of generation in C, where runtime.compile and the machine let it be.

    Raises:
        ConfigError: it was asked for and there is no compiler.
    """
    if device.type != "cpu" or runtime.compile is False:
        return None
    begin = time.perf_counter()
    try:
        library = load_library()
    except CompilerMissing as error:
        if runtime.compile is True:
            raise ConfigError(
                [f"runtime.compile=true cannot compile generation's forward pass, {error}; "
                 "install gcc, or set runtime.compile=auto"]
            ) from None  # fmt: skip
        log.info("compile: off %s; generation takes about twice as long", error)
        return None
    seconds = time.perf_counter() - begin
    if seconds > _FROM_THE_CACHE_S:
        log.info("compile: generation's forward pass, once on this machine, %.1f s", seconds)
    return library


def should_compile(
    runtime: RuntimeConfig, device: torch.device, *, flops: float, minutes: float | None
) -> bool:
    """Whether to compile the model, and a line that says why where auto decided.

    Auto looks at the whole run, so that a resumed one decides as it did at its start.

    Args:
        runtime: what was asked for.
        device: where the run trains.
        flops: the work of the whole run, 6 a parameter and token.
        minutes: when the run ends in any case; None: not by the clock.

    Raises:
        ConfigError: compile was asked for and the machine lacks what it needs.
    """
    compiler_missing = device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++"))
    if runtime.compile is True and compiler_missing:
        raise ConfigError(
            ["runtime.compile=true needs a C++ compiler on the CPU; got none on the path; "
             "install g++, or set runtime.compile=false"]
        )  # fmt: skip
    if runtime.compile != "auto":
        return runtime.compile
    if device.type != "cuda":
        why = f"on {device.type}, where it gains nothing"
    elif flops < _EARNS_COMPILING_FLOPS or (minutes or math.inf) < _EARNS_COMPILING_MINUTES:
        why = "as the run is too short to earn back the minute that it takes"
    else:
        log.info("compile: on; the first step takes about a minute, the run far longer")
        return True
    log.info("compile: off %s (runtime.compile=true turns it on)", why)
    return False
