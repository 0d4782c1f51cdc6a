"""The largest logits of each row, without sorting them all."""

from collections.abc import Callable

import torch
from torch import Tensor

from gpt_pipeline.inference.deferred_checks import DeferredChecks

TopK = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""As `Tensor.topk` of [B, V] and a number: values [B, number], falling, and ids; of equal any."""

_BLOCK = 64
"""Logits whose largest stands for them all at first."""
_MORE = 14
"""Beside twice top-k: with logits in bfloat16 many equal the k-th."""


def best(logits: Tensor, k: int, topk: TopK, doubts: DeferredChecks) -> tuple[Tensor, Tensor]:
    """The k largest of each row and all that equal the k-th, with others behind them.

    Returns:
        Ids, int64, and logits, [B, N] each, falling, N at least k or all.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1; got {k}")
    k, size = min(k, logits.shape[1]), logits.shape[1]
    number = min(2 * k + _MORE, size)
    values, ids = topk(logits, number)  # B N
    weakest = values[:, k - 1 : k]
    if number < size and doubts.ask((values[:, -1:] == weakest).any()):  # more may equal it
        number = int((logits >= weakest).sum(-1).max())
        values, ids = logits.topk(number)
    return ids, values


def topk_in_blocks(logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """`logits.topk(number)` [B, number], of equal values any.

    The topk are in the blocks whose own topk are: a look at all for those, and few to sort.
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
