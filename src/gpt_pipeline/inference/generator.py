"""Text in, text out: one model with its tokenizer, for commands and training runs."""

import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from gpt_pipeline.config import Sampling
from gpt_pipeline.inference.backends import Backend, plain_backend
from gpt_pipeline.inference.engine import Engine
from gpt_pipeline.inference.prompts import Prompt, document_ids
from gpt_pipeline.inference.request import FinishReason, Request, SampledToken
from gpt_pipeline.inference.text import TextDecoder, TextPiece
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import Tokenizer

Pieces = Generator[str, None, None]
"""The pieces of a text."""

MAX_BATCH_SIZE = 32
"""Samples decoded side by side: more gain little on a CPU, and cost memory."""


@dataclass
class Sample:
    """A sample of a prompt.

    Attributes:
        prompt: its text.
        text: the continuation, which ends before a stop text.
        sampled: all sampled tokens, including those of a stop text and end-of-text.
        finish_reason: None while the sample continues.
    """

    prompt: str
    text: str = ""
    sampled: list[SampledToken] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def tokens(self) -> list[int]:
        """The sampled ids without end-of-text."""
        return [one.token for one in self.sampled if one.token is not None]

    def append(self, sampled: SampledToken, piece: TextPiece) -> None:
        """Add a token and its text."""
        self.sampled.append(sampled)
        self.text += piece.text
        self.finish_reason = piece.finish_reason


@dataclass(frozen=True)
class TextGenerator:
    """Continues texts with one model.

    A sample is a function of weights, prompt, settings, seed, and the indices of prompt and sample.
    """

    backend: Backend
    tokenizer: Tokenizer

    @cached_property
    def _engine(self) -> Engine:
        """For one text at a time; kept, because CUDA graphs belong to its cache."""
        return Engine(self.backend, self.tokenizer.eot_id, slots=1)

    def stream(self, prompt: str, sampling: Sampling, seed: int) -> Pieces:
        """The pieces of one sample as they are decoded; a piece never ends within a character.

        Close it before the next one if it is not read to its end.

        Raises:
            UserError: the prompt is too long (at once), or logits are not finite (later).
        """
        ids = self._read_ids(self.tokenizer.encode(prompt), sampling)
        key = self._engine.add(Request(ids, sampling, seed))
        return self._pieces(key, TextDecoder(self.tokenizer, sampling.stop))

    def _pieces(self, key: int, decoder: TextDecoder) -> Pieces:
        try:
            while decoder.finish_reason is None:
                ((_, sampled),) = self._engine.step()
                yield decoder.push(sampled).text
        finally:
            self._engine.remove(key)

    def samples(
        self, prompts: Sequence[Prompt], sampling: Sampling, seed: int, *, num_samples: int = 1
    ) -> Iterator[Sample]:
        """`num_samples` samples of each prompt, in order, each as soon as it is finished.

        Up to MAX_BATCH_SIZE of them are decoded side by side.

        Raises:
            UserError: logits are not finite.
        """
        requests = (
            (prompt.text, Request(ids, sampling, seed, prompt_idx, sample_idx))
            for prompt_idx, prompt in enumerate(prompts)
            for ids in [self._read_ids(prompt.ids, sampling)]
            for sample_idx in range(num_samples)
        )
        total = len(prompts) * num_samples
        engine = Engine(self.backend, self.tokenizer.eot_id, min(total, MAX_BATCH_SIZE))
        running: dict[int, tuple[int, Sample, TextDecoder]] = {}
        finished: dict[int, Sample] = {}
        started = yielded = 0
        while yielded < total:
            for text, request in itertools.islice(requests, engine.free):
                decoder = TextDecoder(self.tokenizer, sampling.stop)
                running[engine.add(request)] = (started, Sample(text), decoder)
                started += 1
            for key, sampled in engine.step():
                index, sample, decoder = running[key]
                sample.append(sampled, decoder.push(sampled))
                if sample.finish_reason is not None:
                    engine.remove(key)
                    finished[index] = sample
                    del running[key]
            while yielded in finished:
                yield finished.pop(yielded)
                yielded += 1

    def _read_ids(self, ids: Sequence[int], sampling: Sampling) -> tuple[int, ...]:
        """What the model reads of a prompt's ids."""
        return document_ids(
            ids,
            add_bos_token=sampling.add_bos_token,
            eot_id=self.tokenizer.eot_id,
            max_length=self.backend.config.max_length,
        )


def one_sample(
    model: GPTModel, tokenizer: Tokenizer, prompt: str, sampling: Sampling, seed: int
) -> str:
    """A prompt and one sample of it, from a model whose weights may change between calls.

    Raises:
        UserError: the prompt is too long, or logits are not finite.
    """
    generator = TextGenerator(plain_backend(model), tokenizer)
    return prompt + "".join(generator.stream(prompt, sampling, seed))
