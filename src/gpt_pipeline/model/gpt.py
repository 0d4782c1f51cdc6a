"""The model: a GPT-2 or a Qwen3 in every respect, as transformers' classes of these names compute.

Token ids go through the embedding, the transformer blocks and a last norm to the head, which is
the token embedding again; out come the logits of each next token.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.blocks.documents import DocumentMask, NoDocumentMask
from gpt_pipeline.model.blocks.embedding import Embedding, PositionEmbedding, Positions
from gpt_pipeline.model.blocks.mha import AttentionCache
from gpt_pipeline.model.blocks.rotary import NoRotaryEmbedding, RotaryEmbedding
from gpt_pipeline.model.blocks.transformer import NORMS, TransformerBlock

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

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of the token after each of `tokens` [B, T], int64.

        Raises:
            ValueError: if there is no token, or if there are more than max_length.
        """
        return self.head(self.hidden_states(tokens))

    def hidden_states(
        self,
        tokens: Tensor,
        positions: Positions | None = None,
        caches: Sequence[AttentionCache] | None = None,
    ) -> Tensor:
        """The final hidden states [B, T, C], which the head maps to logits.

        Args:
            tokens: [B, T] int64.
            positions: where the tokens are in their texts; None: at 0 to T - 1.
            caches: keys and values of earlier positions, one per layer, to which those of `tokens`
                are appended. Each row is then a single document, as in generation.

        Raises:
            ValueError: if there is no token, or if there are more than max_length.
        """
        num_tokens, max_length = tokens.shape[1], self.config.max_length
        if num_tokens == 0:
            raise ValueError("tokens must hold at least one position; got none")
        if num_tokens > max_length:
            raise ValueError(f"tokens must fit into max_length; got {num_tokens}, and {max_length}")
        at = slice(0, num_tokens) if positions is None else positions
        layers = [None] * len(self.blocks) if caches is None else caches
        rotation = self.rope(at, tokens.device)
        mask = self.document_mask(tokens) if caches is None else None
        x = self.embedding(tokens, at)  # B T -> B T C
        for block, cache in zip(self.blocks, layers, strict=True):
            x = block(x, rotation, cache, mask)
        normed: Tensor = self.final_norm(x)
        return normed

    def head(self, hidden_states: Tensor) -> Tensor:
        """Logits [..., V] from hidden_states [..., C], with the embedding's own matrix."""
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
