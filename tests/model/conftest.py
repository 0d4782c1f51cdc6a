import pytest
import torch

from gpt_pipeline.config import Architecture
from gpt_pipeline.model import GPTModel


@pytest.fixture
def architecture() -> Architecture:
    """Sizes pairwise different: V=37, C=24, ff=60, T<=11, H=3, D=8, two layers."""
    return Architecture(
        vocab_size=37,
        embed_dim=24,
        ff_hidden_dim=60,
        max_length=11,
        num_heads=3,
        num_layers=2,
        ffn_dropout_rate=0.0,
        mha_dropout_rate=0.0,
        emb_dropout_rate=0.0,
        layer_norm_eps=1e-5,
        qkv_bias=True,
        position="learned",
        rope_theta=10000.0,
        norm="layer_norm",
        feed_forward="gelu",
        qk_norm=False,
        num_kv_heads=3,
        bias=True,
    )


@pytest.fixture
def model(architecture: Architecture) -> GPTModel:
    """Large random weights everywhere, so that every term of the computation is seen."""
    torch.manual_seed(3)
    model = GPTModel(architecture)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()
