"""One layer of the model: attention, then feed-forward, each added to what came in."""

from torch import Tensor, nn

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.blocks.feed_forward import FeedForward, SwiGLU
from gpt_pipeline.model.blocks.layer_norm import LayerNorm
from gpt_pipeline.model.blocks.mha import AttentionCache, MultiHeadAttention
from gpt_pipeline.model.blocks.rms_norm import RMSNorm
from gpt_pipeline.model.blocks.rotary import Rotation

NORMS = {"layer_norm": LayerNorm, "rms_norm": RMSNorm}
FEED_FORWARDS = {"gelu": FeedForward, "swiglu": SwiGLU}


class TransformerBlock(nn.Module):
    """Attention and feed-forward on a residual stream, normalised before each.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section
    2.3: layer normalisation at the input of each half.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        width, eps = config.embed_dim, config.layer_norm_eps
        self.attention_norm = NORMS[config.norm](width, eps)
        self.attention = MultiHeadAttention(config)
        self.feed_forward_norm = NORMS[config.norm](width, eps)
        self.feed_forward = FEED_FORWARDS[config.feed_forward](config)

    def forward(
        self,
        x: Tensor,
        rotation: Rotation | None = None,
        cache: AttentionCache | None = None,
        mask: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> Tensor:
        """Map x [B, T, C] to [B, T, C]; the keys and values of x are appended to the cache.

        `rotation` is that of the positions of x, or None where these are in x; `mask` as in
        `MultiHeadAttention.forward`, `keys` as in `Dropout.forward`.
        """
        x = x + self.attention(self.attention_norm(x), rotation, cache, mask, keys)
        result: Tensor = x + self.feed_forward(self.feed_forward_norm(x), keys)
        return result
