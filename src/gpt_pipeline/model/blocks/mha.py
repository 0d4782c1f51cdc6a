"""Causal multi-head self-attention."""

from typing import Protocol

from torch import Tensor, nn

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.blocks.causal_attention import causal_attention
from gpt_pipeline.model.blocks.dropout import Dropout
from gpt_pipeline.model.blocks.rms_norm import RMSNorm
from gpt_pipeline.model.blocks.rotary import Rotate, Rotation, identity, rotate


class AttentionCache(Protocol):
    """Keys and values of earlier positions, which inference keeps for one layer."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Append k and v [B, G, T, D], and attend with q [B, H, T, D] to all of them."""


class MultiHeadAttention(nn.Module):
    """Causal attention with `num_heads` heads.

    Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1 and section 3.2.2; several
    heads may share their keys and values (Ainslie et al. 2023, "GQA"), and queries and keys may
    be normalised (Henry et al. 2020, "Query-Key Normalization", with RMSNorm as Qwen3 has it). The
    rows of `qkv.weight` are all queries, then all keys, then all values, head after head.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        embed_dim = config.embed_dim
        self.num_heads, self.num_kv_heads = config.num_heads, config.num_kv_heads
        self.head_dim = config.head_dim
        rows = (self.num_heads + 2 * self.num_kv_heads) * self.head_dim
        self.qkv = nn.Linear(embed_dim, rows, bias=config.qkv_bias)
        self.q_norm = _norm(config)
        self.k_norm = _norm(config)
        self.rotate: Rotate = rotate if config.position == "rotary" else identity
        self.probability_dropout = Dropout(config.mha_dropout_rate)
        self.out = nn.Linear(embed_dim, embed_dim, bias=config.bias)
        self.dropout = Dropout(config.mha_dropout_rate)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: AttentionCache | None = None,
        mask: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> Tensor:
        """Attend over x [B, T, C], and over what the cache holds before it, as [B, T, C].

        The keys and values of x are appended to the cache. `mask` [B, T, T] bool says which
        positions of x attend to which, without a cache; None: each to itself and those before it.
        `keys` as in `Dropout.forward`.
        """
        heads = self.qkv(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # B H+2G T D
        q, k, v = heads.split((self.num_heads, self.num_kv_heads, self.num_kv_heads), dim=1)
        q = self.rotate(self.q_norm(q), rotation).to(v.dtype)  # B H T D
        k = self.rotate(self.k_norm(k), rotation).to(v.dtype)  # B G T D
        if cache is not None:
            gathered = cache.attend(q, k, v)  # B H T D
        else:
            dropout = self.probability_dropout
            rate = dropout.rate if self.training else 0.0
            gathered = causal_attention(q, k, v, rate, mask, dropout.of_site(keys))  # B H T D
        joined = gathered.transpose(1, 2).flatten(2)  # B T C
        result: Tensor = self.dropout(self.out(joined), keys)
        return result


def _norm(config: GPTConfig) -> nn.Module:
    """The normalization of queries and keys [..., D]."""
    if not config.qk_norm:
        return nn.Identity()
    return RMSNorm(config.head_dim, config.layer_norm_eps)
