"""Causal multi-head attention: the half of a transformer block in which positions meet."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpt_pipeline.config import Architecture
from gpt_pipeline.model.blocks.causal_attention import causal_attention
from gpt_pipeline.model.blocks.dropout import Dropout
from gpt_pipeline.model.kv_cache import LayerCache


class MultiHeadAttention(nn.Module):
    """Each position gathers from itself and those before it, in `num_heads` ways at once.

    Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1 and section 3.2.2. The
    rows of `qkv.weight` are all queries, then all keys, then all values, head after head.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        embed_dim = architecture.embed_dim
        self.num_heads = architecture.num_heads
        self.head_dim = architecture.head_dim
        self.dropout_rate = architecture.mha_dropout_rate
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=architecture.qkv_bias)
        self.out = nn.Linear(embed_dim, embed_dim)
        self.dropout = Dropout(architecture.mha_dropout_rate)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Attend over x [B, T, C], and over what the cache holds before it, as [B, T, C].

        The keys and values of x are appended to the cache.
        """
        num_new = x.shape[1]
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))  # B T 3 H D
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # 3 B H T D -> three times B H T D
        num_past = 0
        if cache is not None:
            num_past = cache.length
            k, v = cache.append(k, v)  # B H past+T D
        mask, is_causal = _visibility(num_past, num_new, x.device)
        rate = self.dropout_rate if self.training else 0.0
        if is_causal:
            gathered = causal_attention(q, k, v, rate)  # B H T D
        else:
            gathered = functional.scaled_dot_product_attention(q, k, v, mask, rate)  # B H T D
        joined = gathered.transpose(1, 2).flatten(2)  # B T C
        result: Tensor = self.dropout(self.out(joined))
        return result


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
