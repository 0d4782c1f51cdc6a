"""Causal attention over queries, keys and values, by the fastest way that the device has."""

import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from gpt_pipeline.model.blocks.dropout import keep_mask

_LONGEST_IN_FULL = 1024
"""Tokens up to which all scores at once are faster on a CPU than torch's fused kernel."""


def causal_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_rate: float = 0.0,
    mask: Tensor | None = None,
    key: Tensor | None = None,
) -> Tensor:
    """Attention of each position to itself and those before it.

    Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1.

    Args:
        q: queries [B, H, T, D].
        k: keys [B, G, T, D], G a divisor of H: H/G consecutive heads share one.
        v: values [B, G, T, D].
        dropout_rate: of the attention probabilities.
        mask: bool [B, T, T], true where a position attends to another: some of those up to
            itself; None: all of them.
        key: int64 [B], from which the dropout follows (`keep_mask`); None: the global generator
            draws. Fused attention takes no keys, so that dropout with them needs memory for all
            probabilities [B, H, T, T].

    Returns:
        [B, H, T, D].
    """
    if _better_in_full(q, dropout_rate) and not torch.compiler.is_compiling():
        gathered: Tensor = _InFull.apply(q, k, v, dropout_rate, mask, key)
        return gathered
    if dropout_rate > 0 and key is not None:
        return _with_keys(q, k, v, dropout_rate, mask, key)
    mask = None if mask is None else mask[:, None]  # B 1 T T
    return functional.scaled_dot_product_attention(
        q, k, v, mask, dropout_rate, is_causal=mask is None, enable_gqa=k.shape[1] != q.shape[1]
    )


def _with_keys(
    q: Tensor, k: Tensor, v: Tensor, dropout_rate: float, mask: Tensor | None, key: Tensor
) -> Tensor:
    """`causal_attention` in plain operations, where dropout follows from keys."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)  # B H T D
    length = q.shape[2]
    seen = torch.ones(length, length, dtype=torch.bool, device=q.device).tril()
    seen = seen if mask is None else mask[:, None]
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~seen, -math.inf)  # B H T T
    p = torch.softmax(scores, -1)
    kept, share = keep_mask(p, dropout_rate, key)
    gathered: Tensor = (p * kept / share).to(v.dtype) @ v
    return gathered


def _better_in_full(q: Tensor, dropout_rate: float) -> bool:
    """Whether `_InFull` was measured to be faster: for training on a CPU (docs/experiments.md)."""
    trained = q.device.type == "cpu" and q.requires_grad and q.shape[2] <= _LONGEST_IN_FULL
    return trained and (q.dtype == torch.bfloat16 or dropout_rate > 0)


class _InFull(torch.autograd.Function):
    """Attention by its equation, with all scores [B, H, T, T] in memory.

    torch's kernel for the CPU computes the scores again in backward, which takes it three times as
    long as this; with dropout it computes in float32 (docs/experiments.md).
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        dropout_rate: float,
        mask: Tensor | None,
        key: Tensor | None,
    ) -> Tensor:
        queries, keys, values = _folded(q, k), k.flatten(0, 1), v.flatten(0, 1)
        scale = 1 / math.sqrt(q.shape[-1])
        with torch.autocast("cpu", enabled=False):
            bias = _bias(q, k, mask)
            scores = torch.baddbmm(bias, queries, keys.mT, alpha=scale)  # BG H/G*T T
            p = torch.softmax(scores, -1)
            del scores
            kept, share = p, 1.0
            if dropout_rate > 0:
                kept, share = keep_mask(p, dropout_rate, key)
                kept.mul_(p)
            gathered = torch.bmm(kept, values)  # BG H/G*T D
            if share != 1:
                gathered.div_(share)
        ctx.save_for_backward(queries, keys, values, p, kept, gathered)
        ctx.scale, ctx.share, ctx.shape = scale, share, q.shape
        return gathered.view(q.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, p, kept, gathered = ctx.saved_tensors
        batch, _, length, width = ctx.shape
        gradient = gradient.reshape(queries.shape)
        # the softmax's backward needs the sum over keys of p's gradient times p: it is this one
        inner = (gradient * gathered).sum(-1, keepdim=True)  # BG H/G*T 1
        if ctx.share != 1:
            gradient = gradient / ctx.share
        dv = torch.bmm(kept.mT, gradient)
        ds = torch.bmm(gradient, values.mT).mul_(kept)  # of p, where it was kept, times p
        ds.addcmul_(p, inner, value=-1)
        dq = torch.bmm(ds, keys).mul_(ctx.scale)
        dk = torch.bmm(ds.mT, queries).mul_(ctx.scale)
        grouped = (batch, -1, length, width)
        return dq.view(ctx.shape), dk.view(grouped), dv.view(grouped), None, None, None


def _folded(q: Tensor, k: Tensor) -> Tensor:
    """Queries [B, H, T, D] as [B*G, H/G*T, D]: those that read one key head, one after another."""
    return q.reshape(k.shape[0] * k.shape[1], -1, q.shape[-1])


def _bias(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """0 where a query may look, minus infinity where not: [H/G*T, T], or [B*G, H/G*T, T]."""
    heads, groups, length = q.shape[1], k.shape[1], q.shape[2]
    if mask is None:
        return _causal_bias(length, heads // groups, q.dtype)
    one = torch.zeros(mask.shape, dtype=q.dtype).masked_fill_(~mask, -math.inf)  # B T T
    return one[:, None].expand(-1, heads, -1, -1).reshape(q.shape[0] * groups, -1, length)


@functools.lru_cache(maxsize=4)
def _causal_bias(length: int, group: int, dtype: torch.dtype) -> Tensor:
    """0 where a query [group*T] may look at a key [T], minus infinity where it may not."""
    one = torch.full((length, length), -math.inf).triu(1).to(dtype)
    return one.repeat(group, 1)
