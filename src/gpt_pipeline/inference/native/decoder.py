"""A model as decoder.c reads it: its matrices in panels, and where all of them stand."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.inference.kv_cache import KVCache

_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}

Stored = Callable[[nn.Module], tuple[Tensor, Tensor | None]]
"""Of a module with a matrix: the matrix [N, K] as it is kept, and the scales [N] of its rows."""


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
        model: a GPTModel, whose modules are read once; later changes of it are not seen.
        config: its shape.
        stored: how its matrices are kept.
    """

    def __init__(self, library: ctypes.CDLL, model: Any, config: GPTConfig, stored: Stored) -> None:
        self._library, self._stored = library, stored
        self._vocab_size, self._embed_dim = config.vocab_size, config.embed_dim
        self._held: list[Any] = []  # what the pointers point to
        sizes = {name: getattr(config, name) for name in _SIZES}
        layers = (_Layer * config.num_layers)(*map(self._layer, model.blocks))
        cos, sin = _angles(model, config)
        position = getattr(model.embedding, "position", None)
        self._model = _Model(
            **sizes, layers=layers, token=self._matrix(model.embedding.token),
            position=self._floats(None if position is None else position.weight),
            cos=self._floats(cos), sin=self._floats(sin),
            final_norm=self._norm(model.final_norm), eps=config.layer_norm_eps,
        )  # fmt: skip

    def hidden_states(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """What the head reads of tokens [B, T], which are appended to the cache; float32 [B, T, C].

        Raises:
            MemoryError: there is no room for what lies between the layers.
        """
        batch_size, num_tokens = tokens.shape
        ids = tokens.contiguous().numpy()
        if ids.min() < 0 or ids.max() >= self._vocab_size:
            raise IndexError(f"token ids must be from 0 to {self._vocab_size - 1}; got {ids}")
        rows = np.repeat(np.arange(batch_size), num_tokens)
        positions = np.add.outer(cache.lengths, np.arange(num_tokens))
        found = torch.empty(batch_size, num_tokens, self._embed_dim)
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
        del keys, values  # held until here
        if status != 0:
            raise MemoryError(f"no memory for a pass over {ids.size:,} tokens")
        cache.lengths += num_tokens
        return found

    def head(self, hidden_states: Tensor) -> Tensor:
        """Logits, float32 [..., V], from hidden_states [..., C]."""
        read = hidden_states.float().contiguous()
        logits = torch.empty(*hidden_states.shape[:-1], self._vocab_size)
        self._library.head(
            ctypes.byref(self._model), ctypes.c_void_p(read.data_ptr()),
            ctypes.c_int64(read.numel() // self._embed_dim), ctypes.c_void_p(logits.data_ptr()),
            ctypes.c_int64(torch.get_num_threads()),
        )  # fmt: skip
        return logits

    def topk(self, logits: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """`logits.topk(number)` of [B, V], of equal values any: values, ids, [B, number] each."""
        read = logits.float().contiguous()
        rows, size = read.shape
        values, ids = torch.empty(rows, number), torch.empty(rows, number, dtype=torch.int64)
        self._library.topk(
            ctypes.c_void_p(read.data_ptr()), ctypes.c_int64(rows), ctypes.c_int64(size),
            ctypes.c_int64(number), ctypes.c_void_p(values.data_ptr()),
            ctypes.c_void_p(ids.data_ptr()), ctypes.c_int64(min(rows, torch.get_num_threads())),
        )  # fmt: skip
        return values, ids

    def _layer(self, block: Any) -> _Layer:
        attention, feed_forward = block.attention, block.feed_forward
        gated = {"gate": self._matrix(feed_forward.gate)} if hasattr(feed_forward, "gate") else {}
        return _Layer(
            attention_norm=self._norm(block.attention_norm),
            q_norm=self._norm(attention.q_norm), k_norm=self._norm(attention.k_norm),
            feed_forward_norm=self._norm(block.feed_forward_norm),
            qkv=self._matrix(attention.qkv), out=self._matrix(attention.out),
            up=self._matrix(feed_forward.up), down=self._matrix(feed_forward.down), **gated,
        )  # fmt: skip

    def _norm(self, norm: nn.Module) -> _Norm:
        parameters = dict(norm.named_parameters())  # none where it is left out
        return _Norm(self._floats(parameters.get("weight")), self._floats(parameters.get("bias")))

    def _matrix(self, module: nn.Module) -> _Matrix:
        matrix, scales = self._stored(module)
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
        """Where these numbers stand as float32."""
        if numbers is None:
            return None
        kept = numbers.detach().float().contiguous()
        self._held.append(kept)
        return kept.data_ptr()


def _angles(model: Any, config: GPTConfig) -> tuple[Tensor | None, Tensor | None]:
    """Cosines and sines of all positions, [max_length, D/2] each, or none."""
    found = model.rope(slice(0, config.max_length), torch.device("cpu"))
    if found is None:
        return None, None
    cos, sin = (each[0, :, : config.head_dim // 2] for each in found)
    return cos, sin
