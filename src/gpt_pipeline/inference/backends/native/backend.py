"""The C decoder as a backend, and which models it implements."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt_pipeline.inference.backends.known import unknown_module
from gpt_pipeline.inference.backends.native.decoder import Decoder
from gpt_pipeline.inference.kv_cache import KVCache
from gpt_pipeline.model import GPTModel, meta_model

_VALUES: Mapping[str, tuple[Any, ...]] = {
    "position": ("learned", "rotary"),
    "norm": ("layer_norm", "rms_norm"),
    "feed_forward": ("gelu", "swiglu"),
    "qk_norm": (False, True),
    "attention": ("causal", "document"),  # a row is a single document
}
"""What decoder.c implements, key by key."""
_ANY_VALUE = frozenset(
    "vocab_size embed_dim ff_hidden_dim max_length num_heads num_kv_heads num_layers "
    "layer_norm_eps rope_theta bias qkv_bias eot_id "
    "ffn_dropout_rate mha_dropout_rate emb_dropout_rate".split()
)
"""Keys that decoder.c takes any value of, or that have no effect on generation."""


class NativeBackend:
    """Decodes on the CPU in C, with float32 activations.

    Logits of a row are bit-identical whatever other rows are decoded with it. Whole texts are
    scored by the model's modules and the decoder's head.

    Args:
        model: with its weights converted (`convert_weights`), not packed; not to be changed later.
        library: decoder.c, as `load_library` gives it.
    """

    name = "native"

    def __init__(self, model: GPTModel, library: ctypes.CDLL) -> None:
        self._model, self.config = model, model.config
        self._decoder = Decoder(library, model, model.config)

    @staticmethod
    def supports(model: GPTModel) -> str | None:
        """The keys, classes and shapes that decoder.c implements, in float32, on a CPU."""
        if model.device.type != "cpu":
            return f"{model.device.type} devices"
        for field in fields(model.config):
            value = getattr(model.config, field.name)
            if field.name not in _ANY_VALUE and value not in _VALUES.get(field.name, ()):
                return f"block.{field.name}={value}"
        return unknown_module(model) or _other_shape(model)

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def new_cache(self, batch_size: int) -> "NativeCache":
        """In float32, as the activations."""
        kv = KVCache.empty(
            self.config, batch_size=batch_size, device=self.device, dtype=torch.float32
        )
        return NativeCache(self._decoder, kv)

    @torch.inference_mode()
    def logits(self, tokens: Tensor) -> Tensor:
        """Logits [B, T, V] of tokens [B, T]; torch reads a whole text faster than decoder.c."""
        return self._decoder.head(self._model.hidden_states(tokens))

    def topk(self, logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """See top_k.h."""
        return self._decoder.topk(logits, number)


def _other_shape(model: GPTModel) -> str | None:
    """The first weight of another shape than the config gives; decoder.c takes its sizes from it.

    The owner of a module may have removed a block or replaced a layer.
    """
    expected = meta_model(model.config).state_dict()
    found = model.state_dict()
    for name in (*expected, *found):
        shapes = [tuple(each[name].shape) if name in each else None for each in (expected, found)]
        if shapes[0] != shapes[1]:
            return f"{name} of shape {shapes[1]} instead of {shapes[0]}"
    return None


class NativeCache:
    """Keys and values of the rows, and the decoder that appends to them (`DecodingCache`)."""

    def __init__(self, decoder: Decoder, kv: KVCache) -> None:
        self._decoder, self.kv = decoder, kv

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Positions that are filled in each row, [B]."""
        return self.kv.lengths

    def read(self, row: int, tokens: Sequence[int]) -> None:
        """Fill a row with the keys and values of these tokens."""
        part = self.kv.rows(row, 1)
        part.lengths[:] = 0
        if tokens:
            self._decoder.hidden_states(torch.tensor([tokens], device="cpu"), part)

    def next_logits(self, tokens: Sequence[int]) -> Tensor:
        """Logits, float32 [N, V], after one more token in each of the first N rows."""
        read = torch.tensor(tokens, device="cpu")[:, None]
        return self.logits(read, self.kv.rows(0, len(tokens)))[:, -1]

    def copy_row(self, source: int, target: int) -> None:
        """Copy the filled positions of a row."""
        self.kv.copy_row(source, target)

    def logits(self, tokens: Tensor, kv: KVCache) -> Tensor:
        """Read tokens [N, T] at the end of some rows: logits, float32 [N, T, V]."""
        return self._decoder.head(self._decoder.hidden_states(tokens, kv))
