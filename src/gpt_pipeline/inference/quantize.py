"""Weights in fewer bits or in another order, for inference: reading them is most of its work.

On a CPU, matrices are packed into the order that oneDNN's kernels read: for few rows these are two
to four times as fast as the plain product (docs/experiments.md). int8 is weight-only and symmetric
with one scale per row (Jacob et al. 2018, "Quantization and Training of Neural Networks", section
2.1, without a zero point); activations are in bfloat16.

Only modules of exactly the classes `nn.Linear` and `TokenEmbedding` are replaced: a subclass may
compute something else, and keeps its weights as they are, in bfloat16 at least.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpt_pipeline.model.blocks.embedding import TokenEmbedding
from gpt_pipeline.model.gpt import GPTModel

Weights = Literal["float32", "bfloat16", "int8"]

_LARGEST = 127
_ROWS = 16
"""Rows of activations that a packed matrix is laid out for: best from 1 to 64."""
_FEWEST_ROWS = 4
"""In float32, oneDNN's kernels take longer for one row than for 4, and may round otherwise."""
_INT8_COLUMNS = 16
"""torch's int8 kernel for the CPU reads beyond a matrix whose columns are not a multiple of it."""


def convert_weights(model: GPTModel, weights: Weights) -> GPTModel:
    """Convert the weights in place, for inference: no more training, and no state dict if int8.

    Returns:
        The same model, in evaluation mode. It computes in the precision of its weights, with int8
        in bfloat16.
    """
    model.eval().requires_grad_(False)
    model.to(torch.float32 if weights == "float32" else torch.bfloat16)
    return _replace_matrices(model, _Int8Matrix) if weights == "int8" else model


def pack(model: GPTModel) -> GPTModel:
    """Pack float32 or bfloat16 matrices in place, if this machine has oneDNN's kernels for them.

    Returns:
        The same model, without a state dict if it is packed.
    """
    dtype = model.embedding.token.weight.dtype
    can_pack = dtype.is_floating_point and _can_pack(model.device, dtype)
    return _replace_matrices(model, _PackedMatrix) if can_pack else model


def quantize(model: GPTModel, weights: Weights) -> GPTModel:
    """`convert_weights` and `pack`: the fastest modules for these weights."""
    return pack(convert_weights(model, weights))


def weight_and_scales(module: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The matrix [N, K] of a converted module, and the scales [N] of its rows if it is int8."""
    held = module.matrix if isinstance(module, _Embedding) else module
    matrix: Tensor = held.weight  # type: ignore[assignment]
    return matrix.detach(), held.scales if isinstance(held, _Int8Matrix) else None


def _can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this build of torch has the kernels, and the processor the instructions."""
    operators = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    if device.type != "cpu" or not all(hasattr(torch.ops.mkldnn, each) for each in operators):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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
    """A linear layer's matrix [N, K] as int8 with one scale per row, and its bias [N]."""

    weight: Tensor
    scales: Tensor

    def __init__(self, matrix: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        wide = matrix.float()
        scales = (wide.abs().amax(1) / _LARGEST).to(matrix.dtype)
        scales = scales.clamp(min=torch.finfo(matrix.dtype).tiny)
        # divided by the scale as it is stored, which may have been rounded down
        whole = (wide / scales.float()[:, None]).round().clamp(-_LARGEST, _LARGEST)
        self.register_buffer("weight", whole.to(torch.int8))
        self.register_buffer("scales", scales)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., K] to [..., N]."""
        rows = x.view(-1, x.shape[-1])
        if x.device.type == "cpu" and x.shape[-1] % _INT8_COLUMNS == 0:
            found = torch._weight_int8pack_mm(rows, self.weight, self.scales)
        else:
            found = functional.linear(rows, self.weight.to(x.dtype)) * self.scales
        found = found if self.bias is None else found.add_(self.bias)
        return found.view(*x.shape[:-1], -1)

    def rows(self, index: Tensor) -> Tensor:
        """Rows [..., K] of the matrix."""
        return self.weight[index].to(self.scales.dtype) * self.scales[index][..., None]


class _Embedding(nn.Module):
    """Replaces the token embedding, which is the head too."""

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


def _replace_matrices(model: GPTModel, matrix: type[_PackedMatrix | _Int8Matrix]) -> GPTModel:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                setattr(module, name, matrix(child.weight, child.bias))
            elif type(child) is TokenEmbedding:
                setattr(module, name, _Embedding(child, matrix))
    return model
