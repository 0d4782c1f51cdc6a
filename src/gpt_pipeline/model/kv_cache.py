"""The keys and values of the positions already read, so that decoding reads each token once.

`GPTModel.new_cache` makes one; each forward pass with it appends to it. For inference only.
"""

import torch
from torch import Tensor

from gpt_pipeline.config import Architecture


class LayerCache:
    """One layer's share: buffers for max_length positions, the first `length` of them filled."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys = keys  # B G max_length D, G the heads that have keys of their own
        self.values = values  # B G max_length D
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v [B, G, T, D] in place behind what is there.

        Returns:
            All keys and all values so far, as views [B, G, length, D] of the buffers.
        """
        end = self.length + k.shape[2]
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class KVCache:
    """Preallocated keys and values of all layers, for up to max_length positions."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.architecture = architecture
        self.batch_size = batch_size
        shape = (
            batch_size,
            architecture.num_kv_heads,
            architecture.max_length,
            architecture.head_dim,
        )  # B G max_length D

        def buffer() -> Tensor:
            return torch.empty(shape, device=device, dtype=dtype)

        self.layers = tuple(LayerCache(buffer(), buffer()) for _ in range(architecture.num_layers))

    @property
    def length(self) -> int:
        """Positions that are filled; the next token's position."""
        return self.layers[0].length

    def expand(self, num_samples: int) -> "KVCache":
        """A copy of this cache of one sequence, for `num_samples` that go on from it alike.

        Raises:
            ValueError: if this cache holds more than one sequence.
        """
        if self.batch_size != 1:
            raise ValueError(f"only a cache of batch size 1 expands; got {self.batch_size}")
        keys = self.layers[0].keys
        copy = KVCache(
            self.architecture, batch_size=num_samples, device=keys.device, dtype=keys.dtype
        )
        for source, target in zip(self.layers, copy.layers, strict=True):
            target.append(source.keys[:, :, : self.length], source.values[:, :, : self.length])
        return copy
