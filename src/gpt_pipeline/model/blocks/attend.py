"""Causal attention over queries, keys and values: torch's kernel, or written out where it is slow.

torch's kernel for bfloat16 on a CPU takes twice the time of four matrix products at the lengths of
small models, and more with dropout (docs/benchmarks.md).
"""

import torch
from torch import Tensor
from torch.nn import functional

_ROWS = 256
"""Queries that are written out at once: each such block reads the keys up to its end alone."""


def attend(q: Tensor, k: Tensor, v: Tensor, *, dropout_rate: float) -> Tensor:
    """What each query gathers from the values of the positions that it sees.

    Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1. The queries are those of
    the last positions: each sees the keys up to its own place.

    Args:
        q: [B, H, T, D].
        k: [B, H, past+T, D].
        v: [B, H, past+T, D].
        dropout_rate: share of the attention weights that are dropped.

    Returns:
        [B, H, T, D].
    """
    num_new, num_past = q.shape[2], k.shape[2] - q.shape[2]
    if num_past == 0 and num_new > 1 and q.device.type == "cpu" and q.dtype == torch.bfloat16:
        return _written_out(q, k, v, dropout_rate)
    mask, is_causal = _visibility(num_past, num_new, q.device)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout_rate, is_causal=is_causal
    )


def _written_out(q: Tensor, k: Tensor, v: Tensor, dropout_rate: float) -> Tensor:
    shape = q.shape
    q, k, v = (x.reshape(-1, *x.shape[2:]) for x in (q, k, v))  # B*H T D
    blocks = []
    for first in range(0, shape[2], _ROWS):
        rows = q[:, first : first + _ROWS]  # B*H N D
        end = first + rows.shape[1]
        hidden = torch.full((rows.shape[1], end), -torch.inf, dtype=q.dtype).triu(first + 1)  # N E
        scores = torch.baddbmm(
            hidden.expand(q.shape[0], -1, -1),
            rows,
            k[:, :end].transpose(1, 2),
            alpha=shape[3] ** -0.5,
        )  # B*H N E
        weights = functional.dropout(scores.softmax(-1), dropout_rate)
        blocks.append(weights.to(v.dtype) @ v[:, :end])  # B*H N D
    return torch.cat(blocks, dim=1).view(shape)


def _visibility(num_past: int, num_new: int, device: torch.device) -> tuple[Tensor | None, bool]:
    """What each new position sees, all of the past and the new ones up to itself, in SDPA's terms.

    Returns:
        A mask [T, past+T], true where attention is allowed, or None where none is needed, and
        is_causal, which counts from the first key: right only where nothing is before the chunk.
    """
    if num_past == 0:
        return None, True
    if num_new == 1:  # sees everything
        return None, False
    allowed = torch.ones(num_new, num_past + num_new, dtype=torch.bool, device=device)
    return allowed.tril(diagonal=num_past), False  # T past+T
