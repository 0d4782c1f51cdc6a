"""A step of generation as a recording that a GPU replays, for no time to pass between its kernels.

A step of a small model is a hundred kernels of a few microseconds; to start each from Python takes
longer than to run it. What CUDA recorded (PyTorch's documentation, "CUDA semantics", "CUDA Graphs")
reads and writes the same places in memory each time, so tokens and lengths have tensors of its own.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gpt_pipeline.inference.kv_cache import KVCache, RowsOnDevice
from gpt_pipeline.model.gpt import GPTModel
from gpt_pipeline.runtime.transfer import on_device

log = logging.getLogger(__name__)

Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Runs a computation once; gives what runs it again, and its result, which that writes anew."""

_WARM_UP = 3
"""Runs before the recorded one, in which libraries choose kernels and take memory."""


@cache
def _aside(device: int) -> torch.cuda.Stream:
    """Where a device's steps are recorded. One stream for all: memory that recordings share is of
    the stream that took it, and cuBLAS keeps some tens of MB for each stream that it has seen.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class CudaGraphRecorder:
    """Records on the current CUDA device; the recordings share the memory that they compute in."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, compute: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record what does not depend on the host; the next recording may overwrite its result.

        Raises:
            RuntimeError: the device cannot record it.
        """
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        here, aside = torch.cuda.current_stream(), _aside(torch.cuda.current_device())
        aside.wait_stream(here)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.stream(aside):  # which is left also where the recording fails
                for _ in range(_WARM_UP):
                    compute()
                with torch.cuda.graph(graph, pool=self._pool, stream=aside):
                    result = compute()
        finally:
            here.wait_stream(aside)
        return graph.replay, result


@dataclass(frozen=True)
class _Recorded:
    """Steps of so many rows: int64 [2, B], tokens and lengths, that it reads; logits [B, V]."""

    given: Tensor
    replay: Callable[[], None]
    logits: Tensor


class CudaGraphs:
    """The next logits of the first rows of a cache, from recordings where the device makes them.

    There is one for 1, 2, 4, ... rows and one for all. Those beyond the rows that are asked for
    write to the first place of a row that nobody uses, and are of no account.
    """

    def __init__(self, model: GPTModel, cache: KVCache, record: Record | None = None) -> None:
        self._model, self._cache = model, cache
        self._record = record or CudaGraphRecorder()
        self._recorded: dict[int, _Recorded] = {}

    def logits(self, tokens: Sequence[int]) -> Tensor:
        """Read a token of each of the first rows: float32 [B, V], until the next call.

        The rest of the cache's rows must be free: their first position is written to.
        """
        number = len(tokens)
        size = min(1 << (number - 1).bit_length(), self._cache.batch_size)
        recorded = self._recorded.get(size)
        if recorded is None and self._model.use_cuda_graphs:
            recorded = self._new(size)
        if recorded is None:
            read = torch.tensor(tokens)[:, None].to(self._model.device)  # B 1
            return self._model_on(read, self._cache.rows(0, number))
        given = torch.zeros(2, size, dtype=torch.int64)
        given[0, :number] = torch.tensor(tokens)
        given[1, :number] = torch.from_numpy(self._cache.lengths[:number])
        recorded.given.copy_(on_device(given, self._model.device))
        recorded.replay()
        self._cache.lengths[:number] += 1
        return recorded.logits[:number]

    def _model_on(self, tokens: Tensor, rows: KVCache) -> Tensor:
        logits: Tensor = self._model(tokens, rows)[:, -1]
        return logits.float()

    def _new(self, size: int) -> _Recorded | None:
        """Record steps of so many rows; None, and no more tries, where the device does not."""
        given = torch.zeros(2, size, dtype=torch.int64, device=self._model.device)
        rows = RowsOnDevice(self._cache.rows(0, size), given[1])

        def step() -> Tensor:
            return self._model_on(given[0][:, None], rows)

        kept = [[each[:size, :, :1].clone() for each in (layer.keys, layer.values)]
                for layer in self._cache.layers]  # fmt: skip
        try:
            self._recorded[size] = _Recorded(given, *self._record(step))
        except RuntimeError as error:
            self._model.use_cuda_graphs = False
            first_line = str(error).split("\n")[0]
            log.warning("steps of generation are not recorded: %s; each takes longer", first_line)
        finally:  # what it ran wrote to the first place of each row
            for layer, buffers in zip(self._cache.layers, kept, strict=True):
                for each, first in zip((layer.keys, layer.values), buffers, strict=True):
                    each[:size, :, :1] = first
        return self._recorded.get(size)
