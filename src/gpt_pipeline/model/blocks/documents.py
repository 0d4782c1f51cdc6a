"""Which positions see which, where several documents follow one another in a window."""

import torch
from torch import Tensor, nn


class DocumentMask(nn.Module):
    """A position sees those of its own document up to itself.

    Source: Grattafiori et al. 2024, "The Llama 3 Herd of Models", section 3.2. With rotary
    positions a document then has the logits that it has alone.
    """

    def __init__(self, eot_id: int) -> None:
        super().__init__()
        self.eot_id = eot_id

    def forward(self, tokens: Tensor) -> Tensor:
        """Bool [B, T, T] of tokens [B, T]; the end of a document is the first of the next."""
        documents = (tokens == self.eot_id).cumsum(1)  # B T
        return torch.tril(documents[:, :, None] == documents[:, None, :])


class NoDocumentMask(nn.Module):
    """In the place of `DocumentMask` where a position sees all before it."""

    def forward(self, tokens: Tensor) -> None:
        """No limit."""
