"""The model's forward pass over whole texts: slow, and right for every model."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gpt_pipeline.inference.backends.torch import TorchBackend
from gpt_pipeline.model import GPTModel


class UncachedBackend(TorchBackend):
    """Reads the whole context again for each token, as nothing is known of the model's attention.

    Attention of an unknown class may not keep to `AttentionCache`: its keys may depend on later
    tokens, or it may not see all positions.
    """

    name = "torch without a KV cache"

    @staticmethod
    def supports(model: GPTModel) -> str | None:
        """Every model."""
        return None

    def new_cache(self, batch_size: int) -> "TextCache":  # type: ignore[override]
        """A cache of the texts alone."""
        return TextCache(self, batch_size)


class TextCache:
    """The tokens of the rows (`DecodingCache`)."""

    def __init__(self, backend: UncachedBackend, batch_size: int) -> None:
        self._backend = backend
        self._texts: list[list[int]] = [[] for _ in range(batch_size)]
        self.lengths = np.zeros(batch_size, np.int64)

    def read(self, row: int, tokens: Sequence[int]) -> None:
        """Replace a text."""
        self._texts[row] = list(tokens)
        self.lengths[row] = len(tokens)

    def next_logits(self, tokens: Sequence[int]) -> Tensor:
        """Logits, float32 [N, V], one forward pass per row."""
        found = []
        for row, token in enumerate(tokens):
            self.read(row, [*self._texts[row], token])
            read = torch.tensor([self._texts[row]]).to(self._backend.device)
            found.append(self._backend.logits(read)[:, -1].float())
        return torch.cat(found)

    def copy_row(self, source: int, target: int) -> None:
        """Copy a text."""
        self.read(target, self._texts[source])
