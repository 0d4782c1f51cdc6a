"""Many samples of many prompts: made side by side, given out in their order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpt_pipeline.config import Sampling
from gpt_pipeline.generation import Engine, Request, TextSample
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import Tokenizer

MOST_AT_ONCE = 32
"""Samples side by side: more gain little on a CPU, and take their memory."""


@dataclass(frozen=True)
class Made:
    """A sample of one of the prompts."""

    prompt: str
    sample: TextSample


def make_samples(
    model: GPTModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    seed: int,
    num_samples: int,
) -> Iterator[Made]:
    """Every sample of every prompt, in the order of the prompts, each as soon as it can be.

    Raises:
        UserError: a prompt is too long, or the logits are not finite.
    """
    requests = _requests(tokenizer, prompts, sampling, seed=seed, num_samples=num_samples)
    total = len(prompts) * num_samples
    engine = Engine(model, tokenizer.eot_id, min(total, MOST_AT_ONCE))
    running: dict[int, tuple[int, Made]] = {}
    done: dict[int, Made] = {}
    started = given = 0
    while given < total:
        while engine.free and started < total:
            prompt, request = next(requests)
            made = Made(prompt, TextSample(tokenizer.stream(), sampling.stop))
            running[engine.add(request)] = (started, made)
            started += 1
        for key, drawn in engine.step():
            place, made = running[key]
            made.sample.take(drawn)
            if made.sample.finish_reason is not None:
                engine.remove(key)
                done[place] = running.pop(key)[1]
        while given in done:
            yield done.pop(given)
            given += 1


def _requests(
    tokenizer: Tokenizer, prompts: Sequence[str], sampling: Sampling, *, seed: int, num_samples: int
) -> Iterator[tuple[str, Request]]:
    for prompt_idx, prompt in enumerate(prompts):
        ids = tuple(tokenizer.encode(prompt))
        for sample_idx in range(num_samples):
            yield prompt, Request(ids, sampling, seed, prompt_idx, sample_idx)
