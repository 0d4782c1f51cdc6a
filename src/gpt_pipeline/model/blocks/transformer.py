"""One layer of the model: attention, then feed-forward, each added to what came in."""

from torch import Tensor, nn

from gpt_pipeline.config import Architecture
from gpt_pipeline.model.blocks.feed_forward import FeedForward
from gpt_pipeline.model.blocks.layer_norm import LayerNorm
from gpt_pipeline.model.blocks.mha import MultiHeadAttention
from gpt_pipeline.model.kv_cache import LayerCache


class TransformerBlock(nn.Module):
    """Attention and feed-forward on a residual stream, normalised before each.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section
    2.3: layer normalisation at the input of each half.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(architecture.embed_dim, architecture.layer_norm_eps)
        self.attention = MultiHeadAttention(architecture)
        self.feed_forward_norm = LayerNorm(architecture.embed_dim, architecture.layer_norm_eps)
        self.feed_forward = FeedForward(architecture)

    def forward(self, x: Tensor, cache: LayerCache | None = None) -> Tensor:
        """Map x [B, T, C] to [B, T, C]; the keys and values of x are appended to the cache."""
        x = x + self.attention(self.attention_norm(x), cache)
        result: Tensor = x + self.feed_forward(self.feed_forward_norm(x))
        return result
