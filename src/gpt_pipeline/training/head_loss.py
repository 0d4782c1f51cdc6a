"""The model's head and the loss in one: value and gradient, a few rows at a time."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_LOGITS_AT_ONCE = {"cpu": 1 << 26}
"""How many logits stand in memory: 128 MB of bfloat16, for the more rows a product with the matrix
has the faster it is."""
_LOGITS_ELSEWHERE = 1 << 28
_SOFTMAX_AT_ONCE = 1 << 19
"""Probabilities that one thread of a CPU works on: 2 MB of them, or they leave its cache."""
_FAR_FROM_UNDERFLOW = 1e-30
"""Float32 loses digits below 1.2e-38, and with them the loss of an improbable target."""


def loss_and_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Losses [R] of logits [R, V]; in place of the logits comes the gradient of each row's loss.

    The softmax is in float32, and the loss exact however improbable its target: it is taken from
    the most probable entry, which never underflows.

    Args:
        logits: of the head, in any floating type.
        targets: int64 [R], all of them entries.
    """
    wanted = targets[:, None]
    best = logits.amax(-1, keepdim=True).float()  # R 1
    short = best - logits.gather(-1, wanted)  # R 1
    p = torch.softmax(logits, -1, dtype=torch.float32)  # R V
    losses = short - p.amax(-1, keepdim=True).log()
    p.scatter_add_(-1, wanted, torch.full_like(losses, -1.0))
    logits.copy_(p)
    return losses.squeeze(-1)


def loss_of_likely(logits: Tensor, targets: Tensor) -> Tensor:
    """`loss_and_gradient`, from the targets' probabilities where all are large enough.

    Saves a CPU two looks at all of the logits; on a GPU it would wait for the answer.
    """
    wanted = targets[:, None]
    p = torch.softmax(logits, -1, dtype=torch.float32)  # R V
    chosen = p.gather(-1, wanted)  # R 1
    if not bool(chosen.min() > _FAR_FROM_UNDERFLOW):
        return loss_and_gradient(logits, targets)
    p.scatter_add_(-1, wanted, torch.full_like(chosen, -1.0))
    logits.copy_(p)
    return -chosen.log().squeeze(-1)


class HeadLoss:
    """Head and loss of a training step.

    By hand and not by autograd: that would hold the logits three times in float32, and hand out
    the memory of a gradient of the whole vocabulary for every part. With GPT-2's vocabulary this is
    most of a small model's work (docs/benchmarks.md).

    Attributes:
        compiled: what `loss_and_gradient` was compiled to; None: it was not.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.compiled: Callable[[Tensor, Tensor], Tensor] | None = None
        self._buffers: dict[str, Tensor] = {}

    def __call__(
        self,
        hidden_states: Tensor,
        targets: Tensor,
        matrix: nn.Parameter,
        *,
        scale: float,
        check: Callable[[], None],
    ) -> tuple[Tensor, Tensor]:
        """The loss over some rows, its gradient by the hidden_states, and by the matrix into its
        grad.

        Args:
            hidden_states: what the head reads, [R, C].
            targets: int64 [R]; those below 0 are not counted.
            matrix: the head's, [V, C].
            scale: factor on both gradients.
            check: called between the parts.

        Returns:
            The sum of the losses, and the gradient of `scale` times it by the hidden_states, [R,
            C].
        """
        if matrix.grad is None:
            matrix.grad = torch.zeros_like(matrix)
        total = torch.zeros((), device=hidden_states.device)
        gradient = torch.empty_like(hidden_states)
        at_once = _LOGITS_AT_ONCE.get(hidden_states.device.type, _LOGITS_ELSEWHERE)
        vocabulary = matrix.detach().to(self.dtype)  # V C
        counted = (targets >= 0)[:, None]  # R 1
        rows = _even_part(len(hidden_states), max(1, at_once // matrix.shape[0]))
        for first in range(0, len(hidden_states), rows):
            check()
            part = slice(first, first + rows)
            x = hidden_states[part].to(self.dtype)
            logits = self._buffer("logits", (len(x), matrix.shape[0]), hidden_states.device)
            torch.mm(x, vocabulary.t(), out=logits)  # R V
            losses = self._softmax(logits, targets[part].clamp(min=0), check)
            total += (losses * counted[part, 0]).sum()
            check()
            gradient[part] = torch.mm(logits, vocabulary) * (scale * counted[part])
            check()
            by_matrix = self._buffer("matrix", matrix.shape, hidden_states.device)
            torch.mm(logits.t(), x * counted[part], out=by_matrix)  # V C
            matrix.grad.add_(by_matrix, alpha=scale)
        return total, gradient

    def _softmax(self, logits: Tensor, targets: Tensor, check: Callable[[], None]) -> Tensor:
        """`loss_and_gradient`, on a CPU in parts that its caches hold."""
        if logits.device.type != "cpu":
            return (self.compiled or loss_and_gradient)(logits, targets)
        rows = max(1, _SOFTMAX_AT_ONCE * torch.get_num_threads() // logits.shape[1])
        losses = []
        for part, wanted in zip(torch.split(logits, rows), torch.split(targets, rows), strict=True):
            losses.append((self.compiled or loss_of_likely)(part, wanted))
            check()
        return torch.cat(losses)

    def _buffer(self, name: str, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Memory that is kept from step to step: to take so much of it anew costs time."""
        held = self._buffers.get(name)
        if held is None or held.shape[0] < shape[0]:
            held = self._buffers[name] = torch.empty(shape, dtype=self.dtype, device=device)
        return held[: shape[0]]


def _even_part(number: int, most: int) -> int:
    """The size of equal parts, at most `most`: a short last one would be a shape of its own."""
    parts = -(-number // most)
    return -(-number // parts)
