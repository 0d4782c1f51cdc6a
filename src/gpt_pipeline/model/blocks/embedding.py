"""Token ids to vectors: the first thing that the model does."""

from torch import Tensor, nn
from torch.nn import functional

from gpt_pipeline.config import Architecture
from gpt_pipeline.model.blocks.dropout import Dropout
from gpt_pipeline.model.kv_cache import Places


class TokenEmbedding(nn.Embedding):
    """A learned vector for each token. The matrix is also the model's head."""

    def project(self, features: Tensor) -> Tensor:
        """Logits [..., V] from features [..., C]."""
        return functional.linear(features, self.weight)


class Embedding(nn.Module):
    """The vector of each token, with dropout."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.token = TokenEmbedding(architecture.vocab_size, architecture.embed_dim)
        self.dropout = Dropout(architecture.emb_dropout_rate)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """Embed tokens [B, T], which stand at these places, as [B, T, C]."""
        embedded: Tensor = self.dropout(self.token(tokens))
        return embedded


class PositionEmbedding(Embedding):
    """The sum of the vector of each token and a learned one for each position, with dropout.

    Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
    equation 2.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.position = nn.Embedding(architecture.max_length, architecture.embed_dim)

    def forward(self, tokens: Tensor, places: Places) -> Tensor:
        """Embed tokens [B, T], which stand at these places, as [B, T, C]."""
        x = self.token(tokens) + self.position.weight[places]  # B T C + T C, or B 1 C
        embedded: Tensor = self.dropout(x)
        return embedded
