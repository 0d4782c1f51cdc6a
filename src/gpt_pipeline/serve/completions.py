"""POST /v1/completions: a request's samples, from the queue to the response."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

from fastapi import Request
from fastapi.responses import Response

from gpt_pipeline.config import ServeConfig
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference import SampledToken, TextDecoder, place_tokens, score
from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.events import DONE, EventStream, sse, whole_response
from gpt_pipeline.serve.logprobs import Piece, join_pieces, logprob_lists, piece_of
from gpt_pipeline.serve.metrics import Metrics
from gpt_pipeline.serve.plan import Plan, Prompt, plan
from gpt_pipeline.serve.scheduler import Scheduler
from gpt_pipeline.serve.schemas import Choice, Completion, CompletionRequest, Logprobs, Usage
from gpt_pipeline.serve.served import Served
from gpt_pipeline.serve.ticket import Ticket

_LARGE_BATCH = 64
"""More prompts than this are encoded in a thread, as the event loop streams tokens meanwhile."""

Pieces = list[tuple[int, Piece]]
"""New pieces of some samples, each with the sample's index in the request."""


class Completions:
    """Answers requests with one model."""

    def __init__(
        self, served: Served, scheduler: Scheduler, config: ServeConfig, metrics: Metrics
    ) -> None:
        self._served, self._scheduler, self._config = served, scheduler, config
        self._metrics = metrics

    async def answer(self, given: CompletionRequest, request: Request) -> Response:
        """The response as a whole or as a stream.

        A stream begins with its first token, so that earlier failures have their own status.

        Raises:
            ApiError: the request is refused, or failed before there was anything to send.
        """
        job = await self._plan(given)
        ticket = self._scheduler.submit(job.requests, num_scored=job.num_scored)
        timeout_s = self._config.timeout_s
        timer = asyncio.get_running_loop().call_later(timeout_s, _time_out, ticket, timeout_s)

        answer = _Answer(job, self._served, self._metrics)
        request.state.usage = answer.num_tokens

        def leave() -> None:
            timer.cancel()
            self._scheduler.forget(ticket)
            self._metrics.aborted(answer.num_open)

        streams = False
        try:
            answer.scored = await self._scored(job, ticket)
            if not given.stream:
                return whole_response(await answer.whole(ticket))
            options = given.stream_options
            usage = options is not None and options.include_usage
            events = answer.events(ticket, usage=usage)
            first = await anext(events)
            streams = True
            return EventStream(first, events, leave)
        finally:
            if not streams:
                leave()

    async def _plan(self, given: CompletionRequest) -> Plan:
        make = partial(
            plan,
            given,
            self._served,
            most_tokens=self._config.max_tokens,
            check=self._scheduler.check,
        )
        large = isinstance(given.prompt, list) and len(given.prompt) > _LARGE_BATCH
        return await asyncio.to_thread(make) if large else make()

    async def _scored(self, job: Plan, ticket: Ticket) -> list[Logprobs | None]:
        """Log-probabilities of each prompt's own tokens, if they are asked for."""
        served, logprobs = self._served, job.logprobs
        if job.num_scored == 0 or logprobs is None:
            return [None] * len(job.prompts)

        def scored(prompt: Prompt) -> list[SampledToken]:
            tokens = score(served.backend, prompt.read, logprobs=logprobs)
            own = tokens[len(tokens) - len(prompt.ids) :]  # the first has no log-probability
            return [SampledToken(prompt.ids[0], None), *own[1:]] if own else []

        found: list[Logprobs | None] = []
        for prompt in job.prompts:
            work = self._scheduler.score(ticket, partial(scored, prompt))
            try:
                tokens = await ticket.unless_it_fails(work)
            except UserError as error:
                raise ApiError(500, str(error), code="engine_error") from None
            placed = place_tokens(tokens, served.tokenizer)
            found.append(logprob_lists(placed, served.tokenizer, logprobs))
        return found


class _Answer:
    """One response.

    Attributes:
        scored: log-probabilities of the prompts; to be set before any piece is asked for.
        num_open: samples that have not ended.
    """

    def __init__(self, job: Plan, served: Served, metrics: Metrics) -> None:
        self._job, self._model, self._metrics = job, served.name, metrics
        self._tokenizer = served.tokenizer
        self._began = time.monotonic()
        self.scored: Sequence[Logprobs | None] = ()
        self.num_open = len(job.requests)
        self._id, self._created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
        self._decoders = [
            TextDecoder(
                served.tokenizer,
                job.stops,
                place_tokens=job.logprobs is not None,
                offset=len(job.prompt_of(index).text) if job.echo else 0,
            )
            for index in range(job.num_samples)
        ]
        metrics.asked(self.num_tokens()[0])

    async def whole(self, ticket: Ticket) -> Completion:
        """The whole response."""
        parts: list[list[Piece]] = [[] for _ in self._decoders]
        async for batch in self._pieces(ticket):
            for index, piece in batch:
                parts[index].append(piece)
                if piece.finish_reason is not None:  # the pieces of a large batch take memory
                    parts[index] = [join_pieces(parts[index])]
        with_prompt = self._job.logprobs is not None
        choices = [
            self._choice(number, index, parts[index][0], with_prompt=with_prompt)
            for number, index in enumerate(self._best())
        ]
        return {**self._event(choices), "usage": self._usage()}

    def _best(self) -> list[int]:
        """The samples to return: of each prompt all, or the n with the best mean logprob."""
        job = self._job
        if job.best_of == job.n:
            return [*range(job.num_samples)]
        chosen: list[int] = []
        for first in range(0, job.num_samples, job.best_of):
            indices = range(first, first + job.best_of)
            chosen += sorted(indices, key=lambda index: -self._decoders[index].mean_logprob)[
                : job.n
            ]
        return chosen

    async def events(self, ticket: Ticket, *, usage: bool) -> AsyncIterator[bytes]:
        """Server-sent events, those of one step together."""
        unsent = set(range(len(self._decoders)))
        async for batch in self._pieces(ticket):
            sent = []
            for index, piece in batch:
                if piece.is_visible:
                    choice = self._choice(index, index, piece, with_prompt=index in unsent)
                    unsent.discard(index)
                    event = self._event([choice])
                    sent.append(sse({**event, "usage": None} if usage else event))
            if sent:
                yield b"".join(sent)
        if usage:
            yield sse({**self._event([]), "usage": self._usage()})
        yield DONE

    async def _pieces(self, ticket: Ticket) -> AsyncIterator[Pieces]:
        """Pieces as they arrive; a sample that meets a stop text leaves its slot at once."""
        job, num_left = self._job, len(self._decoders)
        if job.echo or job.max_tokens == 0:
            yield [(index, self._first_piece(index)) for index in range(num_left)]
        if job.max_tokens == 0:
            return
        while num_left > 0:
            batch: Pieces = []
            for index, sampled in await ticket.take():
                decoder = self._decoders[index]
                if decoder.finish_reason is not None:  # sampled before it could leave
                    continue
                piece = piece_of(decoder.push(sampled), self._tokenizer, job.logprobs)
                if piece.finish_reason is not None:
                    num_left -= 1
                    self.num_open -= 1
                    self._metrics.ended(piece.finish_reason, time.monotonic() - self._began)
                    ticket.leave([ticket.samples[index]])
                batch.append((index, piece))
            yield batch

    def _first_piece(self, index: int) -> Piece:
        """The echoed prompt, if it is asked for."""
        job = self._job
        text = job.prompt_of(index).text if job.echo else ""
        logprobs = self.scored[index // job.best_of] if job.echo else None
        return Piece(text, logprobs, "length" if job.max_tokens == 0 else None)

    def _choice(self, number: int, index: int, piece: Piece, *, with_prompt: bool) -> Choice:
        choice: Choice = {
            "index": number,
            "text": piece.text,
            "logprobs": piece.logprobs,
            "finish_reason": piece.finish_reason,
        }
        if with_prompt:
            choice["prompt_token_ids"] = list(self._job.prompt_of(index).ids)
        return choice

    def _event(self, choices: list[Choice]) -> Completion:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": choices,
            "seed": self._job.seed,
        }

    def num_tokens(self) -> tuple[int, int]:
        """Tokens of the prompts, and tokens sampled so far."""
        prompt_tokens = sum(len(prompt.ids) for prompt in self._job.prompts)
        return prompt_tokens, sum(decoder.num_tokens for decoder in self._decoders)

    def _usage(self) -> Usage:
        prompt, sampled = self.num_tokens()
        return {
            "prompt_tokens": prompt,
            "completion_tokens": sampled,
            "total_tokens": prompt + sampled,
        }


def _time_out(ticket: Ticket, timeout_s: float) -> None:
    ticket.fail(_too_late(timeout_s, begun=ticket.begun))


def _too_late(timeout_s: float, *, begun: bool) -> ApiError:
    if begun:
        return ApiError(
            400,
            f"the request took longer than {timeout_s:g} s (serve.timeout_s); ask for fewer tokens",
            code="request_timeout",
        )
    return ApiError(
        429,
        f"the request waited for a slot longer than {timeout_s:g} s (serve.timeout_s); "
        "try again later",
        code="queue_timeout",
        headers={"Retry-After": "1"},
    )
