"""The keys and values of the positions already read, so that decoding reads each token once.

`GPTModel.new_cache` makes one; each forward pass with it appends to it. For inference only.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gpt_pipeline.config import Architecture

Places = slice | Tensor
"""Positions of the tokens of a forward pass: alike in all rows, or int64 [B, 1], one a row."""


@dataclass(frozen=True)
class _Pass:
    """Where the tokens of one forward pass stand.

    Attributes:
        places: their positions.
        end: behind the last position that any of them sees.
        written: their places, [B]; None where they stand alike in all rows.
        mask: what each of them sees, bool [B, 1, 1, end] or [T, end]; None: all, or as `causal`.
        causal: whether they are the first, and see those of themselves up to their own.
    """

    places: Places
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
        buffer[:, :, now.places] = new
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
        architecture: Architecture,
        *,
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> "KVCache":
        """A cache for so many rows, none of them begun."""
        shape = (
            batch_size,
            architecture.num_kv_heads,
            architecture.max_length,
            architecture.head_dim,
        )  # B G max_length D

        def buffer() -> Tensor:
            # zeros, as what is masked must still be a number
            return torch.zeros(shape, device=device, dtype=dtype)

        layers = tuple(LayerCache(buffer(), buffer()) for _ in range(architecture.num_layers))
        return cls(layers, np.zeros(batch_size, np.int64))

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

    def advance(self, num_tokens: int) -> Places:
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

    def _begin(self, now: _Pass) -> Places:
        """Tell the layers of a pass."""
        for layer in self.layers:
            layer.now = now
        return now.places

    def _alike(self, start: int, num_tokens: int) -> _Pass:
        end = start + num_tokens
        places = slice(start, end)
        if start == 0 or num_tokens == 1:
            return _Pass(places, end, causal=num_tokens > 1)
        device = self.layers[0].keys.device
        allowed = torch.ones(num_tokens, end, dtype=torch.bool, device=device)
        return _Pass(places, end, mask=allowed.tril(diagonal=start))  # T end


class RowsOnDevice(KVCache):
    """Rows, the lengths of which stand on the device alone: a pass is the same whatever they are.

    For one token a row, and recordings of such passes (`StepGraphs`). Each sees all that is held
    of its row through a mask over max_length places.
    """

    def __init__(self, rows: KVCache, at: Tensor) -> None:
        super().__init__(rows.layers, np.zeros(rows.batch_size, np.int64))
        self._at = at  # B

    def advance(self, num_tokens: int) -> Places:
        """Where the token of each row stands; the lengths are moved on by who keeps them."""
        if num_tokens != 1:
            raise ValueError(f"rows on the device take one token at a time; got {num_tokens}")
        return self._begin(_one_each(self._at, self.layers[0].keys.shape[2]))


def _one_each(lengths: Tensor, end: int) -> _Pass:
    """A token a row, behind so many [B] that the row holds."""
    held = torch.arange(end, device=lengths.device) <= lengths[:, None]  # B end
    return _Pass(places=lengths[:, None], end=end, written=lengths, mask=held[:, None, None])
