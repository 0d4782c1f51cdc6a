import pytest
import torch

from gpt_pipeline.config import Architecture
from gpt_pipeline.model import GPTModel


@pytest.fixture(scope="session")
def model() -> GPTModel:
    """V=67, context 10; weights so large that neighbouring logits are well separated.

    The seed is one with which long samples are common: none ends early by end-of-text.
    """
    torch.manual_seed(10)
    model = GPTModel(
        Architecture(
            vocab_size=67,
            embed_dim=24,
            ff_hidden_dim=60,
            max_length=10,
            num_heads=3,
            num_layers=2,
            ffn_dropout_rate=0.3,
            mha_dropout_rate=0.3,
            emb_dropout_rate=0.3,
            layer_norm_eps=1e-5,
            qkv_bias=False,
            position="learned",
            rope_theta=10000.0,
            norm="layer_norm",
            feed_forward="gelu",
            qk_norm=False,
            num_kv_heads=3,
            bias=True,
        )
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                std = 0.5 if "embedding" in name else 1.5
                parameter.normal_(std=std)
    return model.eval()
