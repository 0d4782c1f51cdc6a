import os

import pytest

from gpt_pipeline.config import HubConfig, StoriesConfig, TextConfig, TokenizerConfig
from gpt_pipeline.tokenizer import byte_tokenizer


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """Preparation sets TOKENIZERS_PARALLELISM for its process; it ends with the test."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", os.environ.get("TOKENIZERS_PARALLELISM", "true"))


@pytest.fixture
def dataset_config(tmp_path):
    """Makes the config of a source, dataset=text by default, under a temporary data_dir."""
    sources = {
        "text": (TextConfig, {"path": None}),
        "stories": (StoriesConfig, {"num_stories": 20, "num_val_stories": 5, "train_ratio": None}),
        "tinystories": (HubConfig, {"hub_id": "some/one", "train_ratio": None}),
    }

    def make(source="text", **changes):
        section, own = sources[source]
        values = {
            "source": source,
            "name": "data",
            "val_path": None,
            "separator": "auto",
            "text_field": "text",
            "seed": 0,
            "data_dir": str(tmp_path / "prepared"),
            "train_ratio": 0.75,
            "train_shuffle": True,
            "num_workers": 0,
            "adopt": None,
            **own,
        }
        values.update({key: str(v) if hasattr(v, "parts") else v for key, v in changes.items()})
        return section(**values)

    return make


@pytest.fixture
def tokenizer_config():
    """Makes a TokenizerConfig."""

    def make(name="bytes", vocab_size=None, path=None, train_bytes=10**8):
        return TokenizerConfig(name=name, vocab_size=vocab_size, path=path, train_bytes=train_bytes)

    return make


@pytest.fixture
def byte_level():
    return byte_tokenizer()
