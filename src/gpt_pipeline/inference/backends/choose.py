"""Which backend a model gets."""

import logging
import time
from typing import Literal

import torch

from gpt_pipeline.config import RuntimeConfig
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.inference.backends.backend import Backend
from gpt_pipeline.inference.backends.cuda_graphs import CudaGraphsBackend
from gpt_pipeline.inference.backends.known import READS_POSITIONS, unknown_module
from gpt_pipeline.inference.backends.native import CompilerMissing, NativeBackend, load_library
from gpt_pipeline.inference.backends.torch import TorchBackend
from gpt_pipeline.inference.backends.uncached import UncachedBackend
from gpt_pipeline.inference.quantize import Weights, convert_weights, pack
from gpt_pipeline.model import GPTModel

log = logging.getLogger(__name__)

_CACHED_S = 0.3
"""Loading the compiled library takes less, compiling it more."""


def prepare(
    model: GPTModel,
    *,
    weights: Weights = "float32",
    compiled: Literal["auto"] | bool = "auto",
    autocast: bool = False,
) -> Backend:
    """The fastest backend that supports a model, on the model's device.

    The model is changed in place: no more training, no state dict. If a fast backend cannot be
    used, one line of the log says why.

    Args:
        model: of any blocks.
        weights: what the weights are kept in. bfloat16 and int8 weights are multiplied with
            bfloat16 activations, or with float32 ones by the native backend.
        compiled: whether a backend that compiles may be used: native on a CPU, CUDA graphs on
            CUDA. True: it must be used.
        autocast: whether autocast will be on; float32 weights then stay as they are, for it to
            choose what each operation computes in.

    Raises:
        ConfigError: `compiled` is True, and the machine or the model does not allow it.
    """
    kind = model.device.type
    if kind == "cuda":
        # cuDNN takes long to make a plan of attention for each new length
        torch.backends.cuda.enable_cudnn_sdp(False)
    if autocast and weights == "float32":
        return plain_backend(model)
    unknown = TorchBackend.supports(model)
    if kind == "cpu" and compiled is not False and unknown is None:
        native = _native(model, weights, required=compiled is True)
        if native is not None:
            return native
    if unknown is not None:
        _refuse_if(compiled is True, f"no compiled backend supports {unknown}")
        log.info(
            "backend: %s; %s is not known to work with one, so each token takes a forward pass "
            "over its whole context", UncachedBackend.name, unknown,
        )  # fmt: skip
        return UncachedBackend(convert_weights(model, weights))
    if kind == "cuda" and compiled is not False:
        reason = CudaGraphsBackend.supports(model)
        if reason is None:
            return CudaGraphsBackend(convert_weights(model, weights))
        _refuse_if(compiled is True, f"{CudaGraphsBackend.name} does not support {reason}")
        log.info("backend: torch; %s does not support %s", CudaGraphsBackend.name, reason)
    return TorchBackend(pack(convert_weights(model, weights)))


def prepare_as_configured(model: GPTModel, runtime: RuntimeConfig) -> Backend:
    """`prepare` with the keys of `runtime`.

    Raises:
        ConfigError: as `prepare`.
    """
    autocast = runtime.dtype in ("bfloat16", "float16")
    return prepare(model, weights=runtime.weights, compiled=runtime.compile, autocast=autocast)


def plain_backend(model: GPTModel) -> Backend:
    """A backend that leaves the model as it is, so that its weights may change between samples."""
    known = unknown_module(model, READS_POSITIONS, allow_hooks=True) is None
    return (TorchBackend if known else UncachedBackend)(model)


def _native(model: GPTModel, weights: Weights, *, required: bool) -> Backend | None:
    """The native backend, or None and a line that says why not."""
    reason = NativeBackend.supports(model)
    if reason is not None:
        _refuse_if(required, f"native does not support {reason}")
        log.info("backend: torch; native does not support %s", reason)
        return None
    begin = time.perf_counter()
    try:
        library = load_library()
    except CompilerMissing as error:
        _refuse_if(required, f"the native backend cannot be compiled: {error}")
        log.info(
            "backend: torch; native cannot be compiled: %s; generation takes about twice as long",
            error,
        )
        return None
    seconds = time.perf_counter() - begin
    if seconds > _CACHED_S:
        log.info("backend: native, compiled once for this machine in %.1f s", seconds)
    return NativeBackend(convert_weights(model, weights), library)


def _refuse_if(required: bool, reason: str) -> None:
    if required:
        raise ConfigError([f"runtime.compile=true: {reason}; set runtime.compile=auto"])
