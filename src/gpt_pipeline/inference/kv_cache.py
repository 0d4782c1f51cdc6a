"""The keys and values of positions that were read, so that decoding reads each token once.

For each forward pass `KVCache.advance` gives the positions, and `KVCache.layers` are the caches
that `GPTModel.hidden_states` appends to.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.blocks.embedding import Positions


@dataclass(frozen=True)
class _Pass:
    """The positions of the tokens of one forward pass, and their attention mask.

    Attributes:
        positions: as the model takes them.
        end: one more than the last position that any token attends to.
        written: one position per row, [B]; None: the same positions in all rows.
        mask: bool [B, 1, 1, end] or [T, end]; None: all positions, or as `causal` says.
        causal: whether the tokens are the first of their rows and attend causally.
    """

    positions: Positions
    end: int
    written: Tensor | None = None
    mask: Tensor | None = None
    causal: bool = False


class LayerCache:
    """One layer's keys and values (`AttentionCache`), max_length positions per row."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys  # B G max_length D, G the number of key heads
        self.values = values  # B G max_length D
        self.now = _Pass(slice(0, 0), 0)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Append k and v [B, G, T, D], and attend with q [B, H, T, D] to all positions.

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
    """Write [B, G, T, D] into a buffer in place; a view of its positions, [B, G, end, D]."""
    if now.written is None:
        buffer[:, :, now.positions] = new
    else:
        rows = torch.arange(len(new), device=new.device)
        buffer[rows, :, now.written] = new[:, :, 0].to(buffer.dtype)
    return buffer[:, :, : now.end]


class KVCache:
    """Preallocated keys and values of all layers, max_length positions per row.

    Attributes:
        lengths: positions that are filled in each row, int64 [B].
        layers: the buffers of each layer.
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
        """A cache of `batch_size` empty rows."""
        shape = (
            batch_size,
            config.num_kv_heads,
            config.max_length,
            config.head_dim,
        )  # B G max_length D

        def buffer() -> Tensor:
            # zeros: masked values are multiplied by 0 and must be finite
            return torch.zeros(shape, device=device, dtype=dtype)

        layers = tuple(LayerCache(buffer(), buffer()) for _ in range(config.num_layers))
        return cls(layers, np.zeros(batch_size, np.int64))

    @property
    def batch_size(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    @property
    def max_length(self) -> int:
        """Positions that a row has room for."""
        return self.layers[0].keys.shape[2]

    def rows(self, first: int, number: int) -> "KVCache":
        """Some rows as a cache of their own, which shares their memory."""
        part = slice(first, first + number)
        layers = tuple(LayerCache(each.keys[part], each.values[part]) for each in self.layers)
        return KVCache(layers, self.lengths[part])

    @torch.inference_mode()
    def copy_row(self, source: int, target: int) -> None:
        """Copy the filled positions of row `source` to row `target`."""
        length = self.lengths[target] = self.lengths[source]
        for layer in self.layers:
            for buffer in (layer.keys, layer.values):
                buffer[target, :, :length] = buffer[source, :, :length]

    def check_room(self, batch_size: int, num_tokens: int) -> None:
        """Refuse tokens [batch_size, num_tokens] that the rows have no room for.

        Raises:
            ValueError: too many tokens for a row, or another number of rows.
        """
        if batch_size != self.batch_size:
            raise ValueError(
                f"tokens and cache must have one batch size; got {batch_size} and {self.batch_size}"
            )
        longest = int(self.lengths.max())
        if longest + num_tokens > self.max_length:
            raise ValueError(
                f"tokens must fit into max_length; got {num_tokens} after {longest} in the cache, "
                f"and {self.max_length}"
            )

    def advance(self, batch_size: int, num_tokens: int) -> Positions:
        """Prepare a forward pass over tokens [batch_size, num_tokens]; gives their positions.

        Raises:
            ValueError: as `check_room`; or several tokens for rows of different lengths.
        """
        self.check_room(batch_size, num_tokens)
        start, longest = int(self.lengths.min()), int(self.lengths.max())
        if start == longest:
            now = self._same_positions(start, num_tokens)
        elif num_tokens == 1:
            device = self.layers[0].keys.device
            now = _one_token_per_row(torch.from_numpy(self.lengths.copy()).to(device), longest + 1)
        else:
            raise ValueError("rows of different lengths take one token at a time")
        self.lengths += num_tokens
        return self._begin(now)

    def _begin(self, now: _Pass) -> Positions:
        for layer in self.layers:
            layer.now = now
        return now.positions

    def _same_positions(self, start: int, num_tokens: int) -> _Pass:
        end = start + num_tokens
        positions = slice(start, end)
        if start == 0 or num_tokens == 1:
            return _Pass(positions, end, causal=num_tokens > 1)
        device = self.layers[0].keys.device
        allowed = torch.ones(num_tokens, end, dtype=torch.bool, device=device)
        return _Pass(positions, end, mask=allowed.tril(diagonal=start))  # T end


class RowsOnDevice(KVCache):
    """Rows whose lengths [B] are on the device alone: each pass runs the same operations.

    For one token per row, and for CUDA graphs of such passes. Each token attends through a mask
    over max_length positions. The host's lengths are advanced by the caller.
    """

    def __init__(self, rows: KVCache, lengths: Tensor) -> None:
        super().__init__(rows.layers, np.zeros(rows.batch_size, np.int64))
        self._lengths_on_device = lengths  # B

    def advance(self, batch_size: int, num_tokens: int) -> Positions:
        """The position of each row's token."""
        if num_tokens != 1:
            raise ValueError(f"rows on the device take one token at a time; got {num_tokens}")
        return self._begin(_one_token_per_row(self._lengths_on_device, self.max_length))


def _one_token_per_row(lengths: Tensor, end: int) -> _Pass:
    """One token at the end of each row, which holds `lengths` [B] positions before it."""
    seen = torch.arange(end, device=lengths.device) <= lengths[:, None]  # B end
    return _Pass(positions=lengths[:, None], end=end, written=lengths, mask=seen[:, None, None])
