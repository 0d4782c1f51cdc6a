"""Layer normalisation, before each attention, each feed-forward and the head."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm(nn.Module):
    """Shift and scale each position to mean 0 and variance 1, then by a learned weight and bias.

    Source: Ba et al. 2016, "Layer Normalization", equation 4, over the last dimension; the
    variance is the biased one, and `eps` is added to it before the root.
    """

    def __init__(self, embed_dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(embed_dim))  # C
        self.bias = nn.Parameter(torch.zeros(embed_dim))  # C

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [..., C]; the shape stays."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
