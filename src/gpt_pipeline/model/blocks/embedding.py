"""Token ids to vectors: the first thing that the model does."""

from torch import Tensor, nn

from gpt_pipeline.config import Architecture
from gpt_pipeline.model.blocks.dropout import Dropout


class Embedding(nn.Module):
    """A learned vector for each token, with dropout. The token matrix is also the model's head."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.token = nn.Embedding(architecture.vocab_size, architecture.embed_dim)
        self.dropout = Dropout(architecture.emb_dropout_rate)

    def forward(self, tokens: Tensor, start: int) -> Tensor:
        """Embed tokens [B, T], the first of them at position `start`, as [B, T, C]."""
        embedded: Tensor = self.dropout(self.token(tokens))
        return embedded


class PositionEmbedding(Embedding):
    """The sum of a learned vector for each token and one for each position, with dropout.

    Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
    equation 2.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.position = nn.Embedding(architecture.max_length, architecture.embed_dim)

    def forward(self, tokens: Tensor, start: int) -> Tensor:
        """Embed tokens [B, T], the first of them at position `start`, as [B, T, C]."""
        end = start + tokens.shape[1]
        x = self.token(tokens) + self.position.weight[start:end]  # B T C + T C -> B T C
        embedded: Tensor = self.dropout(x)
        return embedded
