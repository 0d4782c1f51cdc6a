"""A model's weights in the layout that decoder.c reads, and calls of its functions."""

import ctypes
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.inference.kv_cache import KVCache
from gpt_pipeline.inference.quantize import weight_and_scales
from gpt_pipeline.model import GPTModel
from gpt_pipeline.model.blocks.embedding import PositionEmbedding
from gpt_pipeline.model.blocks.feed_forward import SwiGLU
from gpt_pipeline.model.blocks.transformer import TransformerBlock

_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}
"""`Matrix.kind` in products.h."""
_IN_C: Any = {"dtype": torch.float32, "device": "cpu"}
"""Of what decoder.c writes, whatever torch's default type and device are."""


class _Matrix(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in ("kind", "rows", "columns")),
        *((name, ctypes.c_void_p) for name in ("panels", "scales", "bias")),
    ]


class _Norm(ctypes.Structure):
    _fields_ = [("weight", ctypes.c_void_p), ("bias", ctypes.c_void_p)]


class _Layer(ctypes.Structure):
    _fields_ = [
        *((name, _Norm) for name in ("attention_norm", "q_norm", "k_norm", "feed_forward_norm")),
        *((name, _Matrix) for name in ("qkv", "out", "gate", "up", "down")),
    ]


_SIZES = (
    "num_layers", "embed_dim", "ff_hidden_dim", "num_heads", "num_kv_heads", "head_dim",
    "max_length",
)  # fmt: skip


class _Model(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in _SIZES),
        ("layers", ctypes.POINTER(_Layer)),
        ("token", _Matrix),
        *((name, ctypes.c_void_p) for name in ("position", "cos", "sin")),
        ("final_norm", _Norm),
        ("eps", ctypes.c_float),
    ]


class _Pass(ctypes.Structure):
    _fields_ = [
        ("number", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("tokens", "rows", "positions", "keys", "values")),
    ]


class Decoder:
    """The compiled forward pass of one model on the CPU.

    Args:
        library: decoder.c, as `load_library` gives it.
        model: one that `NativeBackend.supports`, with its weights converted; they are copied.
        config: its shape.
    """

    def __init__(self, library: ctypes.CDLL, model: GPTModel, config: GPTConfig) -> None:
        self._library = library
        self._vocab_size, self._embed_dim = config.vocab_size, config.embed_dim
        self._held: list[Any] = []  # the memory that pointers point to
        sizes = {name: getattr(config, name) for name in _SIZES}
        blocks: Any = model.blocks
        layers = (_Layer * config.num_layers)(*map(self._layer, blocks))
        cos, sin = _cos_and_sin(model, config)
        embedding: Any = model.embedding
        learned = isinstance(embedding, PositionEmbedding)
        self._model = _Model(
            **sizes, layers=layers, token=self._matrix(embedding.token),
            position=self._floats(embedding.position.weight if learned else None),
            cos=self._floats(cos), sin=self._floats(sin),
            final_norm=self._norm(model.final_norm), eps=config.layer_norm_eps,
        )  # fmt: skip

    def hidden_states(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """Append tokens [B, T] to the cache; their final hidden states, float32 [B, T, C].

        Raises:
            IndexError: an id is not in the vocabulary.
            ValueError: the cache has no room for the tokens.
            MemoryError: the activations cannot be allocated.
        """
        batch_size, num_tokens = tokens.shape
        cache.check_room(batch_size, num_tokens)
        ids = tokens.contiguous().numpy()
        if ids.min() < 0 or ids.max() >= self._vocab_size:
            raise IndexError(f"token ids must be from 0 to {self._vocab_size - 1}; got {ids}")
        rows = np.repeat(np.arange(batch_size), num_tokens)
        positions = np.add.outer(cache.lengths, np.arange(num_tokens))
        found = torch.empty(batch_size, num_tokens, self._embed_dim, **_IN_C)
        pointers = ctypes.c_void_p * len(cache.layers)
        given = _Pass(
            ids.size, ids.ctypes.data, rows.ctypes.data, positions.ctypes.data,
            ctypes.addressof(keys := pointers(*(each.keys.data_ptr() for each in cache.layers))),
            ctypes.addressof(
                values := pointers(*(each.values.data_ptr() for each in cache.layers))
            ),
        )  # fmt: skip
        status = self._library.hidden_states(
            ctypes.byref(self._model), ctypes.byref(given),
            ctypes.c_void_p(found.data_ptr()), ctypes.c_int64(torch.get_num_threads()),
        )  # fmt: skip
        del keys, values  # kept until here
        if status != 0:
            raise MemoryError(f"cannot allocate the activations of {ids.size:,} tokens")
        cache.lengths += num_tokens
        return found

    def head(self, hidden_states: Tensor) -> Tensor:
        """Logits, float32 [..., V], from hidden_states [..., C]."""
        read = hidden_states.float().contiguous()
        logits = torch.empty(*hidden_states.shape[:-1], self._vocab_size, **_IN_C)
        self._library.head(
            ctypes.byref(self._model), ctypes.c_void_p(read.data_ptr()),
            ctypes.c_int64(read.numel() // self._embed_dim), ctypes.c_void_p(logits.data_ptr()),
            ctypes.c_int64(torch.get_num_threads()),
        )  # fmt: skip
        return logits

    def topk(self, logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """`logits.topk(number)` of [B, V], in any order among equal values: values and ids."""
        read = logits.float().contiguous()
        rows, size = read.shape
        values = torch.empty(rows, number, **_IN_C)
        ids = torch.empty(rows, number, dtype=torch.int64, device="cpu")
        self._library.topk(
            ctypes.c_void_p(read.data_ptr()), ctypes.c_int64(rows), ctypes.c_int64(size),
            ctypes.c_int64(number), ctypes.c_void_p(values.data_ptr()),
            ctypes.c_void_p(ids.data_ptr()), ctypes.c_int64(min(rows, torch.get_num_threads())),
        )  # fmt: skip
        return values, ids

    def _layer(self, block: TransformerBlock) -> _Layer:
        attention: Any = block.attention
        feed_forward: Any = block.feed_forward
        gated = isinstance(feed_forward, SwiGLU)
        gate = {"gate": self._matrix(feed_forward.gate)} if gated else {}
        return _Layer(
            attention_norm=self._norm(block.attention_norm),
            q_norm=self._norm(attention.q_norm), k_norm=self._norm(attention.k_norm),
            feed_forward_norm=self._norm(block.feed_forward_norm),
            qkv=self._matrix(attention.qkv), out=self._matrix(attention.out),
            up=self._matrix(feed_forward.up), down=self._matrix(feed_forward.down), **gate,
        )  # fmt: skip

    def _norm(self, norm: nn.Module) -> _Norm:
        """LayerNorm has a weight and a bias, RMSNorm a weight, and Identity neither."""
        parameters = dict(norm.named_parameters())
        return _Norm(self._floats(parameters.get("weight")), self._floats(parameters.get("bias")))

    def _matrix(self, module: nn.Module) -> _Matrix:
        matrix, scales = weight_and_scales(module)
        rows, columns = matrix.shape
        size = int(self._library.panel())
        padded = matrix.new_zeros(-(-rows // size) * size, columns)
        padded[:rows] = matrix
        panels = padded.view(-1, size, columns).transpose(1, 2).contiguous()  # panels K size
        self._held.append(panels)
        bias = getattr(module, "bias", None)
        return _Matrix(
            _KINDS[matrix.dtype], rows, columns, panels.data_ptr(), self._floats(scales),
            self._floats(bias),
        )  # fmt: skip

    def _floats(self, numbers: Tensor | None) -> int | None:
        """The address of a copy of these numbers in float32."""
        if numbers is None:
            return None
        kept = numbers.detach().float().contiguous()
        self._held.append(kept)
        return kept.data_ptr()


def _cos_and_sin(model: GPTModel, config: GPTConfig) -> tuple[Tensor | None, Tensor | None]:
    """Cosines and sines of all positions' rotary angles, [max_length, D/2] each, or none."""
    found = model.rope(slice(0, config.max_length), torch.device("cpu"))
    if found is None:
        return None, None
    cos, sin = (each[0, :, : config.head_dim // 2] for each in found)
    return cos, sin
