"""Rotary position embedding of queries and keys."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gpt_pipeline.model.blocks.embedding import Positions

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines of the angles of positions, as `RotaryEmbedding` gives them."""
Rotate = Callable[[Tensor, Any], Tensor]
"""`rotate` or `identity`."""


class RotaryEmbedding(nn.Module):
    """Rotary angles: coordinate pair i of D/2 rotates by position times theta^(-2i/D).

    Source: Su et al. 2021, "RoFormer", section 3.4.2; coordinates are paired as i and i + D/2,
    as Qwen3 and Llama have them. It holds no buffer: a model on the meta device stays whole.
    """

    def __init__(self, head_dim: int, theta: float, max_length: int) -> None:
        super().__init__()
        self.head_dim, self.theta, self.max_length = head_dim, theta, max_length

    def forward(self, positions: Positions, device: torch.device) -> Rotation:
        """Cosines and sines of positions: [1, T, D], or [B, 1, 1, D] where each row has its own."""
        pairs = torch.arange(0, self.head_dim, 2, device=device, dtype=torch.float32)
        speeds = self.theta ** (-pairs / self.head_dim)  # D/2
        at = torch.arange(self.max_length, device=device, dtype=torch.float32)[positions]
        angles = at[..., None] * speeds  # T D/2, or B 1 D/2
        angles = torch.cat((angles, angles), dim=-1).unsqueeze(-3)
        return angles.cos(), angles.sin()


class NoRotaryEmbedding(nn.Module):
    """Stand-in for `RotaryEmbedding` if positions are learned vectors."""

    def forward(self, positions: Positions, device: torch.device) -> None:
        """No rotation."""


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate x [B, H, T, D] by the angles of its positions."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def identity(x: Tensor, rotation: None) -> Tensor:
    """Stand-in for `rotate` if positions are learned vectors."""
    return x
