"""Which modules the backends know, by their exact classes.

A backend other than the model's own forward pass repeats part of its computation. It may do so
only for classes whose computation it knows: a subclass, another class under a registered name, a
further submodule, parameter or hook could compute anything. To support a new block, teach the
backends its computation and add its class here.
"""

import re
from collections.abc import Collection

from torch import nn

from gpt_pipeline.model import GPTModel
from gpt_pipeline.model.blocks.documents import DocumentMask, NoDocumentMask
from gpt_pipeline.model.blocks.dropout import Dropout
from gpt_pipeline.model.blocks.embedding import Embedding, PositionEmbedding, TokenEmbedding
from gpt_pipeline.model.blocks.feed_forward import FeedForward, SwiGLU
from gpt_pipeline.model.blocks.layer_norm import LayerNorm
from gpt_pipeline.model.blocks.mha import MultiHeadAttention
from gpt_pipeline.model.blocks.rms_norm import RMSNorm
from gpt_pipeline.model.blocks.rotary import NoRotaryEmbedding, RotaryEmbedding
from gpt_pipeline.model.blocks.transformer import TransformerBlock

_NORMS = {LayerNorm, RMSNorm}
_CLASSES: dict[str, set[type[nn.Module]]] = {
    "": {GPTModel},
    "embedding": {Embedding, PositionEmbedding},
    "embedding.token": {TokenEmbedding},
    "embedding.position": {nn.Embedding},
    "embedding.dropout": {Dropout},
    "rope": {RotaryEmbedding, NoRotaryEmbedding},
    "document_mask": {DocumentMask, NoDocumentMask},
    "blocks": {nn.ModuleList},
    "blocks.*": {TransformerBlock},
    "blocks.*.attention_norm": _NORMS,
    "blocks.*.attention": {MultiHeadAttention},
    "blocks.*.attention.qkv": {nn.Linear},
    "blocks.*.attention.q_norm": {RMSNorm, nn.Identity},
    "blocks.*.attention.k_norm": {RMSNorm, nn.Identity},
    "blocks.*.attention.out": {nn.Linear},
    "blocks.*.attention.dropout": {Dropout},
    "blocks.*.attention.probability_dropout": {Dropout},
    "blocks.*.feed_forward_norm": _NORMS,
    "blocks.*.feed_forward": {FeedForward, SwiGLU},
    "blocks.*.feed_forward.gate": {nn.Linear},
    "blocks.*.feed_forward.up": {nn.Linear},
    "blocks.*.feed_forward.gelu": {nn.GELU},
    "blocks.*.feed_forward.down": {nn.Linear},
    "blocks.*.feed_forward.dropout": {Dropout},
    "final_norm": _NORMS,
}
_TENSORS = {"weight", "bias"}

READS_POSITIONS = frozenset(
    (
        "",
        "embedding",
        "rope",
        "document_mask",
        "blocks",
        "blocks.*",
        "blocks.*.attention",
        "blocks.*.attention.*",
    )
)
"""The modules that handle positions and cached keys; all others see each position by itself.

`document_mask` is one: a pass with a cache leaves the mask out.
"""


def unknown_module(
    model: GPTModel, only: Collection[str] | None = None, *, allow_hooks: bool = False
) -> str | None:
    """The first module of the model that is not of a known class, for a message.

    Args:
        model: neither quantized nor packed.
        only: names of modules to look at, with * for indices and for the children of a module;
            None: all of them.
        allow_hooks: whether forward hooks are fine: the modules themselves are called.
    """
    for name, module in model.named_modules(remove_duplicate=False):
        pattern = re.sub(r"(?<=\.)\d+", "*", name)
        parent = f"{pattern.rpartition('.')[0]}.*"
        if only is not None and pattern not in only and parent not in only:
            continue
        called = f"{name or 'the model'} ({type(module).__name__}"
        if type(module) not in _CLASSES.get(pattern, set()):
            return f"{called})"
        if others := {*module._parameters, *module._buffers} - _TENSORS:
            return f"{called} with {min(others)})"
        if not allow_hooks and (module._forward_hooks or module._forward_pre_hooks):
            return f"{called} with a forward hook)"
    if len(model.blocks) != model.config.num_layers:
        return f"a model of {len(model.blocks)} blocks instead of {model.config.num_layers}"
    return None
