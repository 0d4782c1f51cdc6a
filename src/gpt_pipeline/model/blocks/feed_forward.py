"""The feed-forward half of a transformer block: each position for itself."""

from torch import Tensor, nn

from gpt_pipeline.config import Architecture
from gpt_pipeline.model.blocks.dropout import Dropout


class FeedForward(nn.Module):
    """Widen, GELU, narrow, with dropout on the result.

    Source: Vaswani et al. 2017, "Attention Is All You Need", equation 2, with the tanh
    approximation of GELU (Hendrycks and Gimpel 2016, section 2), as GPT-2 has it.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.up = nn.Linear(architecture.embed_dim, architecture.ff_hidden_dim)
        self.gelu = nn.GELU(approximate="tanh")
        self.down = nn.Linear(architecture.ff_hidden_dim, architecture.embed_dim)
        self.dropout = Dropout(architecture.ffn_dropout_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [B, T, C] to [B, T, C], by way of [B, T, ff_hidden_dim]."""
        hidden = self.gelu(self.up(x))
        result: Tensor = self.dropout(self.down(hidden))
        return result
