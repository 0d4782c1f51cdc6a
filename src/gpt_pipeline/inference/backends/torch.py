"""The model's own modules with a KV cache: on every device, quantized or not."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_pipeline.inference.backends.known import READS_POSITIONS, unknown_module
from gpt_pipeline.inference.kv_cache import KVCache
from gpt_pipeline.inference.top_k import topk_in_blocks
from gpt_pipeline.model import GPTModel


class TorchBackend:
    """Runs a GPTModel, whose weights may change between calls; autocast applies if it is on.

    The model computes in evaluation mode and is back in its own mode after each call.
    """

    name = "torch"

    def __init__(self, model: GPTModel) -> None:
        self.model, self.config = model, model.config

    @staticmethod
    def supports(model: GPTModel) -> str | None:
        """Any norm and feed-forward; for the KV cache, attention and positions must be known."""
        return unknown_module(model, READS_POSITIONS)

    @property
    def device(self) -> torch.device:
        """The model's."""
        return self.model.device

    def new_cache(self, batch_size: int) -> "TorchCache":
        """In autocast's precision where that is on, else in that of the weights.

        On a CPU it is float32, in which attention of one query is five times as fast as in
        bfloat16.
        """
        device = self.device
        weights = (each.dtype for each in self.model.parameters() if each.is_floating_point())
        dtype = next(weights, torch.float32)
        if torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        elif device.type == "cpu":
            dtype = torch.float32
        kv = KVCache.empty(self.config, batch_size=batch_size, device=device, dtype=dtype)
        return self._cache_of(kv)

    def _cache_of(self, kv: KVCache) -> "TorchCache":
        return TorchCache(self.model, kv)

    def logits(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of tokens [B, T], by the model's forward pass."""
        with evaluating(self.model):
            logits: Tensor = self.model(tokens)
        return logits

    def topk(self, logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """See `topk_in_blocks`."""
        return topk_in_blocks(logits, number)


class TorchCache:
    """Keys and values of the rows, and the model that appends to them (`DecodingCache`)."""

    def __init__(self, model: GPTModel, kv: KVCache) -> None:
        self._model, self.kv = model, kv

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Positions that are filled in each row, [B]."""
        return self.kv.lengths

    def read(self, row: int, tokens: Sequence[int]) -> None:
        """Fill a row with the keys and values of these tokens."""
        part = self.kv.rows(row, 1)
        part.lengths[:] = 0
        if tokens:
            self.hidden_states(torch.tensor([tokens]).to(self._model.device), part)

    def next_logits(self, tokens: Sequence[int]) -> Tensor:
        """Logits, float32 [N, V], after one more token in each of the first N rows."""
        read = torch.tensor(tokens)[:, None].to(self._model.device)  # N 1
        return self.logits(read, self.kv.rows(0, len(tokens)))[:, -1].float()

    def copy_row(self, source: int, target: int) -> None:
        """Copy the filled positions of a row."""
        self.kv.copy_row(source, target)

    def hidden_states(self, tokens: Tensor, kv: KVCache) -> Tensor:
        """Read tokens [N, T] at the end of some rows: hidden states [N, T, C]."""
        positions = kv.advance(*tokens.shape)
        with evaluating(self._model):
            return self._model.hidden_states(tokens, positions, kv.layers)

    def logits(self, tokens: Tensor, kv: KVCache) -> Tensor:
        """Read tokens [N, T] at the end of some rows: logits [N, T, V]."""
        hidden_states = self.hidden_states(tokens, kv)
        with evaluating(self._model):
            return self._model.head(hidden_states)


@contextlib.contextmanager
def evaluating(model: GPTModel) -> Iterator[None]:
    """Evaluation mode without gradients; the model's own mode is restored."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
