"""The network in plain PyTorch: `GPTModel`, and `meta_model`, the same without its weights."""

from gpt_pipeline.model.gpt import GPTModel
from gpt_pipeline.model.meta import meta_model

__all__ = ["GPTModel", "meta_model"]
