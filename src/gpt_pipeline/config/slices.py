"""Slices of the config for the model, the training step and the sampler: plain frozen values."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GPTConfig:
    """The architecture of a GPTModel."""

    vocab_size: int
    embed_dim: int
    ff_hidden_dim: int
    max_length: int
    num_heads: int
    num_layers: int
    ffn_dropout_rate: float
    mha_dropout_rate: float
    emb_dropout_rate: float
    layer_norm_eps: float
    qkv_bias: bool
    position: Literal["learned", "rotary"]
    rope_theta: float
    norm: Literal["layer_norm", "rms_norm"]
    feed_forward: Literal["gelu", "swiglu"]
    qk_norm: bool
    num_kv_heads: int
    bias: bool
    attention: Literal["causal", "document"]
    eot_id: int | None

    @property
    def head_dim(self) -> int:
        """Dimension of one attention head."""
        return self.embed_dim // self.num_heads


@dataclass(frozen=True)
class BatchSplit:
    """How the windows of an optimizer step are split into micro-batches."""

    micro_batch_size: int
    grad_accumulation: int

    @property
    def windows_per_step(self) -> int:
        """Windows per optimizer step."""
        return self.micro_batch_size * self.grad_accumulation


@dataclass(frozen=True)
class Sampling:
    """How the next token is sampled from the logits, and what ends a sample.

    `logit_bias` has pairs of token id and bias; `stop` is for those who make text of the tokens,
    `add_bos_token` for those who make tokens of a text (`document_ids`); `logprobs` is the
    number of alternatives to report; None reports no log-probabilities.
    """

    temperature: float
    top_k: int | None
    top_p: float
    max_new_tokens: int
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    add_bos_token: bool = True

    @property
    def penalizes_drawn(self) -> bool:
        """Whether generated tokens change the probability of their repetition."""
        return self.presence_penalty != 0 or self.frequency_penalty != 0
