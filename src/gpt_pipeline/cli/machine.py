"""The machine as runtime.* asks for it: device, precision, threads, compile; choices are said."""

import ctypes
import time

import torch

from gpt_pipeline.checkpoint import Checkpoint
from gpt_pipeline.cli.console import log
from gpt_pipeline.config import RuntimeConfig
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.inference.native import CompilerMissing, load_library
from gpt_pipeline.inference.quantize import for_inference
from gpt_pipeline.model import GPTModel

_FROM_THE_CACHE_S = 0.3
"""Loading what is compiled takes less, compiling it more."""


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
