"""The attention mask of windows that contain several documents."""

import torch
from torch import Tensor, nn


class DocumentMask(nn.Module):
    """Each token attends to its own document, up to itself.

    Source: Grattafiori et al. 2024, "The Llama 3 Herd of Models", section 3.2. With rotary
    positions a document then has the logits that it has alone.
    """

    def __init__(self, eot_id: int) -> None:
        super().__init__()
        self.eot_id = eot_id

    def forward(self, tokens: Tensor) -> Tensor:
        """Bool [B, T, T] of tokens [B, T]; an end-of-text belongs to the document after it."""
        documents = (tokens == self.eot_id).cumsum(1)  # B T
        return torch.tril(documents[:, :, None] == documents[:, None, :])


class NoDocumentMask(nn.Module):
    """Stand-in for `DocumentMask` if a token attends to all before it."""

    def forward(self, tokens: Tensor) -> None:
        """No limit."""
