from typing import Any

import pytest

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model import GPTModel


@pytest.fixture
def model(gpt_config: GPTConfig, large_weights: Any) -> GPTModel:
    """Of the small sizes."""
    made: GPTModel = large_weights(gpt_config, 0.2)
    return made
