"""Continuous batching: each step reads one token of every sample and samples the next.

A sample may join between any two steps and leave at any time (Yu et al. 2022, "Orca: A Distributed
Serving System for Transformer-Based Generative Models", section 3.1).
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from gpt_pipeline.config import Sampling
from gpt_pipeline.inference.backends import Backend, DecodingCache, plain_backend
from gpt_pipeline.inference.logprobs import logprobs_of
from gpt_pipeline.inference.prompts import check_prompt_length
from gpt_pipeline.inference.request import Alternatives, FinishReason, Request, SampledToken
from gpt_pipeline.inference.sampling import next_tokens, sample_uniforms
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.transfer import on_device

_PROMPT_TOKENS_PER_STEP = 256
"""Prompt tokens that are read in one step while other samples are decoded."""


@dataclass
class _Row:
    """A sample that is decoded.

    Attributes:
        key: the engine's name for it.
        request: what it is made of.
        tokens: its text so far: prompt and sampled tokens.
        uniforms: its random numbers.
        start: index of the first token that the model still sees.
        num_sampled: how many of the tokens were sampled.
    """

    key: int
    request: Request
    tokens: list[int]
    uniforms: Iterator[float]
    start: int = 0
    num_sampled: int = 0

    @property
    def context(self) -> list[int]:
        """The tokens that the model sees."""
        return self.tokens[self.start :]

    @property
    def sampled(self) -> list[int]:
        """The tokens that were sampled."""
        return self.tokens[len(self.tokens) - self.num_sampled :]


@dataclass
class Engine:
    """Samples the continuations of requests with one model, up to `slots` of them side by side.

    A sample depends on the weights and its request alone, not on the samples that are decoded with
    it: bit-identically on the native backend, elsewhere up to rounding in matrix products. The
    global random state is not touched. When the context is full, decoding continues from its last
    half (max_length // 2 tokens), which is read again. Autocast applies if it is on. For one
    thread.

    Args:
        model: a backend (`prepare`), or a model, which is left as it is (`plain_backend`).
        eot_id: the token that ends a sample.
        slots: samples that may be decoded side by side.
    """

    model: Backend | GPTModel
    eot_id: int
    slots: int
    backend: Backend = field(init=False)
    _rows: list[_Row] = field(default_factory=list, init=False)
    _waiting: list[_Row] = field(default_factory=list, init=False)
    _cache: DecodingCache | None = field(default=None, init=False)
    _keys: Iterator[int] = field(default_factory=itertools.count, init=False)

    def __post_init__(self) -> None:
        model = self.model
        self.backend = plain_backend(model) if isinstance(model, GPTModel) else model

    @property
    def active(self) -> int:
        """Samples that are decoded or wait for their prompt to be read."""
        return len(self._rows) + len(self._waiting)

    @property
    def free(self) -> int:
        """Samples that may be added."""
        return self.slots - self.active

    @property
    def cache_usage(self) -> float:
        """Share of the cache's positions that are in use; any thread may ask."""
        used = sum(len(row.tokens) - row.start for row in [*self._rows])
        return used / (self.slots * self.backend.config.max_length)

    def check(self, request: Request) -> None:
        """Refuse a request that cannot be decoded.

        Raises:
            UserError: the prompt is longer than the model's context.
            ValueError: an id is not in the vocabulary, or max_new_tokens is below 1.
        """
        config = self.backend.config
        check_prompt_length(len(request.prompt), config.max_length)
        for token in (*request.prompt, self.eot_id):
            if not 0 <= token < config.vocab_size:
                raise ValueError(
                    f"token ids must be from 0 to {config.vocab_size - 1}; got {token}"
                )
        if request.sampling.max_new_tokens < 1:
            raise ValueError(
                f"max_new_tokens must be at least 1; got {request.sampling.max_new_tokens}"
            )

    def add(self, request: Request) -> int:
        """Add a sample, whose prompt is read by a later step; gives its key.

        Raises:
            RuntimeError: there is no free slot.
            UserError, ValueError: as `check`.
        """
        self.check(request)
        if self.free < 1:
            raise RuntimeError(f"all {self.slots} slots are taken")
        key = next(self._keys)
        tokens = list(request.prompt) or [self.eot_id]
        uniforms = sample_uniforms(request.seed, request.prompt_idx, request.sample_idx)
        self._waiting.append(_Row(key, request, tokens, uniforms, self._start(tokens)))
        return key

    def _start(self, tokens: list[int]) -> int:
        """Where the last document begins, for a model that attends within documents; else 0."""
        if self.backend.config.attention != "document" or self.eot_id not in tokens:
            return 0
        return len(tokens) - 1 - tokens[::-1].index(self.eot_id)

    def remove(self, key: int) -> None:
        """Drop a sample at once; a key of a sample that has ended is no error."""
        self._waiting = [row for row in self._waiting if row.key != key]
        for index, row in enumerate(self._rows):
            if row.key == key:
                last = self._rows.pop()
                if row is not last:  # active rows stay the first rows of the cache
                    self._rows[index] = last
                    self._filled_cache.copy_row(len(self._rows), index)
                return

    def step(self) -> list[tuple[int, SampledToken]]:
        """Sample one token for each sample; those that end with it are removed.

        Raises:
            UserError: logits are not finite; the samples that were decoded are dropped.
        """
        try:
            with torch.inference_mode():
                sampled = self._read_and_sample()
        except Exception:
            # non-finite values would spoil later samples: a masked value is multiplied by 0
            self._rows, self._cache = [], None
            raise
        for key, one in sampled:
            if one.finish_reason is not None:
                self.remove(key)
        return sampled

    def _read_and_sample(self) -> list[tuple[int, SampledToken]]:
        self._join()
        if not self._rows:
            return []
        cache = self._filled_cache
        for index, row in enumerate(self._rows):
            if cache.lengths[index] == self.backend.config.max_length:
                self._shift_context(index, row)
        return self._sample(cache.next_logits([row.tokens[-1] for row in self._rows]))

    @property
    def _filled_cache(self) -> DecodingCache:
        if self._cache is None:
            self._cache = self.backend.new_cache(self.slots)
        return self._cache

    def _join(self) -> None:
        """Read the prompts of waiting samples, a few at a time while others are decoded."""
        budget = _PROMPT_TOKENS_PER_STEP if self._rows else None
        while self._waiting and (budget is None or budget > 0):
            row, index = self._waiting.pop(0), len(self._rows)
            if index > 0 and self._rows[-1].context == row.context:  # samples of one prompt
                self._filled_cache.copy_row(index - 1, index)
            else:
                self._read(index, row.context)
                budget = None if budget is None else budget - len(row.context)
            self._rows.append(row)

    def _read(self, index: int, tokens: list[int]) -> None:
        """Fill a row with all tokens but the last, which the next step reads."""
        self._filled_cache.read(index, tokens[:-1])

    def _shift_context(self, index: int, row: _Row) -> None:
        """Keep the last half of a full context, whose tokens all get new positions."""
        row.start = len(row.tokens) - max(self.backend.config.max_length // 2, 1)
        self._read(index, row.context)

    def _sample(self, logits: torch.Tensor) -> list[tuple[int, SampledToken]]:
        """The next token of every row; rows of equal settings are sampled together."""
        groups: dict[Sampling, list[int]] = defaultdict(list)
        for index, row in enumerate(self._rows):
            groups[row.request.sampling].append(index)
        sampled: dict[int, SampledToken] = {}
        for sampling, indices in groups.items():
            rows = [self._rows[index] for index in indices]
            some = logits
            if len(groups) > 1:
                some = logits[on_device(torch.tensor(indices), logits.device)]
            texts = [row.tokens for row in rows]
            own = [row.sampled for row in rows] if sampling.penalizes_drawn else None
            uniforms = [next(row.uniforms) for row in rows]
            tokens = next_tokens(some, sampling, uniforms, texts, self.backend.topk, sampled=own)
            logprobs: list[tuple[float | None, Alternatives]] = [(None, ())] * len(rows)
            if sampling.logprobs is not None:
                logprobs = [*logprobs_of(some, tokens, sampling.logprobs)]
            for row, token, (logprob, best) in zip(rows, tokens, logprobs, strict=True):
                sampled[row.key] = self._append(row, token, logprob, best)
        return [(row.key, sampled[row.key]) for row in self._rows]

    def _append(
        self, row: _Row, token: int, logprob: float | None, best: Alternatives
    ) -> SampledToken:
        row.num_sampled += 1
        row.tokens.append(token)
        reason: FinishReason | None = None
        if token == self.eot_id:
            reason = "stop"
        elif row.num_sampled == row.request.sampling.max_new_tokens:
            reason = "length"
        return SampledToken(None if token == self.eot_id else token, reason, logprob, best)
