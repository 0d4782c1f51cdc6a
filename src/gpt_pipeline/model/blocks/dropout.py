"""Dropout whose random numbers cost a CPU little."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16


def keep_mask(like: Tensor, rate: float) -> tuple[Tensor, float]:
    """Which numbers to keep, drawn from torch's global generator; for a CPU.

    A draw of 64 bits decides on four numbers: torch's own way draws once for each, which took a
    sixth of a step (docs/benchmarks.md). So the rate is one of 65,536, and at most 1/131,072 off.

    Returns:
        1 or 0 of the shape and type of `like`, and the share that is expected to be kept.
    """
    dropped = round(rate * _LEVELS)
    draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    levels = draws.view(torch.int16)[: like.numel()].view(like.shape)
    mask = torch.empty_like(like, requires_grad=False, memory_format=torch.contiguous_format)
    torch.ge(levels, dropped - _LEVELS // 2, out=mask)
    return mask, 1 - dropped / _LEVELS


class Dropout(nn.Module):
    """Set each number to 0 with probability `rate` in training, and scale the others to make up.

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting", section 4, with the scaling in training.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop from x [...]; the shape stays."""
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return functional.dropout(x, self.rate)
        mask, kept = keep_mask(x, self.rate)
        return x * mask.div_(kept)
