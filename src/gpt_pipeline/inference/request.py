"""What the engine is asked for, and what each of its steps gives."""

from dataclasses import dataclass
from typing import Literal

from gpt_pipeline.config import Sampling

FinishReason = Literal["stop", "length"]
"""Why a sample ended: end-of-text (or a stop text), or max_new_tokens."""


@dataclass(frozen=True)
class Request:
    """One sample to decode.

    Attributes:
        prompt: token ids; empty: the sample begins with end-of-text.
        sampling: how its tokens are sampled.
        seed: of its random numbers, together with the two indices.
        prompt_idx: the prompt's index in a run, so that equal prompts get different samples.
        sample_idx: the sample's index among those of its prompt.
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
    """The token that a step sampled for one request.

    Attributes:
        token: its id; None: end-of-text, which is no token of the sample.
        finish_reason: None while the sample continues.
        logprob: the token's log-probability under the model, without the settings of `Sampling`;
            None if `Sampling.logprobs` is None.
        alternatives: the most probable tokens, as many as `Sampling.logprobs` asks for.
    """

    token: int | None
    finish_reason: FinishReason | None
    logprob: float | None = None
    alternatives: Alternatives = ()
