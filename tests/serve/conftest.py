"""A model of a few thousand random weights, with a token for each byte, and servers of it."""

import pytest
import torch
from fake_engine import FakeEngine

from gpt_pipeline.cli.compose import compose
from gpt_pipeline.config import Sampling
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import byte_tokenizer

SIZES = """
model=tiny tokenizer=bytes model.vocab_size=257 model.embed_dim=24 model.ff_hidden_dim=48
model.num_heads=2 model.num_layers=1 model.max_length=32
""".split()


@pytest.fixture(scope="session")
def served():
    """Context 32, vocabulary 257."""
    from gpt_pipeline.serve import Served  # test_page.py needs neither FastAPI nor this

    torch.manual_seed(3)
    model = GPTModel(compose(SIZES).config.architecture())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.5)
    sampling = Sampling(temperature=0.8, top_k=50, top_p=0.95, max_new_tokens=250)
    return Served("tiny", model.eval(), byte_tokenizer(), "Once", sampling, 1_700_000_000)


@pytest.fixture(scope="module")
def server(served):
    """A server whose model says the alphabet."""
    from serving import running

    with running(served, FakeEngine()) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def real(served):
    """A server with the model of random weights."""
    from serving import running

    with running(served, slots=4) as running_server:
        yield running_server
