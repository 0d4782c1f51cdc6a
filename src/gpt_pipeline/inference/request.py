"""What is asked of the model, and what each step gives for it."""

from dataclasses import dataclass
from typing import Literal

from gpt_pipeline.config import Sampling

FinishReason = Literal["stop", "length"]
"""Why a sample ended: end-of-text (or a stop text), or max_new_tokens."""


@dataclass(frozen=True)
class Request:
    """One sample to make.

    Attributes:
        prompt: token ids; empty: the sample begins with end-of-text.
        sampling: how its tokens are drawn.
        seed: of its random numbers, together with the two places.
        prompt_idx: the prompt's place in a run, so that equal prompts get different samples.
        sample_idx: the sample's place among those of its prompt.
    """

    prompt: tuple[int, ...]
    sampling: Sampling
    seed: int
    prompt_idx: int = 0
    sample_idx: int = 0


Alternatives = tuple[tuple[int, float], ...]
"""Token ids with their log-probabilities, the most probable first."""


@dataclass(frozen=True)
class SampledToken:
    """What a step drew for one request.

    Attributes:
        token: its id; None where end-of-text was drawn, which is no token of the sample.
        finish_reason: None while the sample goes on.
        logprob: the token's log-probability under the model, before any setting of the sampling;
            None where `Sampling.logprobs` does not ask for it.
        alternatives: as many of the most probable tokens as `Sampling.logprobs` asks for.
    """

    token: int | None
    finish_reason: FinishReason | None
    logprob: float | None = None
    alternatives: Alternatives = ()
