"""From logits to the next token: pure functions with the same result on every device.

The order is repetition penalty, presence and frequency penalty, bias (penalties.py), temperature,
top-k, top-p, min-p, sampling. Order and ties agree with transformers' processors and warpers of
these names. The candidates of top-k are found on the logits' device. All later operations are in
float64, so that the sampled token does not depend on a device's rounding: on CUDA on the device,
with one synchronization per step, else on the CPU.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference.deferred_checks import DeferredChecks
from gpt_pipeline.inference.penalties import adjusted
from gpt_pipeline.inference.top_k import TopK, best, topk_in_blocks
from gpt_pipeline.runtime.transfer import on_device

SEED_BYTES = 8
_MOST_LIKELY = 1024
"""Tokens that are tried first if only top-p limits them: sorting all of them takes long."""
_UNIFORMS = 64
"""Random numbers of a sample that are generated together."""


@dataclass(frozen=True)
class Candidates:
    """The distributions that the next tokens of B rows are sampled from.

    Attributes:
        ids: token ids, int64 [B, N], ascending in each row.
        probabilities: float64 [B, N], 0 for excluded tokens; tokens not among the ids have 0 too.
    """

    ids: Tensor
    probabilities: Tensor


def next_tokens(
    logits: Tensor,
    sampling: Sampling,
    uniforms: Sequence[float],
    texts: Sequence[Sequence[int]] | None = None,
    topk: TopK = topk_in_blocks,
    *,
    sampled: Sequence[Sequence[int]] | None = None,
    wait: bool | None = None,
) -> list[int]:
    """Sample one token for each row of logits [B, V].

    Args:
        logits: [B, V], on any device, of any floating type.
        sampling: the settings.
        uniforms: one number in [0, 1) per row, also for greedy decoding; see `sample_uniforms`.
        texts: the tokens of each row so far, for the repetition penalty.
        topk: finds the largest logits; the sampled tokens do not depend on it.
        sampled: those of `texts` that were sampled, for presence and frequency penalty.
        wait: make each check at once instead of deferring it; None: defer on CUDA alone.

    Raises:
        UserError: a logit is not finite.
    """
    checks = DeferredChecks(wait=logits.device.type != "cuda" if wait is None else wait)
    found = candidates(logits, sampling, texts, topk, checks, sampled=sampled)
    numbers = on_device(torch.tensor(uniforms, dtype=torch.float64), found.ids.device)
    columns = sample_columns(found.probabilities, numbers)
    if not checks.wait:  # non-finite logits, whose check is deferred, may give an index too large
        columns = columns.clamp_(max=found.ids.shape[1] - 1)
    tokens, resolved = checks.resolve(found.ids.gather(1, columns[:, None]).squeeze(1))
    if resolved:
        return tokens
    return next_tokens(logits, sampling, uniforms, texts, topk, sampled=sampled, wait=True)


def candidates(
    logits: Tensor,
    sampling: Sampling,
    texts: Sequence[Sequence[int]] | None = None,
    topk: TopK = topk_in_blocks,
    checks: DeferredChecks | None = None,
    *,
    sampled: Sequence[Sequence[int]] | None = None,
) -> Candidates:
    """The distribution that the next token of each row is sampled from.

    With temperature 0 the largest logit (the first of equal ones) has probability 1, whatever
    top_k, top_p and min_p are. The arguments are those of `next_tokens`; without `checks` none is
    deferred.

    Raises:
        UserError: a logit is not finite.
        ValueError: a setting is out of its range.
    """
    checks = checks or DeferredChecks(wait=True)
    check_finite(logits, checks)
    logits = adjusted(logits, sampling, texts, sampled)
    device = logits.device if logits.device.type == "cuda" else torch.device("cpu")
    if sampling.temperature == 0:
        ids = logits.argmax(-1, keepdim=True).to(device)
        return Candidates(ids, torch.ones(ids.shape, dtype=torch.float64, device=device))
    if sampling.top_k is not None:
        ids, values = best(logits, sampling.top_k, topk, checks)
        descending = apply_temperature(values.to(device).double(), sampling.temperature)
        ids, order = ids.to(device).sort(-1)
        kept = keep_top_k(descending, sampling.top_k).gather(1, order)
        kept = keep_top_p(kept, sampling.top_p)
    else:
        scaled = apply_temperature(logits.to(device).double(), sampling.temperature)
        ids, kept = _nucleus(scaled, sampling.top_p, checks)
    return Candidates(ids, keep_min_p(kept, sampling.min_p).softmax(-1))


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """`candidates` over the whole vocabulary: float64 [B, V] on the CPU, 0 for excluded tokens."""
    found = candidates(logits, sampling)
    dense = torch.zeros(logits.shape, dtype=torch.float64)
    return dense.scatter_(-1, found.ids.cpu(), found.probabilities.cpu())


def check_finite(logits: Tensor, checks: DeferredChecks) -> None:
    """Refuse logits that are not finite, now or when the deferred checks are resolved.

    Raises:
        UserError: one is not finite; the message says what to do.
    """
    total = logits.float().sum()  # not finite if one of the logits is not
    if not checks.holds(total - total != 0):
        return
    bad = logits[~logits.isfinite()]
    if len(bad) > 0:
        raise UserError(
            f"logits must be finite; got {bad[0].item()}: the model's "
            "weights are damaged or its training diverged; load another checkpoint, or set "
            "runtime.dtype=float32 if it is float16"
        )


def _nucleus(logits: Tensor, p: float, checks: DeferredChecks) -> tuple[Tensor, Tensor]:
    """`keep_top_p` of all tokens [B, V], without sorting all of them if a few hold enough.

    Returns:
        Ids [B, N], ascending, and their logits, -inf for excluded tokens.
    """
    size = logits.shape[1]
    everything = torch.arange(size, device=logits.device).expand(logits.shape)
    if size <= _MOST_LIKELY or p == 1:
        return everything, keep_top_p(logits, p)
    values, ids = logits.topk(_MOST_LIKELY)  # B N
    total, edge = logits.logsumexp(-1), values[:, -1:]
    held = (values.logsumexp(-1) - total).exp()  # B
    at_edge = (logits == edge).sum(-1) * (edge.squeeze(1) - total).exp()
    if checks.holds((held - at_edge <= p).any()):
        return everything, keep_top_p(logits, p)
    ids, order = ids.sort(-1)
    return ids, keep_top_p(values.gather(1, order), p, missing=1 - held)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Shift logits [B, V] so that the largest is 0, and divide them by the temperature.

    The shift changes no probability and keeps a tiny temperature from overflowing.

    Raises:
        ValueError: the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0 to divide by; got {temperature}")
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(descending: Tensor, k: int) -> Tensor:
    """Set all but the k largest logits [B, N] of each row to -inf; rows must be descending.

    Logits equal to the k-th are kept, so that more than k can remain; k above N keeps all.
    Source: Fan et al. 2018, "Hierarchical Neural Story Generation", section 5.1.

    Raises:
        ValueError: k is below 1.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1; got {k}")
    last = min(k, descending.shape[-1]) - 1
    return descending.masked_fill(descending < descending[..., last : last + 1], -torch.inf)


def keep_top_p(logits: Tensor, p: float, missing: Tensor | None = None) -> Tensor:
    """Set all logits [B, V] outside the nucleus of each row to -inf.

    The nucleus is the smallest set of most probable tokens whose probabilities sum to at least p;
    it is never empty. Of equal logits at its edge, those of later tokens are kept. `missing` [B] is
    the probability of less probable tokens that are not among the logits.
    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.

    Raises:
        ValueError: p is not above 0 and at most 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1; got {p}")
    if p == 1:
        return logits
    ascending, order = logits.sort(stable=True)  # B V
    held = ascending.softmax(-1).cumsum(-1)
    if missing is not None:
        held = missing[:, None] + (1 - missing)[:, None] * held
    outside = held <= 1 - p
    outside[:, -1] = False
    masked = ascending.masked_fill(outside, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, masked)


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Set the logits [B, V] of tokens less probable than min_p times the best one to -inf.

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", section 4.

    Raises:
        ValueError: min_p is not from 0 to 1.
    """
    if not 0 <= min_p <= 1:
        raise ValueError(f"min_p must be from 0 to 1; got {min_p}")
    if min_p == 0:
        return logits
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + math.log(min_p), -torch.inf)


def sample_columns(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Sample a column of each row of probabilities [B, V], given `uniforms` [B] in [0, 1).

    By inverse transform sampling: the first column whose cumulative probability exceeds the
    number. A column of probability 0 is never sampled.

    Returns:
        Indices, int64 [B].
    """
    cumulative = probabilities.cumsum(-1)  # B V
    total = cumulative[:, -1:]  # B 1: 1 up to rounding
    # The product is below the total even for 1 - 2**-53, the largest float64 below 1: the exact
    # product is half a unit in the last place or more below it. So a column is always found, and
    # the cumulative probability rises there.
    return torch.searchsorted(cumulative, uniforms[:, None] * total, right=True).squeeze(-1)  # B


def sample_uniforms(seed: int, prompt_idx: int, sample_idx: int) -> Iterator[float]:
    """The random numbers in [0, 1) of one sample, independent of every other sample's.

    They come from torch's generator on the CPU, in float64. Its seed is the first SEED_BYTES bytes,
    little-endian, of the SHA-256 of the three numbers in decimal, separated by single spaces:
    "1337 0 2".
    """
    digest = hashlib.sha256(f"{seed} {prompt_idx} {sample_idx}".encode("ascii")).digest()
    generator = torch.Generator(device="cpu")
    generator.manual_seed(int.from_bytes(digest[:SEED_BYTES], "little"))
    while True:
        yield from torch.rand(_UNIFORMS, generator=generator, dtype=torch.float64).tolist()
