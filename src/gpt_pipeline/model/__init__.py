"""The network: `GPTModel` turns token ids into logits, and `KVCache` lets it read each token once.

`outline` is a model without its weights.
"""

from gpt_pipeline.model.gpt import GPTModel
from gpt_pipeline.model.kv_cache import KVCache
from gpt_pipeline.model.outline import outline

__all__ = ["GPTModel", "KVCache", "outline"]
