"""Token ids to vectors: the first thing that the model does."""

from torch import Tensor, nn
from torch.nn import functional

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.blocks.dropout import Dropout

Positions = slice | Tensor
"""Positions of the tokens of a forward pass: equal in all rows, or int64 [B, 1], one per row."""


class TokenEmbedding(nn.Embedding):
    """A learned vector for each token. The matrix is also the model's head."""

    def project(self, hidden_states: Tensor) -> Tensor:
        """Logits [..., V] from hidden_states [..., C]."""
        return functional.linear(hidden_states, self.weight)


class Embedding(nn.Module):
    """The vector of each token, with dropout."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.token = TokenEmbedding(config.vocab_size, config.embed_dim)
        self.dropout = Dropout(config.emb_dropout_rate)

    def forward(self, tokens: Tensor, positions: Positions, keys: Tensor | None = None) -> Tensor:
        """Embed tokens [B, T] at these positions as [B, T, C]; `keys` as in `Dropout.forward`."""
        embedded: Tensor = self.dropout(self.token(tokens), keys)
        return embedded


class PositionEmbedding(Embedding):
    """The sum of the vector of each token and a learned one for each position, with dropout.

    Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
    equation 2.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.position = nn.Embedding(config.max_length, config.embed_dim)

    def forward(self, tokens: Tensor, positions: Positions, keys: Tensor | None = None) -> Tensor:
        """Embed tokens [B, T] at these positions as [B, T, C]; `keys` as in `Dropout.forward`."""
        x = self.token(tokens) + self.position.weight[positions]  # B T C + T C, or B 1 C
        embedded: Tensor = self.dropout(x, keys)
        return embedded
