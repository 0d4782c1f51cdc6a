"""The torch backend on CUDA, with each decoding step captured in a CUDA graph and replayed.

A step of a small model is a hundred kernels of a few microseconds each; launching them one by one
from Python takes longer than running them. A graph (PyTorch's documentation, "CUDA semantics",
"CUDA Graphs") reads and writes the same memory at each replay, so tokens and lengths are kept in
tensors of their own.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gpt_pipeline.inference.backends.known import unknown_module
from gpt_pipeline.inference.backends.torch import TorchBackend, TorchCache
from gpt_pipeline.inference.kv_cache import KVCache, RowsOnDevice
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.transfer import on_device

log = logging.getLogger(__name__)

Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Runs a computation once; gives a function that runs it again, and its result tensor, which each
replay overwrites.
"""

_WARM_UP = 3
"""Runs before the capture, in which libraries choose kernels and allocate memory."""


class CudaGraphsBackend(TorchBackend):
    """Captures a graph for 1, 2, 4, ... rows and one for all rows of a cache.

    If the device cannot capture, steps run as in `TorchBackend`, and one warning says so.

    Args:
        model: quantized or not, whose weights do not change.
        capture: makes the function that captures; tests replace CUDA's.
    """

    name = "CUDA graphs"

    def __init__(self, model: GPTModel, capture: Callable[[], Capture] | None = None) -> None:
        super().__init__(model)
        self.capture = capture or CudaGraphCapture
        self.can_capture = True

    @staticmethod
    def supports(model: GPTModel) -> str | None:
        """Known modules on CUDA: in others the host might decide what a step computes."""
        if model.device.type != "cuda":
            return f"{model.device.type} devices"
        return unknown_module(model)

    def _cache_of(self, kv: KVCache) -> TorchCache:
        return _GraphCache(self, kv)


@cache
def _capture_stream(device: int) -> torch.cuda.Stream:
    """The stream that a device's graphs are captured on: one for all.

    Memory that graphs share belongs to the stream that allocated it, and cuBLAS keeps some tens of
    MB for each stream that it has seen.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class CudaGraphCapture:
    """Captures on the current CUDA device; its graphs share the memory that they compute in."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Capture what does not depend on the host; the next replay may overwrite its result.

        Raises:
            RuntimeError: the device cannot capture it.
        """
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        current, side = torch.cuda.current_stream(), _capture_stream(torch.cuda.current_device())
        side.wait_stream(current)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.stream(side):  # left also if the capture fails
                for _ in range(_WARM_UP):
                    compute()
                with torch.cuda.graph(graph, pool=self._pool, stream=side):
                    result = compute()
        finally:
            current.wait_stream(side)
        return graph.replay, result


@dataclass(frozen=True)
class _Graph:
    """A captured step of B rows.

    Attributes:
        inputs: int64 [2, B], tokens and lengths, which it reads.
        replay: runs it.
        logits: [B, V], which it writes.
    """

    inputs: Tensor
    replay: Callable[[], None]
    logits: Tensor


class _GraphCache(TorchCache):
    """Rows beyond those that are asked for write to the first position of a free row."""

    def __init__(self, backend: CudaGraphsBackend, kv: KVCache) -> None:
        super().__init__(backend.model, kv)
        self._backend = backend
        self._capture = backend.capture()
        self._graphs: dict[int, _Graph] = {}

    def next_logits(self, tokens: Sequence[int]) -> Tensor:
        """Logits, float32 [N, V], after one more token in each of the first N rows."""
        number = len(tokens)
        size = min(1 << (number - 1).bit_length(), self.kv.batch_size)
        graph = self._graphs.get(size)
        if graph is None and self._backend.can_capture:
            graph = self._new(size)
        if graph is None:
            return super().next_logits(tokens)
        inputs = torch.zeros(2, size, dtype=torch.int64)
        inputs[0, :number] = torch.tensor(tokens)
        inputs[1, :number] = torch.from_numpy(self.lengths[:number])
        graph.inputs.copy_(on_device(inputs, self._model.device))
        graph.replay()
        self.lengths[:number] += 1
        return graph.logits[:number]

    def _new(self, size: int) -> _Graph | None:
        """Capture a step of so many rows; None, and no more attempts, if the device cannot."""
        inputs = torch.zeros(2, size, dtype=torch.int64, device=self._model.device)
        rows = RowsOnDevice(self.kv.rows(0, size), inputs[1])

        def step() -> Tensor:
            return self.logits(inputs[0][:, None], rows)[:, -1].float()

        before = [[each[:size, :, :1].clone() for each in (layer.keys, layer.values)]
                  for layer in self.kv.layers]  # fmt: skip
        try:
            self._graphs[size] = _Graph(inputs, *self._capture(step))
        except RuntimeError as error:
            self._backend.can_capture = False
            log.warning(
                "backend: torch; a CUDA graph cannot be captured: %s; generation takes longer",
                str(error).split("\n")[0],
            )
        finally:  # warm-up and capture wrote to the first position of each row
            for layer, buffers in zip(self.kv.layers, before, strict=True):
                for each, first in zip((layer.keys, layer.values), buffers, strict=True):
                    each[:size, :, :1] = first
        return self._graphs.get(size)
