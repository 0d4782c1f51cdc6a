"""The largest logits of each row, without sorting all of them."""

from collections.abc import Callable

import torch
from torch import Tensor

from gpt_pipeline.inference.deferred_checks import DeferredChecks

TopK = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""`Tensor.topk` of [B, V] and a number: values [B, number], descending, and ids, in any order among
equal values.
"""

_BLOCK = 64
"""Logits per block."""
_MARGIN = 14
"""Candidates beyond twice top-k: in bfloat16 many logits equal the k-th."""


def best(logits: Tensor, k: int, topk: TopK, checks: DeferredChecks) -> tuple[Tensor, Tensor]:
    """The k largest logits of each row, all that equal the k-th, and some smaller ones.

    Returns:
        Ids, int64, and logits, [B, N] each, descending; N is at least k, or all.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1; got {k}")
    k, size = min(k, logits.shape[1]), logits.shape[1]
    number = min(2 * k + _MARGIN, size)
    values, ids = topk(logits, number)  # B N
    smallest = values[:, k - 1 : k]
    if number < size and checks.holds((values[:, -1:] == smallest).any()):  # more may equal it
        number = int((logits >= smallest).sum(-1).max())
        values, ids = logits.topk(number)
    return ids, values


def topk_in_blocks(logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """`logits.topk(number)` [B, number], in any order among equal values.

    The largest logits are in the blocks with the largest maxima: one pass over all logits finds
    those, and few logits are left to sort.
    """
    rows, size = logits.shape
    blocks = size // _BLOCK
    if logits.device.type != "cpu" or blocks < 2 * number:
        return logits.topk(number)
    whole = logits[:, : blocks * _BLOCK].view(rows, blocks, _BLOCK)
    best = whole.amax(-1).topk(number, sorted=False).indices  # B number
    ids = (best[:, :, None] * _BLOCK + torch.arange(_BLOCK)).flatten(1)
    ids = torch.cat((ids, torch.arange(blocks * _BLOCK, size).expand(rows, -1)), 1)
    values, columns = logits.gather(1, ids).topk(number)
    return values, ids.gather(1, columns)
