"""Rotary positions: queries and keys turn by an angle that grows with their position."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines [T, D] of the angles of T positions."""
Rotate = Callable[[Tensor, Any], Tensor]
"""`rotate` or `leave`."""


class RotaryAngles(nn.Module):
    """The angles of positions: coordinate pair i of D/2 turns by theta^(-2i/D) a position.

    Source: Su et al. 2021, "RoFormer", section 3.4.2; coordinates are paired as i and i + D/2,
    as Qwen3 and Llama have them. It holds no buffer: a model on the meta device stays whole.
    """

    def __init__(self, head_dim: int, theta: float) -> None:
        super().__init__()
        self.head_dim, self.theta = head_dim, theta

    def forward(self, start: int, num_tokens: int, device: torch.device) -> Rotation:
        """Cosines and sines [T, D] of positions [start, start + T)."""
        pairs = torch.arange(0, self.head_dim, 2, device=device, dtype=torch.float32)
        speeds = self.theta ** (-pairs / self.head_dim)  # D/2
        places = torch.arange(start, start + num_tokens, device=device, dtype=torch.float32)
        angles = torch.outer(places, speeds).repeat(1, 2)  # T D
        return angles.cos(), angles.sin()


class NoAngles(nn.Module):
    """In the place of `RotaryAngles` where positions are learned vectors instead."""

    def forward(self, start: int, num_tokens: int, device: torch.device) -> None:
        """No rotation."""


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn x [B, H, T, D] by the angles of its positions."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def leave(x: Tensor, rotation: None) -> Tensor:
    """In the place of `rotate` where positions are learned vectors instead."""
    return x
