"""The network: `GPTModel` turns token ids into logits, `KVCache` lets it read each token once."""

from gpt_pipeline.model.gpt import GPTModel
from gpt_pipeline.model.kv_cache import KVCache

__all__ = ["GPTModel", "KVCache"]
