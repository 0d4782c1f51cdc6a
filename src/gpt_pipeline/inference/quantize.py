"""A trained model made ready to be read token by token, where reading its weights is the work.

On a CPU a matrix goes into the order that oneDNN's kernels read: for few rows they are two to four
times as fast as the plain product (docs/benchmarks.md). In 8 bits each row has one scale
(weight-only, symmetric: Jacob et al. 2018, "Quantization and Training of Neural Networks", section
2.1, with no zero point), and activations are in bfloat16.
"""

import ctypes
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpt_pipeline.inference.native import Decoder
from gpt_pipeline.model.blocks.embedding import TokenEmbedding
from gpt_pipeline.model.gpt import GPTModel

Weights = Literal["float32", "bfloat16", "int8"]

_LARGEST = 127
_ROWS = 16
"""Rows that a packed matrix is laid out for: best from 1 to 64."""
_FEWEST_ROWS = 4
"""One row in float32 takes oneDNN's kernels longer than so many, and may come out otherwise."""


def for_inference(
    model: GPTModel,
    weights: Weights,
    *,
    library: ctypes.CDLL | None = None,
    use_cuda_graphs: bool = False,
) -> GPTModel:
    """The model with its weights in a precision, changed in place: no more training, no state dict.

    It computes in the precision that the weights are kept in, with int8 in bfloat16. With
    `library` (`load_library`), on a CPU, what goes through a cache is computed by it, in float32.
    With `use_cuda_graphs`, on a CUDA device, steps of generation are replayed (`CudaGraphs`).
    """
    model.eval().requires_grad_(False)
    model.to(torch.float32 if weights == "float32" else torch.bfloat16)
    if weights == "int8":
        _replaced(model, _Int8Matrix)
    model.use_cuda_graphs = use_cuda_graphs and model.device.type == "cuda"
    if library is not None and model.device.type == "cpu":
        model.decoder = Decoder(library, model, model.config, _stored)
    elif weights != "int8" and _can_pack(model.device, weights):
        _replaced(model, _PackedMatrix)
    return model


def _stored(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The matrix of a module, and the scales of its rows."""
    held = module.matrix if isinstance(module, _Embedding) else module
    matrix: Tensor = held.weight  # type: ignore[assignment]
    return matrix.detach(), held.scales if isinstance(held, _Int8Matrix) else None


def _can_pack(device: torch.device, weights: Weights) -> bool:
    """Whether this machine's torch has the kernels, and its processor the instructions."""
    operators = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    if device.type != "cpu" or not all(hasattr(torch.ops.mkldnn, each) for each in operators):
        return False
    return weights == "float32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _PackedMatrix(nn.Module):
    """A linear layer's matrix [N, K] in oneDNN's order, and its bias [N]."""

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(matrix, _ROWS)
        self._bias = bias
        self._widen = matrix.dtype == torch.float32

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., K] to [..., N]."""
        one = self._widen and x.numel() == x.shape[-1]
        rows = x.expand(_FEWEST_ROWS, -1, -1) if one else x  # x is [1, 1, K] then
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._packed, self._bias, "none", [], ""
        )
        return found[:1] if one else found


class _Int8Matrix(nn.Module):
    """A linear layer's matrix [N, K] as int8 with a scale a row, and its bias [N]."""

    weight: Tensor
    scales: Tensor

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        wide = matrix.float()
        scales = (wide.abs().amax(1) / _LARGEST).to(matrix.dtype)
        scales = scales.clamp(min=torch.finfo(matrix.dtype).tiny)
        # by the scale as it is kept; it may have been rounded down
        whole = (wide / scales.float()[:, None]).round().clamp(-_LARGEST, _LARGEST)
        self.register_buffer("weight", whole.to(torch.int8))
        self.register_buffer("scales", scales)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., K] to [..., N]."""
        rows = x.view(-1, x.shape[-1])
        if x.device.type == "cpu":
            found = torch._weight_int8pack_mm(rows, self.weight, self.scales)
        else:
            found = functional.linear(rows, self.weight.to(x.dtype)) * self.scales
        found = found if self.bias is None else found.add_(self.bias)
        return found.view(*x.shape[:-1], -1)

    def rows(self, places: Tensor) -> Tensor:
        """Rows [..., K] of the matrix."""
        return self.weight[places].to(self.scales.dtype) * self.scales[places][..., None]


class _Embedding(nn.Module):
    """In the place of the token embedding, which is the head too."""

    def __init__(
        self, embedding: TokenEmbedding, matrix: type[_PackedMatrix | _Int8Matrix]
    ) -> None:
        super().__init__()
        held = matrix(embedding.weight)
        self.matrix = held
        self.weight: Tensor = held.weight if isinstance(held, _Int8Matrix) else embedding.weight
        self._rows: Callable[[Tensor], Tensor] = (
            held.rows if isinstance(held, _Int8Matrix) else embedding.forward
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors [..., K] of tokens [...]."""
        return self._rows(tokens)

    def project(self, hidden_states: Tensor) -> Tensor:
        """Logits [..., N] from hidden_states [..., K]."""
        logits: Tensor = self.matrix(hidden_states)
        return logits


def _replaced(model: GPTModel, matrix: type[_PackedMatrix | _Int8Matrix]) -> GPTModel:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, matrix(child.weight, child.bias))
            elif isinstance(child, TokenEmbedding):
                setattr(module, name, _Embedding(child, matrix))
    return model
