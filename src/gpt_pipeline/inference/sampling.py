"""From logits to the next token: pure functions, the same result on every device.

The order is repetition penalty, presence and frequency penalty, bias (penalties.py), temperature,
top-k, top-p, min-p, draw. Order and ties agree with transformers' processors and warpers of these
names. The few tokens that top-k leaves are found
on the logits' device, or all are taken; the rest is done in float64, so that what is drawn does not
hang on a device's rounding: on a CUDA device there, which is waited for once a step, else on the
CPU.
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
"""So many tokens are looked at first where only top-p limits them: to sort all takes long."""
_AHEAD = 64
"""Random numbers of a sample that are made at once."""


@dataclass(frozen=True)
class Candidates:
    """What the next tokens of rows are drawn from.

    Attributes:
        ids: of tokens, int64 [B, N], rising in each row.
        probabilities: theirs, float64 [B, N], 0 for what is excluded; all others' are 0.
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
    drawn: Sequence[Sequence[int]] | None = None,
    wait: bool | None = None,
) -> list[int]:
    """Draw one token for each row of logits [B, V], by a number in [0, 1) each.

    Args:
        logits: [B, V], on any device, of any floating type.
        sampling: its settings.
        uniforms: the numbers, greedy or not; see `sample_uniforms`.
        texts: the tokens that each row has already, for the repetition penalty.
        topk: finds the largest logits; whichever does, the tokens are the same.
        drawn: those of them that were generated, for the presence and frequency penalties.
        wait: look at once at what is nearly never so, instead of at the end; None: not on CUDA.

    Raises:
        UserError: if a logit is not finite.
    """
    doubts = DeferredChecks(wait=logits.device.type != "cuda" if wait is None else wait)
    found = candidates(logits, sampling, texts, topk, doubts, drawn=drawn)
    numbers = on_device(torch.tensor(uniforms, dtype=torch.float64), found.ids.device)
    columns = draw(found.probabilities, numbers)
    if not doubts.wait:  # logits that are not finite may lead behind the last
        columns = columns.clamp_(max=found.ids.shape[1] - 1)
    tokens, sure = doubts.settle(found.ids.gather(1, columns[:, None]).squeeze(1))
    if sure:
        return tokens
    return next_tokens(logits, sampling, uniforms, texts, topk, drawn=drawn, wait=True)


def candidates(
    logits: Tensor,
    sampling: Sampling,
    texts: Sequence[Sequence[int]] | None = None,
    topk: TopK = topk_in_blocks,
    doubts: DeferredChecks | None = None,
    *,
    drawn: Sequence[Sequence[int]] | None = None,
) -> Candidates:
    """The distribution that the next token of each row is drawn from.

    With temperature 0 all of it is on the largest logit (the first of equal ones), whatever
    top_k, top_p and min_p say. Arguments as of `next_tokens`; without `doubts` it waits.

    Raises:
        UserError: if a logit is not finite.
        ValueError: if a setting is out of its range.
    """
    doubts = doubts or DeferredChecks(wait=True)
    check_finite(logits, doubts)
    logits = adjusted(logits, sampling, texts, drawn)
    place = logits.device if logits.device.type == "cuda" else torch.device("cpu")
    if sampling.temperature == 0:
        ids = logits.argmax(-1, keepdim=True).to(place)
        return Candidates(ids, torch.ones(ids.shape, dtype=torch.float64, device=place))
    if sampling.top_k is not None:
        ids, values = best(logits, sampling.top_k, topk, doubts)
        falling = apply_temperature(values.to(place).double(), sampling.temperature)
        ids, order = ids.to(place).sort(-1)
        kept = keep_top_k(falling, sampling.top_k).gather(1, order)
        kept = keep_top_p(kept, sampling.top_p)
    else:
        scaled = apply_temperature(logits.to(place).double(), sampling.temperature)
        ids, kept = _enough(scaled, sampling.top_p, doubts)
    return Candidates(ids, keep_min_p(kept, sampling.min_p).softmax(-1))


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """`candidates` written out: float64 [B, V] on the CPU, exactly 0 for what is excluded."""
    found = candidates(logits, sampling)
    spread = torch.zeros(logits.shape, dtype=torch.float64)
    return spread.scatter_(-1, found.ids.cpu(), found.probabilities.cpu())


def check_finite(logits: Tensor, doubts: DeferredChecks) -> None:
    """Raise a UserError for logits that are not finite, at once or when the doubts are settled."""
    total = logits.float().sum()  # one that is not finite shows in it
    if not doubts.ask(total - total != 0):
        return
    bad = logits[~logits.isfinite()]
    if len(bad) > 0:
        raise UserError(
            f"logits must be finite; got {bad[0].item()}: the model's "
            "weights are damaged or its training diverged; load another checkpoint, or set "
            "runtime.dtype=float32 if it is float16"
        )


def _enough(logits: Tensor, p: float, doubts: DeferredChecks) -> tuple[Tensor, Tensor]:
    """`keep_top_p` of all tokens [B, V], without sorting them all where a few hold enough.

    Returns:
        Ids [B, N] rising, and their logits, -inf for what is excluded.
    """
    size = logits.shape[1]
    everything = torch.arange(size, device=logits.device).expand(logits.shape)
    if size <= _MOST_LIKELY or p == 1:
        return everything, keep_top_p(logits, p)
    values, ids = logits.topk(_MOST_LIKELY)  # B N
    total, edge = logits.logsumexp(-1), values[:, -1:]
    held = (values.logsumexp(-1) - total).exp()  # B
    at_edge = (logits == edge).sum(-1) * (edge.squeeze(1) - total).exp()
    if doubts.ask((held - at_edge <= p).any()):
        return everything, keep_top_p(logits, p)
    ids, order = ids.sort(-1)
    return ids, keep_top_p(values.gather(1, order), p, missing=1 - held)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide logits [B, V] by the temperature, after a shift that puts the largest at 0.

    The shift changes no probability and keeps a tiny temperature from overflowing.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0 to divide by; got {temperature}")
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(falling: Tensor, k: int) -> Tensor:
    """Set all but the k largest logits [B, N] of each row to -inf; the rows must be falling.

    Those equal to the k-th are kept, so that more than k can stay; k above N keeps all.
    Source: Fan et al. 2018, "Hierarchical Neural Story Generation", section 5.1.

    Raises:
        ValueError: if k is below 1.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1; got {k}")
    last = min(k, falling.shape[-1]) - 1
    return falling.masked_fill(falling < falling[..., last : last + 1], -torch.inf)


def keep_top_p(logits: Tensor, p: float, missing: Tensor | None = None) -> Tensor:
    """Set all logits [B, V] but the nucleus of each row to -inf.

    The nucleus is the smallest set of most probable tokens that together hold at least p; it is
    never empty. Where it cannot hold all of some equal logits, the later tokens stay. `missing`
    [B] is the probability of less probable tokens that are not among the logits.
    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.

    Raises:
        ValueError: if p is not above 0 and at most 1.
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
    """Set logits [B, V] of tokens less probable than min_p times the best one to -inf.

    Source: Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling", section 4.

    Raises:
        ValueError: if min_p is not from 0 to 1.
    """
    if not 0 <= min_p <= 1:
        raise ValueError(f"min_p must be from 0 to 1; got {min_p}")
    if min_p == 0:
        return logits
    return logits.masked_fill(logits < logits.amax(-1, keepdim=True) + math.log(min_p), -torch.inf)


def draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Pick from each row of probabilities [B, V] by a number of `uniforms` [B] in [0, 1).

    The inverse of the cumulative distribution: the first token whose cumulative probability
    exceeds the number. A token of probability 0 is never picked.

    Returns:
        [B] int64.
    """
    cumulative = probabilities.cumsum(-1)  # B V
    total = cumulative[:, -1:]  # B 1: 1 up to rounding
    # The product is below the total even for 1 - 2**-53, the largest float64 below 1: the exact
    # one is off by half a unit in the last place or more. So a token is always found, and it is
    # one at which the cumulative probability rises.
    return torch.searchsorted(cumulative, uniforms[:, None] * total, right=True).squeeze(-1)  # B


def sample_uniforms(seed: int, prompt_idx: int, sample_idx: int) -> Iterator[float]:
    """The random numbers in [0, 1) of one sample, independent of those of every other.

    They are those of torch's generator on a CPU in float64. Its seed is the first SEED_BYTES bytes,
    little-endian, of the SHA-256 of the three numbers in decimal with single spaces between:
    "1337 0 2".
    """
    digest = hashlib.sha256(f"{seed} {prompt_idx} {sample_idx}".encode("ascii")).digest()
    generator = torch.Generator(device="cpu")
    generator.manual_seed(int.from_bytes(digest[:SEED_BYTES], "little"))
    while True:
        yield from torch.rand(_AHEAD, generator=generator, dtype=torch.float64).tolist()
