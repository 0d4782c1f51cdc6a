"""A store with a model small enough to save many times."""

import pytest
import torch

from gpt_pipeline.checkpoint import CheckpointStore, TrainingPart
from gpt_pipeline.config.compose import compose
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import byte_tokenizer

CONFIG = compose(
    ["model=tiny", "tokenizer=bytes", "model.vocab_size=257", "model.embed_dim=16",
     "model.num_heads=2", "model.num_layers=1", "model.ff_hidden_dim=24", "model.max_length=8"]
).config  # fmt: skip


@pytest.fixture
def config():
    return CONFIG


@pytest.fixture
def model():
    torch.manual_seed(1)
    return GPTModel(CONFIG.gpt_config())


@pytest.fixture
def make_store():
    def make(root, name="run"):
        return CheckpointStore(
            root=root,
            name=name,
            config=CONFIG,
            tokenizer=byte_tokenizer(),
            data_fingerprint="f" * 64,
        )

    return make


@pytest.fixture
def store(tmp_path, make_store):
    return make_store(tmp_path / "checkpoints")


@pytest.fixture
def part():
    def make(step, val_loss=None):
        tensors = {"final_norm.weight.exp_avg": torch.arange(4.0)}
        return TrainingPart(step, step * 10, val_loss, None, tensors, {"step": step})

    return make
