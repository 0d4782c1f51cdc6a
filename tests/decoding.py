"""Samples of one prompt from an `Engine`, as lists of tokens: for the tests of several parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpt_pipeline.config import Sampling
from gpt_pipeline.inference import (
    Alternatives,
    Backend,
    Engine,
    FinishReason,
    Request,
    SampledToken,
)
from gpt_pipeline.model import GPTModel


@dataclass(frozen=True)
class Sample:
    """A finished sample, without prompt and end-of-text."""

    tokens: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[tuple[float, Alternatives], ...] = ()


def decoding_steps(
    model: Backend | GPTModel,
    prompt: Sequence[int],
    *,
    sampling: Sampling,
    eot_id: int,
    seed: int,
    prompt_idx: int = 0,
    num_samples: int = 1,
) -> Iterator[tuple[SampledToken | None, ...]]:
    """What each step samples for each sample; None for a sample that has ended."""
    engine = Engine(model, eot_id, slots=num_samples)
    keys = [
        engine.add(Request(tuple(prompt), sampling, seed, prompt_idx, idx))
        for idx in range(num_samples)
    ]
    return _steps(engine, keys)


def _steps(engine: Engine, keys: Sequence[int]) -> Iterator[tuple[SampledToken | None, ...]]:
    while engine.active:
        sampled = dict(engine.step())
        yield tuple(sampled.get(key) for key in keys)


def decode(model: Backend | GPTModel, prompt: Sequence[int], **options) -> list[Sample]:
    """All samples; the options are those of `decoding_steps`."""
    return finished_samples([*decoding_steps(model, prompt, **options)])


def finished_samples(steps: Sequence[tuple[SampledToken | None, ...]]) -> list[Sample]:
    """The samples that these steps finished."""
    rows = [[one for one in row if one is not None] for row in zip(*steps, strict=True)]
    return [finished(row) for row in rows if row[-1].finish_reason]


def finished(sampled: Sequence[SampledToken]) -> Sample:
    """The sample of these tokens, the last of which ended it."""
    reason = sampled[-1].finish_reason
    assert reason is not None
    kept = [one for one in sampled if one.token is not None]
    return Sample(
        tokens=tuple(one.token for one in kept),
        finish_reason=reason,
        logprobs=tuple((one.logprob, one.alternatives) for one in kept if one.logprob is not None),
    )
