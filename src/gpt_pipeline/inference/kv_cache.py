"""The keys and values of the positions already read, so that decoding reads each token once.

`GPTModel.new_cache` makes one; each forward pass with it appends to it. For inference only.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model import GPTModel
from gpt_pipeline.model.blocks.embedding import Positions


@dataclass(frozen=True)
class _Pass:
    """Where the tokens of one forward pass stand.

    Attributes:
        positions: their positions.
        end: behind the last position that any of them sees.
        written: their positions, [B]; None where they stand alike in all rows.
        mask: what each of them sees, bool [B, 1, 1, end] or [T, end]; None: all, or as `causal`.
        causal: whether they are the first, and see those of themselves up to their own.
    """

    positions: Positions
    end: int
    written: Tensor | None = None
    mask: Tensor | None = None
    causal: bool = False


class LayerCache:
    """One layer's share: buffers for max_length positions of each row."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys  # B G max_length D, G the heads that have keys of their own
        self.values = values  # B G max_length D
        self.now = _Pass(slice(0, 0), 0)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Append k and v [B, G, T, D], and let q [B, H, T, D] gather from all that is held.

        Returns:
            [B, H, T, D].
        """
        now = self.now
        keys = _appended(self.keys, k, now)
        values = _appended(self.values, v, now)
        gathered = functional.scaled_dot_product_attention(
            q.to(keys.dtype), keys, values, now.mask,
            is_causal=now.causal, enable_gqa=q.shape[1] != k.shape[1],
        )  # fmt: skip
        return gathered.to(q.dtype)


def _appended(buffer: Tensor, new: Tensor, now: _Pass) -> Tensor:
    """Write [B, G, T, D] into a buffer in place; all that it holds then, a view [B, G, end, D]."""
    if now.written is None:
        buffer[:, :, now.positions] = new
    else:
        rows = torch.arange(len(new), device=new.device)
        buffer[rows, :, now.written] = new[:, :, 0].to(buffer.dtype)
    return buffer[:, :, : now.end]


class KVCache:
    """Preallocated keys and values of all layers, for up to max_length positions of each row.

    Attributes:
        lengths: positions that are filled in each row, int64 [B].
        layers: the buffers, a layer each.
    """

    def __init__(self, layers: tuple[LayerCache, ...], lengths: NDArray[np.int64]) -> None:
        self.layers, self.lengths = layers, lengths

    @classmethod
    def empty(
        cls,
        config: GPTConfig,
        *,
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> "KVCache":
        """A cache for so many rows, none of them begun."""
        shape = (
            batch_size,
            config.num_kv_heads,
            config.max_length,
            config.head_dim,
        )  # B G max_length D

        def buffer() -> Tensor:
            # zeros, as what is masked must still be a number
            return torch.zeros(shape, device=device, dtype=dtype)

        layers = tuple(LayerCache(buffer(), buffer()) for _ in range(config.num_layers))
        return cls(layers, np.zeros(batch_size, np.int64))

    @classmethod
    def for_model(cls, model: GPTModel, batch_size: int) -> "KVCache":
        """An empty cache on the model's device.

        It is in autocast's precision where that is on, else in the weights' own; on a CPU in
        float32, in which attention of one query is five times as fast as in bfloat16.
        """
        dtype: torch.dtype = model.final_norm.weight.dtype  # type: ignore[assignment]
        if model.decoder is not None:
            dtype = torch.float32
        elif torch.is_autocast_enabled(model.device.type):
            dtype = torch.get_autocast_dtype(model.device.type)
        elif model.device.type == "cpu":
            dtype = torch.float32
        return cls.empty(model.config, batch_size=batch_size, device=model.device, dtype=dtype)

    @property
    def batch_size(self) -> int:
        """Rows."""
        return len(self.lengths)

    @property
    def longest(self) -> int:
        """Positions that are filled in the row that has most."""
        return int(self.lengths.max())

    def rows(self, first: int, number: int) -> "KVCache":
        """Some rows as a cache of their own, in the same memory."""
        part = slice(first, first + number)
        layers = tuple(LayerCache(each.keys[part], each.values[part]) for each in self.layers)
        return KVCache(layers, self.lengths[part])

    @torch.inference_mode()
    def copy_row(self, source: int, target: int) -> None:
        """Let a row hold what another one holds."""
        length = self.lengths[target] = self.lengths[source]
        for layer in self.layers:
            for buffer in (layer.keys, layer.values):
                buffer[target, :, :length] = buffer[source, :, :length]

    def advance(self, num_tokens: int) -> Positions:
        """Make place for `num_tokens` more in each row; gives where they stand.

        Raises:
            ValueError: for more than one token where rows are not equally long.
        """
        start, longest = int(self.lengths.min()), self.longest
        if start == longest:
            now = self._alike(start, num_tokens)
        elif num_tokens == 1:
            device = self.layers[0].keys.device
            now = _one_each(torch.from_numpy(self.lengths.copy()).to(device), longest + 1)
        else:
            raise ValueError("rows of different lengths take one token at a time")
        self.lengths += num_tokens
        return self._begin(now)

    def _begin(self, now: _Pass) -> Positions:
        """Tell the layers of a pass."""
        for layer in self.layers:
            layer.now = now
        return now.positions

    def _alike(self, start: int, num_tokens: int) -> _Pass:
        end = start + num_tokens
        positions = slice(start, end)
        if start == 0 or num_tokens == 1:
            return _Pass(positions, end, causal=num_tokens > 1)
        device = self.layers[0].keys.device
        allowed = torch.ones(num_tokens, end, dtype=torch.bool, device=device)
        return _Pass(positions, end, mask=allowed.tril(diagonal=start))  # T end


class RowsOnDevice(KVCache):
    """Rows, the lengths of which stand on the device alone: a pass is the same whatever they are.

    For one token a row, and recordings of such passes (`CudaGraphs`). Each sees all that is held
    of its row through a mask over max_length positions.
    """

    def __init__(self, rows: KVCache, at: Tensor) -> None:
        super().__init__(rows.layers, np.zeros(rows.batch_size, np.int64))
        self._at = at  # B

    def advance(self, num_tokens: int) -> Positions:
        """Where the token of each row stands; the lengths are moved on by who keeps them."""
        if num_tokens != 1:
            raise ValueError(f"rows on the device take one token at a time; got {num_tokens}")
        return self._begin(_one_each(self._at, self.layers[0].keys.shape[2]))


def _one_each(lengths: Tensor, end: int) -> _Pass:
    """A token a row, behind so many [B] that the row holds."""
    held = torch.arange(end, device=lengths.device) <= lengths[:, None]  # B end
    return _Pass(positions=lengths[:, None], end=end, written=lengths, mask=held[:, None, None])
