"""The feed-forward half of a transformer block, which treats each position alone."""

from torch import Tensor, nn
from torch.nn import functional

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.blocks.dropout import Dropout


class FeedForward(nn.Module):
    """Two linear layers with GELU between them, and dropout on the result.

    Source: Vaswani et al. 2017, "Attention Is All You Need", equation 2, with the tanh
    approximation of GELU (Hendrycks and Gimpel 2016, section 2), as GPT-2 has it.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, hidden_dim = config.embed_dim, config.ff_hidden_dim
        self.up = nn.Linear(width, hidden_dim, bias=config.bias)
        self.gelu = nn.GELU(approximate="tanh")
        self.down = nn.Linear(hidden_dim, width, bias=config.bias)
        self.dropout = Dropout(config.ffn_dropout_rate)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """Map x [B, T, C] to [B, T, C]; `keys` as in `Dropout.forward`."""
        hidden = self.gelu(self.up(x))
        result: Tensor = self.dropout(self.down(hidden), keys)
        return result


class SwiGLU(nn.Module):
    """A gated linear unit with SiLU, a linear layer after it, and dropout on the result.

    Source: Shazeer 2020, "GLU Variants Improve Transformer", equation 6 (FFN_SwiGLU).
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, hidden_dim = config.embed_dim, config.ff_hidden_dim
        self.gate = nn.Linear(width, hidden_dim, bias=config.bias)
        self.up = nn.Linear(width, hidden_dim, bias=config.bias)
        self.down = nn.Linear(hidden_dim, width, bias=config.bias)
        self.dropout = Dropout(config.ffn_dropout_rate)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """Map x [B, T, C] to [B, T, C]; `keys` as in `Dropout.forward`."""
        hidden = functional.silu(self.gate(x)) * self.up(x)
        result: Tensor = self.dropout(self.down(hidden), keys)
        return result
