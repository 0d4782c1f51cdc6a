"""From logits to the next token: pure functions, the same result on every device.

The order is temperature, top-k, top-p, draw. Order and ties agree with transformers'
TemperatureLogitsWarper, TopKLogitsWarper and TopPLogitsWarper. The arithmetic is done on the CPU
in float64: what is drawn then does not hang on a device's rounding.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError

SEED_BYTES = 8


def next_tokens(
    logits: Tensor, sampling: Sampling, generators: Sequence[torch.Generator]
) -> list[int]:
    """Draw one token for each row of logits [B, V], each with its own generator.

    Each generator moves on by one number, greedy or not.

    Raises:
        UserError: if a logit is not finite.
    """
    uniforms = [torch.rand((), generator=each, dtype=torch.float64) for each in generators]
    tokens: list[int] = draw(probabilities(logits, sampling), torch.stack(uniforms)).tolist()
    return tokens


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution that the next token of each row is drawn from.

    With temperature 0 all of it is on the greatest logit (the first of equal ones), whatever
    top_k and top_p say.

    Args:
        logits: [B, V], on any device, of any floating type.
        sampling: temperature, top_k (None: all) and top_p (1: all).

    Returns:
        [B, V] float64 on the CPU, exactly 0 for what is excluded.

    Raises:
        UserError: if a logit is not finite.
        ValueError: if a setting is out of its range.
    """
    logits = logits.to("cpu").double()
    if not logits.isfinite().all():
        raise UserError(
            f"logits must be finite; got {logits[~logits.isfinite()][0].item()}: the model's "
            "weights are damaged or its training diverged; load another checkpoint, or set "
            "runtime.dtype=float32 if it is float16"
        )
    if sampling.temperature == 0:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    logits = apply_temperature(logits, sampling.temperature)
    if sampling.top_k is not None:
        logits = keep_top_k(logits, sampling.top_k)
    return keep_top_p(logits, sampling.top_p).softmax(-1)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide logits [B, V] by the temperature, after a shift that puts the greatest at 0.

    The shift changes no probability and keeps a tiny temperature from overflowing.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0 to divide by; got {temperature}")
    return (logits - logits.amax(-1, keepdim=True)) / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Set all but the k greatest logits [B, V] of each row to -inf.

    Those equal to the k-th are kept, so that more than k can stay; k above V keeps all.
    Source: Fan et al. 2018, "Hierarchical Neural Story Generation", section 5.1.

    Raises:
        ValueError: if k is below 1.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1; got {k}")
    weakest = logits.topk(min(k, logits.shape[-1])).values[..., -1:]  # B 1
    return logits.masked_fill(logits < weakest, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Set all logits [B, V] but the nucleus of each row to -inf.

    The nucleus is the smallest set of most probable tokens that together hold at least p; it is
    never empty. Where it cannot hold all of some equal logits, the later tokens stay.
    Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.

    Raises:
        ValueError: if p is not above 0 and at most 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be above 0 and at most 1; got {p}")
    if p == 1:
        return logits
    # Only columns that top-k left in some row: sorting 50 numbers is cheap, 50,000 are not.
    columns = (logits > -torch.inf).any(0).nonzero().squeeze(-1)  # V' <= V
    ascending, order = logits[:, columns].sort(stable=True)  # B V'
    outside = ascending.softmax(-1).cumsum(-1) <= 1 - p
    outside[:, -1] = False
    masked = ascending.masked_fill(outside, -torch.inf)
    kept = torch.full_like(logits, -torch.inf)
    return kept.scatter_(-1, columns[order], masked)


def draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Pick from each row of probabilities [B, V] by a number of `uniforms` [B] in [0, 1).

    The inverse of the cumulative distribution: the first token whose cumulative probability
    exceeds the number. A token of probability 0 is never picked.

    Returns:
        [B] int64.
    """
    cumulative = probabilities.cumsum(-1)  # B V
    total = cumulative[:, -1:]  # B 1: 1 up to rounding
    # The product is below the total even for 1 - 2**-53, the greatest float64 below 1: the exact
    # one is off by half a unit in the last place or more. So a token is always found, and it is
    # one at which the cumulative probability rises.
    return torch.searchsorted(cumulative, uniforms[:, None] * total, right=True).squeeze(-1)  # B


def sample_generator(seed: int, prompt_idx: int, sample_idx: int) -> torch.Generator:
    """The random numbers of one sample, independent of those of every other.

    The generator's seed is the first SEED_BYTES bytes, little-endian, of the SHA-256 of the three
    numbers in decimal with single spaces between: "1337 0 2".
    """
    digest = hashlib.sha256(f"{seed} {prompt_idx} {sample_idx}".encode("ascii")).digest()
    generator = torch.Generator(device="cpu")
    generator.manual_seed(int.from_bytes(digest[:SEED_BYTES], "little"))
    return generator
