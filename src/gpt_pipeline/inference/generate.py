"""Samples of one prompt, step by step: the engine with a single prompt in it.

`generate` yields as it goes, for streaming; `collect` turns that into whole samples.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gpt_pipeline.config import Sampling
from gpt_pipeline.inference.engine import Engine
from gpt_pipeline.inference.request import Alternatives, FinishReason, Request, SampledToken
from gpt_pipeline.model import GPTModel


@dataclass(frozen=True)
class Step:
    """What one step brought, an entry for each sample; None for one that has ended before."""

    drawn: tuple[SampledToken | None, ...]

    @property
    def tokens(self) -> tuple[int | None, ...]:
        """Token ids; None also where end-of-text was drawn, which is no token of a sample."""
        return tuple(None if one is None else one.token for one in self.drawn)


@dataclass(frozen=True)
class Sample:
    """One finished sample: its tokens without prompt and end-of-text, and why it ended.

    Attributes:
        tokens: their ids.
        finish_reason: see `FinishReason`.
        logprobs: those of the tokens with their alternatives, where `Sampling.logprobs` asks.
    """

    tokens: tuple[int, ...]
    finish_reason: FinishReason
    logprobs: tuple[tuple[float, Alternatives], ...] = ()


def generate(
    model: GPTModel,
    prompt: Sequence[int],
    *,
    sampling: Sampling,
    eot_id: int,
    seed: int,
    prompt_idx: int = 0,
    num_samples: int = 1,
) -> Iterator[Step]:
    """Go on from a prompt, step by step, until all samples have ended.

    What a sample depends on, and what the model is left like: see `Engine`.

    Args:
        model: on any device; autocast applies if it is on while the steps are taken.
        prompt: token ids; empty: generation starts from eot_id.
        sampling: its settings; stop texts are not looked for, as these are tokens.
        eot_id: the token that ends a sample.
        seed: of all samples; see `sample_uniforms`.
        prompt_idx: the prompt's place in the run, so that equal prompts get different samples.
        num_samples: samples to draw at once.

    Raises:
        UserError: if the prompt is longer than the model's context (at once), or if the logits
            are not finite (on the way).
        ValueError: if an id is not in the vocabulary, or a count is below 1.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {num_samples}")
    engine = Engine(model, eot_id, slots=num_samples)
    keys = [
        engine.add(Request(tuple(prompt), sampling, seed, prompt_idx, idx))
        for idx in range(num_samples)
    ]
    return _steps(engine, keys)


def _steps(engine: Engine, keys: Sequence[int]) -> Iterator[Step]:
    while engine.active:
        drawn = dict(engine.step())
        yield Step(tuple(drawn.get(key) for key in keys))


def collect(steps: Iterable[Step]) -> list[Sample]:
    """Take all steps, and give the samples whole."""
    drawn: list[list[SampledToken]] = []
    for step in steps:
        drawn = drawn or [[] for _ in step.drawn]
        for sample, one in zip(drawn, step.drawn, strict=True):
            if one is not None:
                sample.append(one)
    return [finished(sample) for sample in drawn if sample and sample[-1].finish_reason]


def finished(drawn: Sequence[SampledToken]) -> Sample:
    """The sample of what was drawn for it, the last of which ended it."""
    reason = drawn[-1].finish_reason
    assert reason is not None
    kept = [one for one in drawn if one.token is not None]
    return Sample(
        tokens=tuple(one.token for one in kept if one.token is not None),
        finish_reason=reason,
        logprobs=tuple((one.logprob, one.alternatives) for one in kept if one.logprob is not None),
    )
