"""Many samples at once: each step reads a token of every one and draws the next.

A sample may join between any two steps and leave at any time (continuous batching: Yu et al. 2022,
"Orca: A Distributed Serving System for Transformer-Based Generative Models", section 3.1).
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference.cuda_graphs import CudaGraphs
from gpt_pipeline.inference.kv_cache import KVCache
from gpt_pipeline.inference.logprobs import logprobs_of
from gpt_pipeline.inference.request import Alternatives, FinishReason, Request, SampledToken
from gpt_pipeline.inference.sampling import next_tokens, sample_uniforms
from gpt_pipeline.inference.top_k import TopK, topk_in_blocks
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.transfer import on_device

_READ_BESIDE_OTHERS = 256
"""Prompt tokens that are read in one step while other samples wait for theirs."""


@dataclass
class _Row:
    """A sample at work: its text so far, from where on the model sees it, how far it is."""

    key: int
    request: Request
    tokens: list[int]
    uniforms: Iterator[float]
    start: int = 0
    num_drawn: int = 0

    @property
    def context(self) -> list[int]:
        """What the model sees."""
        return self.tokens[self.start :]

    @property
    def drawn(self) -> list[int]:
        """What was generated."""
        return self.tokens[len(self.tokens) - self.num_drawn :]


@dataclass
class Engine:
    """Makes samples of requests with one model, up to `slots` of them side by side.

    A sample depends on the weights and its request alone, not on what is made beside it: to the
    last bit where the model has a `decoder`, elsewhere up to the rounding of its products. The
    global random state is not touched. When the context is full, the model goes on with the last
    half of it (max_length // 2 tokens), read again. The model computes in evaluation mode without
    gradients, and is back in its own mode between steps; autocast applies if it is on. For one
    thread.
    """

    model: GPTModel
    eot_id: int
    slots: int
    _rows: list[_Row] = field(default_factory=list, init=False)
    _waiting: list[_Row] = field(default_factory=list, init=False)
    _cache: KVCache | None = field(default=None, init=False)
    _steps: CudaGraphs | None = field(default=None, init=False)
    _keys: Iterator[int] = field(default_factory=itertools.count, init=False)

    @property
    def active(self) -> int:
        """Samples at work, those that wait for their prompt to be read included."""
        return len(self._rows) + len(self._waiting)

    @property
    def free(self) -> int:
        """Samples that may be added."""
        return self.slots - self.active

    @property
    def cache_usage(self) -> float:
        """Share of the cache's positions that samples at work take; another thread may ask."""
        used = sum(len(row.tokens) - row.start for row in [*self._rows])
        return used / (self.slots * self.model.config.max_length)

    def check(self, request: Request) -> None:
        """Refuse what cannot be made.

        Raises:
            UserError: the prompt is longer than the model's context.
            ValueError: an id is not in the vocabulary, or there is nothing to make.
        """
        shape, number = self.model.config, len(request.prompt)
        if number > shape.max_length:
            raise UserError(
                f"the prompt must be at most {shape.max_length} tokens (model.max_length); "
                f"got {number}; shorten it, or use a model with a longer context"
            )
        for token in (*request.prompt, self.eot_id):
            if not 0 <= token < shape.vocab_size:
                raise ValueError(f"token ids must be from 0 to {shape.vocab_size - 1}; got {token}")
        if request.sampling.max_new_tokens < 1:
            raise ValueError(
                f"max_new_tokens must be at least 1; got {request.sampling.max_new_tokens}"
            )

    def add(self, request: Request) -> int:
        """Take a sample in; its prompt is read in a step to come. Gives its key.

        Raises:
            RuntimeError: there is no free slot.
        """
        self.check(request)
        if self.free < 1:
            raise RuntimeError(f"all {self.slots} slots are taken")
        key = next(self._keys)
        tokens = list(request.prompt) or [self.eot_id]
        uniforms = sample_uniforms(request.seed, request.prompt_idx, request.sample_idx)
        self._waiting.append(_Row(key, request, tokens, uniforms, self._first_seen(tokens)))
        return key

    def _first_seen(self, tokens: list[int]) -> int:
        """Where the last document begins, for a model that sees no other; else the beginning."""
        if self.model.config.attention != "document" or self.eot_id not in tokens:
            return 0
        return len(tokens) - 1 - tokens[::-1].index(self.eot_id)

    def remove(self, key: int) -> None:
        """Let a sample go at once; one that has ended already is no error."""
        self._waiting = [row for row in self._waiting if row.key != key]
        for place, row in enumerate(self._rows):
            if row.key == key:
                last = self._rows.pop()
                if row is not last:  # the rows at work stay the first of the cache
                    self._rows[place] = last
                    self._held.copy_row(len(self._rows), place)
                return

    def step(self) -> list[tuple[int, SampledToken]]:
        """Draw a token for each sample at work; those that end with it are removed.

        Raises:
            UserError: logits are not finite; the samples at work are gone then.
        """
        try:
            with _inference(self.model):
                drawn = self._read_and_draw()
        except Exception:
            # what is not finite would spoil samples to come: a mask leaves 0 times infinity
            self._rows, self._cache, self._steps = [], None, None
            raise
        for key, one in drawn:
            if one.finish_reason is not None:
                self.remove(key)
        return drawn

    def _read_and_draw(self) -> list[tuple[int, SampledToken]]:
        self._join()
        if not self._rows:
            return []
        for place, row in enumerate(self._rows):
            if self._held.lengths[place] == self.model.config.max_length:
                self._move_on(place, row)
        self._steps = self._steps or CudaGraphs(self.model, self._held)
        return self._draw(self._steps.logits([row.tokens[-1] for row in self._rows]))

    @property
    def _held(self) -> KVCache:
        if self._cache is None:
            self._cache = KVCache.for_model(self.model, self.slots)
        return self._cache

    @property
    def _topk(self) -> TopK:
        decoder = self.model.decoder
        return topk_in_blocks if decoder is None else decoder.topk

    def _join(self) -> None:
        """Read the prompts of those that wait, a few at a time while others are at work."""
        budget = _READ_BESIDE_OTHERS if self._rows else None
        while self._waiting and (budget is None or budget > 0):
            row, place = self._waiting.pop(0), len(self._rows)
            if place > 0 and self._rows[-1].context == row.context:  # samples of one prompt
                self._held.copy_row(place - 1, place)
            else:
                self._read(place, row.context)
                budget = None if budget is None else budget - len(row.context)
            self._rows.append(row)

    def _read(self, place: int, tokens: list[int]) -> None:
        """Fill a row with all tokens but the last, which the next step reads."""
        row = self._held.rows(place, 1)
        row.lengths[:] = 0
        if len(tokens) > 1:
            self.model.hidden_states(torch.tensor([tokens[:-1]]).to(self.model.device), row)

    def _move_on(self, place: int, row: _Row) -> None:
        """Half of a full context: every token's position is another one now."""
        row.start = len(row.tokens) - max(self.model.config.max_length // 2, 1)
        self._read(place, row.context)

    def _draw(self, logits: torch.Tensor) -> list[tuple[int, SampledToken]]:
        """The next token of every row, those of equal settings together."""
        groups: dict[Sampling, list[int]] = defaultdict(list)
        for place, row in enumerate(self._rows):
            groups[row.request.sampling].append(place)
        drawn: dict[int, SampledToken] = {}
        for sampling, places in groups.items():
            rows = [self._rows[place] for place in places]
            some = logits
            if len(groups) > 1:
                some = logits[on_device(torch.tensor(places), logits.device)]
            texts = [row.tokens for row in rows]
            ours = [row.drawn for row in rows] if sampling.penalizes_drawn else None
            uniforms = [next(row.uniforms) for row in rows]
            tokens = next_tokens(some, sampling, uniforms, texts, self._topk, drawn=ours)
            told: list[tuple[float | None, Alternatives]] = [(None, ())] * len(rows)
            if sampling.logprobs is not None:
                told = [*logprobs_of(some, tokens, sampling.logprobs)]
            for row, token, (own, best) in zip(rows, tokens, told, strict=True):
                drawn[row.key] = self._taken(row, token, own, best)
        return [(row.key, drawn[row.key]) for row in self._rows]

    def _taken(self, row: _Row, token: int, own: float | None, best: Alternatives) -> SampledToken:
        row.num_drawn += 1
        row.tokens.append(token)
        reason: FinishReason | None = None
        if token == self.eot_id:
            reason = "stop"
        elif row.num_drawn == row.request.sampling.max_new_tokens:
            reason = "length"
        return SampledToken(None if token == self.eot_id else token, reason, own, best)


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
