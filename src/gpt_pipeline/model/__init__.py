"""The network: `GPTModel` turns token ids into logits, and `KVCache` lets it read each token once.

`outline` is a model without its weights; `for_inference` makes one ready to be read token by token,
on a CPU with `load_library`'s forward pass in C, on a CUDA device with `StepGraphs`.
"""

from gpt_pipeline.model.compiled import CompilerMissing, load_library
from gpt_pipeline.model.gpt import GPTModel
from gpt_pipeline.model.kv_cache import KVCache
from gpt_pipeline.model.outline import outline
from gpt_pipeline.model.ready import for_inference
from gpt_pipeline.model.step_graphs import StepGraphs
from gpt_pipeline.model.transfer import on_device

__all__ = [
    "CompilerMissing",
    "GPTModel",
    "KVCache",
    "StepGraphs",
    "for_inference",
    "load_library",
    "on_device",
    "outline",
]
