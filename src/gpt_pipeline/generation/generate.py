"""Generation: read the prompt (prefill), then draw and read one token after the other (decode).

`generate` yields as it goes, for streaming; `collect` turns that into whole samples.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.generation.sampling import next_tokens, sample_generator
from gpt_pipeline.model import GPTModel, KVCache

FinishReason = Literal["stop", "length"]
"""Why a sample ended: the model said end-of-text, or max_new_tokens was reached."""


@dataclass(frozen=True)
class Step:
    """What one step brought, an entry for each sample.

    `tokens` has None for a sample that has ended; end-of-text itself is not a token of the
    sample, so that the step that draws it has None too. `finish_reasons` has None for a sample
    that goes on, and keeps the reason of one that has ended.
    """

    tokens: tuple[int | None, ...]
    finish_reasons: tuple[FinishReason | None, ...]


@dataclass(frozen=True)
class Sample:
    """One finished sample: its tokens without prompt and end-of-text, and why it ended."""

    tokens: tuple[int, ...]
    finish_reason: FinishReason


def generate(
    model: GPTModel,
    prompt: Sequence[int],
    *,
    sampling: Sampling,
    eot_id: int,
    seed: int,
    prompt_idx: int = 0,
    num_samples: int = 1,
    use_cache: bool = True,
) -> Iterator[Step]:
    """Go on from a prompt, step by step, until all samples have ended.

    A sample depends on the weights, the prompt, `sampling`, `seed`, `prompt_idx` and its own
    index alone, not on what is sampled beside it; the global random state is not touched. When
    the context is full, the model goes on with the last half of it (max_length // 2 tokens),
    read again. The model computes in evaluation mode without gradients, and is back in its own
    mode whenever a step is yielded.

    Args:
        model: on any device; autocast applies if it is on while the steps are taken.
        prompt: token ids; empty: generation starts from eot_id.
        sampling: temperature, top_k, top_p, and max_new_tokens for each sample.
        eot_id: the token that ends a sample.
        seed: of all samples; see `sample_generator`.
        prompt_idx: the prompt's place in the run, so that equal prompts get different samples.
        num_samples: samples to draw at once.
        use_cache: False reads the whole context again for each token: slow, the same tokens.

    Raises:
        UserError: if the prompt is longer than the model's context (at once), or if the logits
            are not finite (on the way).
        ValueError: if an id is not in the vocabulary, or a count is below 1.
    """
    _check(model, [*prompt, eot_id], sampling.max_new_tokens, num_samples)
    context = _Context(model, list(prompt) or [eot_id], num_samples, use_cache)
    generators = [sample_generator(seed, prompt_idx, idx) for idx in range(num_samples)]
    return _steps(context, sampling, eot_id, generators)


def collect(steps: Iterable[Step]) -> list[Sample]:
    """Take all steps, and give the samples whole."""
    tokens: list[list[int]] = []
    reasons: tuple[FinishReason | None, ...] = ()
    for step in steps:
        tokens = tokens or [[] for _ in step.tokens]
        for sample, token in zip(tokens, step.tokens, strict=True):
            if token is not None:
                sample.append(token)
        reasons = step.finish_reasons
    return [
        Sample(tuple(sample), reason)
        for sample, reason in zip(tokens, reasons, strict=True)
        if reason is not None
    ]


def _steps(
    context: "_Context",
    sampling: Sampling,
    eot_id: int,
    generators: Sequence[torch.Generator],
) -> Iterator[Step]:
    reasons: list[FinishReason | None] = [None] * len(generators)
    for num_drawn in range(1, sampling.max_new_tokens + 1):
        drawn = next_tokens(context.logits(), sampling, generators)
        tokens: list[int | None] = [None] * len(generators)
        for idx, token in enumerate(drawn):
            if reasons[idx] is not None:
                continue
            if token == eot_id:
                reasons[idx] = "stop"
                continue
            tokens[idx] = token
            if num_drawn == sampling.max_new_tokens:
                reasons[idx] = "length"
        yield Step(tuple(tokens), tuple(reasons))
        if None not in reasons:
            return
        context.append(drawn)  # rows do not see each other: what an ended one reads is harmless


class _Context:
    """The tokens that the model sees now, and its logits for the next one of each sample."""

    def __init__(
        self, model: GPTModel, prompt: Sequence[int], num_samples: int, use_cache: bool
    ) -> None:
        self.model = model
        self.num_samples = num_samples
        self.use_cache = use_cache
        self.tokens = torch.tensor([prompt])  # 1 T, later B T: samples share their prompt
        self.cache: KVCache | None = None

    def append(self, tokens: Sequence[int]) -> None:
        """Add one token to each sample; a full context first moves on by half."""
        max_length = self.model.architecture.max_length
        history = self.tokens.expand(self.num_samples, -1)  # B T
        self.tokens = torch.cat([history, torch.tensor(tokens)[:, None]], dim=1)  # B T+1
        if self.tokens.shape[1] > max_length:
            self.tokens = self.tokens[:, -max(max_length // 2, 1) :]
            self.cache = None  # every token's position is another one now

    def logits(self) -> Tensor:
        """The logits [B, V] after the last token."""
        with _inference(self.model):
            logits = self._read()  # B 1 V, or 1 1 V for the prompt
        return logits[:, -1].expand(self.num_samples, -1)

    def _read(self) -> Tensor:
        batch_size = self.tokens.shape[0]
        if not self.use_cache:
            return self._run(self.tokens, None)
        if self.cache is None:
            self.cache = self.model.new_cache(batch_size)
        elif batch_size != self.cache.batch_size:  # the prompt has been read, once for all
            self.cache = self.cache.expand(batch_size)
        return self._run(self.tokens[:, self.cache.length :], self.cache)

    def _run(self, tokens: Tensor, cache: KVCache | None) -> Tensor:
        logits: Tensor = self.model(tokens.to(self.model.device), cache, last_only=True)
        return logits


@contextmanager
def _inference(model: GPTModel) -> Iterator[None]:
    """Evaluation mode without gradients; the model's own mode is restored."""
    was_training = model.training
    if was_training:
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()


def _check(model: GPTModel, ids: Sequence[int], max_new_tokens: int, num_samples: int) -> None:
    num_tokens = len(ids) - 1  # the last one is end-of-text
    max_length, vocab_size = model.architecture.max_length, model.architecture.vocab_size
    if num_tokens > max_length:
        raise UserError(
            f"the prompt must be at most {max_length} tokens (model.max_length); "
            f"got {num_tokens}; shorten it, or use a model with a longer context"
        )
    for token in ids:
        if not 0 <= token < vocab_size:
            raise ValueError(f"token ids must be from 0 to {vocab_size - 1}; got {token}")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1; got {max_new_tokens}")
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1; got {num_samples}")
