"""Root-mean-square normalisation: newer models use it instead of LayerNorm."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.Module):
    """Scale each position to a root mean square of 1, then by a learned weight.

    Source: Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4, over the
    last dimension; `eps` is added to the mean square before the root.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [..., width]; the shape stays."""
        x = x.to(self.weight.dtype)  # torch's fused kernel wants one type
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
