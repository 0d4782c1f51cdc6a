import pytest
import torch

from gpt_pipeline.config.compose import compose
from gpt_pipeline.model import GPTModel

SIZES = """
model.vocab_size=67 model.embed_dim=24 model.ff_hidden_dim=60 model.max_length=10
model.num_heads=3 model.num_layers=2 model.ffn_dropout_rate=0.3 model.mha_dropout_rate=0.3
model.emb_dropout_rate=0.3
""".split()


@pytest.fixture(scope="session")
def model() -> GPTModel:
    """V=67, context 10; weights so large that neighbouring logits are well separated.

    The seed is one with which long samples are common: none ends early by end-of-text.
    """
    torch.manual_seed(10)
    model = GPTModel(compose(["model=tiny", *SIZES]).config.gpt_config())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                std = 0.5 if "embedding" in name else 1.5
                parameter.normal_(std=std)
    return model.eval()
