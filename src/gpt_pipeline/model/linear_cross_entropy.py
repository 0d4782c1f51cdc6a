"""The head's matrix product and the cross-entropy as one function, a chunk of rows at a time.

With GPT-2's vocabulary the logits of a micro-batch would be the largest tensor of a training step
by far, and autograd would hold them three times in float32. Here the gradients are computed in
forward, while the logits of a chunk exist, and backward only scales them.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Check = Callable[[], None]
Kernel = Callable[[Tensor, Tensor], Tensor]

_LOGITS_PER_CHUNK = {"cpu": 1 << 26}
"""Logits of a chunk, 128 MB in bfloat16: products with more rows are faster."""
_LOGITS_PER_CHUNK_ELSEWHERE = 1 << 28
_WEIGHTS_PER_SLICE = {"cpu": 1 << 22}
"""Elements of the weight's gradient that are computed in bfloat16 and added in float32 at once."""
_WEIGHTS_PER_SLICE_ELSEWHERE = 1 << 28
_PROBABILITIES_PER_THREAD = 1 << 19
"""Probabilities that a CPU thread works on: 2 MB, which its cache holds."""
_FAR_FROM_UNDERFLOW = 1e-30
"""Float32 loses digits below 1.2e-38, and with them the loss of an improbable target."""


class LogitsMemory:
    """The memory of a chunk's logits, kept between calls.

    To allocate 100 MB in each of them costs a CPU several percent of a small model's step. It is
    taken out while it is in use, so that a second thread gets memory of its own. Copies of a model
    do not share it.
    """

    def __init__(self) -> None:
        self._kept: list[Tensor] = []

    def take(self, rows: int, vocab_size: int, like: Tensor, dtype: torch.dtype) -> Tensor:
        """Memory for [rows, vocab_size] on the device of `like`; its contents are undefined."""
        try:
            kept = self._kept.pop()
        except IndexError:
            kept = None
        fits = kept is not None and (kept.dtype, kept.device) == (dtype, like.device)
        if kept is None or not fits or kept.shape[1] != vocab_size or len(kept) < rows:
            kept = torch.empty(rows, vocab_size, dtype=dtype, device=like.device)
        return kept

    def give_back(self, memory: Tensor) -> None:
        """Keep it for the next call."""
        self._kept = [memory]

    def __deepcopy__(self, memo: object) -> "LogitsMemory":
        return LogitsMemory()

    def __getstate__(self) -> dict[str, object]:
        return {"_kept": []}


def linear_cross_entropy(
    hidden_states: Tensor,
    weight: Tensor,
    targets: Tensor,
    check: Check | None = None,
    memory: LogitsMemory | None = None,
) -> Tensor:
    """The sum of the cross-entropy losses of `hidden_states @ weight.T`, differentiable once.

    Equal to `F.cross_entropy(F.linear(hidden_states, weight).float(), targets, reduction="sum")`
    with targets below 0 ignored, in a fraction of the memory. The matrix products run in autocast's
    type where autocast is on, softmax and loss in float32. A gradient that is not needed (a frozen
    weight, frozen layers) is not computed.

    Backward scales the gradients in place and hands them over, so that one forward pass allows one
    backward pass. Under `torch.compile` the function is one opaque operator.

    Args:
        hidden_states: [R, C].
        weight: [V, C].
        targets: int64 [R], in 0 to V - 1, or below 0: not counted.
        check: called between chunks, unless compiled; what it raises ends the computation.
        memory: of the logits in eager mode, from call to call; None: allocated for this call.

    Returns:
        A float32 scalar, in nats.
    """
    kind = hidden_states.device.type
    autocast = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if autocast else weight.dtype
    grad = torch.is_grad_enabled()
    by_hidden, by_weight = grad and hidden_states.requires_grad, grad and weight.requires_grad
    if torch.compiler.is_compiling():
        loss: Tensor
        loss, _, _ = _operator(hidden_states, weight, targets, dtype, by_hidden, by_weight)
        return loss
    total: Tensor = _LinearCrossEntropy.apply(
        hidden_states, weight, targets, dtype, by_hidden, by_weight, check, memory
    )
    return total


class _LinearCrossEntropy(torch.autograd.Function):
    """`linear_cross_entropy` in eager mode."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_states: Tensor,
        weight: Tensor,
        targets: Tensor,
        dtype: torch.dtype,
        by_hidden: bool,
        by_weight: bool,
        check: Check | None,
        memory: LogitsMemory | None,
    ) -> Tensor:
        total, *gradients = _loss_and_gradients(
            hidden_states, weight, targets, dtype, by_hidden, by_weight, check, _eager_kernel,
            memory or LogitsMemory(),
        )  # fmt: skip
        ctx.save_for_backward(*gradients)
        ctx.used = False
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "linear_cross_entropy has no second derivative; call backward without create_graph"
            )
        if ctx.used:
            raise RuntimeError(
                "linear_cross_entropy gave its gradients away in the first backward pass; "
                "run the forward pass again before a second one"
            )
        ctx.used = True
        by_hidden, by_weight = (
            None if gradient is None else gradient.mul_(grad_output)
            for gradient in ctx.saved_tensors
        )
        return by_hidden, by_weight, None, None, None, None, None, None


@torch.library.custom_op("gpt_pipeline::linear_cross_entropy", mutates_args=())
def _operator(
    hidden_states: Tensor,
    weight: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    by_hidden: bool,
    by_weight: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`linear_cross_entropy` in a compiled graph: the loss and both gradients, empty if unneeded.

    Only the softmax is compiled: the products are calls of a library in any case.
    """
    total, *gradients = _loss_and_gradients(
        hidden_states, weight, targets, dtype, by_hidden, by_weight, None, _compiled_kernel(),
        LogitsMemory(),
    )  # fmt: skip
    by_rows, by_matrix = (hidden_states.new_empty(0) if g is None else g for g in gradients)
    return total, by_rows, by_matrix


@_operator.register_fake
def _(
    hidden_states: Tensor,
    weight: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    by_hidden: bool,
    by_weight: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        hidden_states.new_empty((), dtype=torch.float32),
        torch.empty_like(hidden_states) if by_hidden else hidden_states.new_empty(0),
        _float32_like(weight) if by_weight else hidden_states.new_empty(0),
    )


def _keep_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.wanted = inputs[4:]
    ctx.save_for_backward(*output[1:])


def _scale_gradients(ctx: Any, grad_output: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    gradients = zip(ctx.wanted, ctx.saved_tensors, strict=True)
    found = [gradient * grad_output if wanted else None for wanted, gradient in gradients]
    return *found, None, None, None, None


_operator.register_autograd(_scale_gradients, setup_context=_keep_gradients)


def _loss_and_gradients(
    hidden_states: Tensor,
    weight: Tensor,
    targets: Tensor,
    dtype: torch.dtype,
    by_hidden: bool,
    by_weight: bool,
    check: Check | None,
    kernel: Kernel,
    memory: LogitsMemory,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The sum of the losses and its gradients by hidden states [R, C] and weight [V, C].

    `kernel` is `loss_and_gradient`, or computes the same.
    """
    kind, num_rows, vocab_size = hidden_states.device.type, len(hidden_states), len(weight)
    total = torch.zeros((), device=hidden_states.device)
    grad_hidden = torch.empty_like(hidden_states) if by_hidden else None
    grad_weight = _float32_like(weight) if by_weight else None
    if num_rows == 0 and grad_weight is not None:
        grad_weight.zero_()
    counted = (targets >= 0)[:, None]  # R 1
    logits_per_chunk = _LOGITS_PER_CHUNK.get(kind, _LOGITS_PER_CHUNK_ELSEWHERE)
    chunk_rows = _even_part(num_rows, max(1, logits_per_chunk // vocab_size))
    buffer = memory.take(chunk_rows, vocab_size, hidden_states, dtype)
    with torch.autocast(kind, enabled=False):
        weight = weight.to(dtype)
        for chunk in _slices(num_rows, chunk_rows):
            _call(check)
            x = hidden_states[chunk].to(dtype)
            logits = torch.mm(x, weight.t(), out=buffer[: len(x)])  # R V
            losses = _in_parts(kernel, logits, targets[chunk].clamp(min=0), check)
            total += (losses * counted[chunk, 0]).sum()
            _call(check)
            if grad_hidden is not None:
                grad_hidden[chunk] = torch.mm(logits, weight) * counted[chunk]
                _call(check)
            if grad_weight is not None:
                x = x * counted[chunk]
                _add_product(grad_weight, logits, x, first=chunk.start == 0)
    memory.give_back(buffer)
    return total, grad_hidden, grad_weight


def _add_product(grad_weight: Tensor, logits: Tensor, x: Tensor, *, first: bool) -> None:
    """Add logits.T @ x to the gradient [V, C], or write it where it is the first product.

    A slice of the vocabulary at a time: a product in bfloat16 needs memory before it can be added
    in float32.
    """
    vocab_size, width = grad_weight.shape
    kind = grad_weight.device.type
    at_once = _WEIGHTS_PER_SLICE.get(kind, _WEIGHTS_PER_SLICE_ELSEWHERE)
    for part in _slices(vocab_size, _even_part(vocab_size, max(1, at_once // width))):
        by_part = logits[:, part].t()  # V/n R
        if grad_weight.dtype == x.dtype:
            grad_weight[part].addmm_(by_part, x, beta=0 if first else 1)
        elif first:
            grad_weight[part] = torch.mm(by_part, x)
        else:
            grad_weight[part] += torch.mm(by_part, x)


def loss_and_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The losses [R] of logits [R, V], which are replaced by the gradient of each row's loss.

    The softmax is in float32. The loss is exact however improbable the target: it is computed from
    the most probable entry, which never underflows.

    Args:
        logits: of any floating type.
        targets: int64 [R], all in 0 to V - 1.
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

    Reads the logits twice less, which is faster on a CPU. A GPU would have to wait for the answer.
    """
    wanted = targets[:, None]
    p = torch.softmax(logits, -1, dtype=torch.float32)  # R V
    chosen = p.gather(-1, wanted)  # R 1
    if not bool(chosen.min() > _FAR_FROM_UNDERFLOW):
        return loss_and_gradient(logits, targets)
    p.scatter_add_(-1, wanted, torch.full_like(chosen, -1.0))
    logits.copy_(p)
    return -chosen.log().squeeze(-1)


def _eager_kernel(logits: Tensor, targets: Tensor) -> Tensor:
    kernel = loss_of_likely if logits.device.type == "cpu" else loss_and_gradient
    return kernel(logits, targets)


@functools.cache
def _compiled_kernel() -> Kernel:
    return torch.compile(loss_and_gradient, dynamic=False)


def _in_parts(kernel: Kernel, logits: Tensor, targets: Tensor, check: Check | None) -> Tensor:
    """The kernel's losses, on a CPU from parts that its caches hold."""
    if logits.device.type != "cpu":
        return kernel(logits, targets)
    at_once = _PROBABILITIES_PER_THREAD * torch.get_num_threads()
    rows = _even_part(len(logits), max(1, at_once // logits.shape[1]))
    losses = []
    for part in _slices(len(logits), rows):
        losses.append(kernel(logits[part], targets[part]))
        _call(check)
    return torch.cat(losses)


def _float32_like(weight: Tensor) -> Tensor:
    """Memory for a gradient that is summed in float32 whatever the weight's type."""
    return torch.empty(weight.shape, dtype=torch.float32, device=weight.device)


def _call(check: Check | None) -> None:
    if check is not None:
        check()


def _slices(number: int, size: int) -> Iterator[slice]:
    """Slices of `size` that cover 0 to number - 1."""
    for first in range(0, number, size):
        yield slice(first, min(first + size, number))


def _even_part(number: int, most: int) -> int:
    """The size of equal parts, at most `most`: a short last one would be another shape."""
    parts = max(1, -(-number // most))
    return max(1, -(-number // parts))
