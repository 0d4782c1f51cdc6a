import shutil
from typing import Any

import pytest

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model import GPTModel


@pytest.fixture
def model(gpt_config: GPTConfig, large_weights: Any) -> GPTModel:
    """Of the small sizes."""
    made: GPTModel = large_weights(gpt_config, 0.2)
    return made


@pytest.fixture
def needs_cpp_compiler() -> None:
    """torch.compile generates C++ on a CPU."""
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler on the CPU: apt-get install g++")
