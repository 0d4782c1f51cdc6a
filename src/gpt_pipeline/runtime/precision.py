"""The number format of a run: autocast, loss scaling, and how much is computed at a time."""

import contextlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt_pipeline.config import RuntimeConfig
from gpt_pipeline.runtime.transfer import on_device

log = logging.getLogger(__name__)

Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
"""Inputs and targets of a batch, int64 [B, T] each; targets below 0 are not counted."""

Batch = tuple[np.ndarray[Any, Any] | Tensor, np.ndarray[Any, Any] | Tensor]
"""The same, or on the device already."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_TOKENS_AT_ONCE = {"cpu": 2048}
"""Most tokens that a forward pass takes at a time, where more would only take memory."""


@dataclass(frozen=True)
class Precision:
    """Weights stay in float32; matrix products run in `dtype` (mixed precision)."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def choose(cls, runtime: RuntimeConfig, device: torch.device) -> "Precision":
        """The format of `runtime.dtype`; auto is the fastest one that the hardware supports."""
        if runtime.dtype != "auto":
            return cls(device, _DTYPES[runtime.dtype])
        if device.type == "cuda":
            return cls(device, torch.bfloat16 if _cuda_has_bfloat16() else torch.float16)
        if device.type == "cpu" and _cpu_has_bfloat16():
            return cls(device, torch.bfloat16)
        return cls(device, torch.float32)

    @classmethod
    def for_inference(cls, runtime: RuntimeConfig, device: torch.device) -> "Precision":
        """The format for generation: `runtime.dtype`, or float32 if it is auto.

        Autocast does not speed up decoding of single tokens. With `runtime.weights` other than
        float32 the weights determine the format.
        """
        plain = runtime.weights != "float32"
        return cls(device, torch.float32 if plain else _DTYPES.get(runtime.dtype, torch.float32))

    @property
    def name(self) -> str:
        """The format's name in the config, e.g. bfloat16."""
        return str(self.dtype).removeprefix("torch.")

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context manager for a forward pass."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def to_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Move inputs and targets to the device."""
        x, y = batch
        return on_device(x, self.device), on_device(y, self.device)

    def windows_at_once(self, number: int, length: int) -> int:
        """So many windows, or on a CPU the part of them beyond which nothing becomes faster."""
        most = _TOKENS_AT_ONCE.get(self.device.type)
        return number if most is None else min(number, max(1, most // length))

    def scaler(self) -> torch.amp.GradScaler:
        """A gradient scaler, which is disabled unless the format is float16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)


def training_precision(runtime: RuntimeConfig, device: torch.device) -> Precision:
    """Return the precision of a run, and log it with the device and the number of threads."""
    precision = Precision.choose(runtime, device)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    why = ""
    if runtime.dtype == "auto" and precision.dtype == torch.float32:
        why = f" (no fast bfloat16 on this {device.type})"
    log.info("machine: %s%s, %s%s", device.type, threads, precision.name, why)
    return precision


def _cuda_has_bfloat16() -> bool:
    return torch.cuda.get_device_capability()[0] >= 8  # before Ampere it is emulated, and slow


def _cpu_has_bfloat16() -> bool:
    """Matrix instructions for bfloat16 (AVX512-BF16, AMX, or Arm's BF16), not just support."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    present = [getattr(torch.cpu, probe) for probe in probes if hasattr(torch.cpu, probe)]
    return any(probe() for probe in present)
