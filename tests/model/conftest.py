from collections.abc import Callable
from typing import Any

import pytest
import torch

from gpt_pipeline.cli.compose import compose
from gpt_pipeline.config import Architecture
from gpt_pipeline.model import GPTModel


@pytest.fixture
def architecture() -> Architecture:
    """Sizes pairwise different: V=37, C=24, ff=60, T<=11, H=3, D=8, two layers."""
    sizes = """
    model.vocab_size=37 model.embed_dim=24 model.ff_hidden_dim=60 model.max_length=11
    model.num_heads=3 model.num_layers=2 model.qkv_bias=true
    """
    return compose(["model=tiny", *sizes.split()]).config.architecture()


@pytest.fixture
def large_weights() -> Callable[[Architecture, float], GPTModel]:
    """Makes a model with random weights everywhere: every term of the computation is seen."""

    def make(architecture: Architecture, alpha: float) -> GPTModel:
        torch.manual_seed(3)
        model = GPTModel(architecture)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=alpha)
        return model.eval()

    return make


@pytest.fixture
def model(architecture: Architecture, large_weights: Any) -> GPTModel:
    """Of the small sizes."""
    made: GPTModel = large_weights(architecture, 0.2)
    return made
