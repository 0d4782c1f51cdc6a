"""The model: a GPT-2 or a Qwen3 in every respect, as transformers' classes of these names compute.

Token ids go through the embedding, the transformer blocks and a last norm to the head, which is
the token embedding again; out come the logits of each next token.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.blocks.documents import DocumentMask, NoDocumentMask
from gpt_pipeline.model.blocks.embedding import Embedding, PositionEmbedding
from gpt_pipeline.model.blocks.rotary import NoRotaryEmbedding, RotaryEmbedding
from gpt_pipeline.model.blocks.transformer import NORMS, TransformerBlock

if TYPE_CHECKING:
    from gpt_pipeline.inference.kv_cache import KVCache
    from gpt_pipeline.inference.native import Decoder

INIT_STD = 0.02
RESIDUAL_PROJECTIONS = ("attention.out.weight", "feed_forward.down.weight")


class GPTModel(nn.Module):
    """A decoder-only transformer language model with tied embedding and head.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section
    2.3; with rotary positions, RMSNorm, SwiGLU and normalised queries and keys: Qwen Team 2025,
    "Qwen3 Technical Report", section 2. The state dict holds the tied matrix once, as
    `embedding.token.weight`.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        rotary = config.position == "rotary"
        self.embedding = (Embedding if rotary else PositionEmbedding)(config)
        self.rope = (
            RotaryEmbedding(config.head_dim, config.rope_theta, config.max_length)
            if rotary
            else NoRotaryEmbedding()
        )
        end = config.eot_id if config.attention == "document" else None
        self.document_mask = NoDocumentMask() if end is None else DocumentMask(end)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.num_layers))
        self.final_norm = NORMS[config.norm](config.embed_dim, config.layer_norm_eps)
        self.decoder: Decoder | None = None
        """What computes passes with a cache, where it was compiled (`for_inference`)."""
        self.use_cuda_graphs = False
        """Whether steps of generation are recorded and replayed (`CudaGraphs`)."""
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's global random state.

        GPT-2's way (section 2.3 of its paper, and its published code): matrices normal with
        INIT_STD; those that end on the residual stream smaller, so that its variance does not
        grow with the number of layers; biases 0, norms 1.
        """
        residual_std = INIT_STD / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith(RESIDUAL_PROJECTIONS):
                parameter.normal_(std=residual_std)
            elif name.endswith("norm.weight"):
                parameter.fill_(1.0)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(std=INIT_STD)

    def forward(
        self, tokens: Tensor, cache: "KVCache | None" = None, *, last_only: bool = False
    ) -> Tensor:
        """The logits of the token after each of `tokens`.

        Args:
            tokens: [B, T] int64.
            cache: what was read before these tokens, in each row; they are appended to it. With
                one, all are of one document, as in generation.
            last_only: compute the head on the last position alone, all that generation needs.

        Returns:
            Logits [B, T, V], or [B, 1, V] with last_only.

        Raises:
            ValueError: if there is no token, if there are more than max_length with those in the
                cache, or if the cache was made for another batch size.
        """
        return self.head(self.hidden_states(tokens, cache, last_only=last_only))

    def hidden_states(
        self, tokens: Tensor, cache: "KVCache | None" = None, *, last_only: bool = False
    ) -> Tensor:
        """What the head reads, [B, T, C] or [B, 1, C]; arguments and errors as of `forward`."""
        self._check(tokens, cache)
        if self.decoder is not None and cache is not None:
            found = self.decoder.hidden_states(tokens, cache)
            return found[:, -1:] if last_only else found
        num_tokens = tokens.shape[1]
        positions = slice(0, num_tokens) if cache is None else cache.advance(num_tokens)
        layers = [None] * len(self.blocks) if cache is None else cache.layers
        rotation = self.rope(positions, tokens.device)
        mask = self.document_mask(tokens) if cache is None else None
        x = self.embedding(tokens, positions)  # B T -> B T C
        for block, layer in zip(self.blocks, layers, strict=True):
            x = block(x, rotation, layer, mask)
        if last_only:
            x = x[:, -1:]  # B 1 C
        normed: Tensor = self.final_norm(x)
        return normed

    def head(self, hidden_states: Tensor) -> Tensor:
        """Logits [..., V] from hidden_states [..., C], with the embedding's own matrix."""
        if self.decoder is not None:
            return self.decoder.head(hidden_states)
        logits: Tensor = self.embedding.token.project(hidden_states)
        return logits

    @property
    def lm_head_weight(self) -> nn.Parameter:
        """What the head multiplies hidden_states with, [V, C]."""
        matrix: nn.Parameter = self.embedding.token.weight  # type: ignore[assignment]
        return matrix

    def num_parameters(self) -> int:
        """Trainable numbers in the model, the tied matrix counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.token.weight.device

    def _check(self, tokens: Tensor, cache: "KVCache | None") -> None:
        batch_size, num_tokens = tokens.shape
        start = 0 if cache is None else cache.longest
        max_length = self.config.max_length
        if num_tokens == 0:
            raise ValueError("tokens must hold at least one position; got none")
        if start + num_tokens > max_length:
            held = f" after {start} in the cache" if cache is not None else ""
            raise ValueError(
                f"tokens must fit into max_length; got {num_tokens}{held}, and {max_length}"
            )
        if cache is not None and batch_size != cache.batch_size:
            raise ValueError(
                f"tokens and cache must have one batch size; got {batch_size} "
                f"and {cache.batch_size}"
            )
