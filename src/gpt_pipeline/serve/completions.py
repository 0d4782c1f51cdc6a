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
from gpt_pipeline.inference import SampledToken, score
from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.events import DONE, EventStream, sse, whole_response
from gpt_pipeline.serve.metrics import Metrics
from gpt_pipeline.serve.plan import Plan, Prompt, plan
from gpt_pipeline.serve.scheduler import Scheduler
from gpt_pipeline.serve.schemas import Choice, Completion, CompletionRequest, Logprobs, Usage
from gpt_pipeline.serve.served import Served
from gpt_pipeline.serve.texts import ChoiceText, Piece, echoed, whole_of
from gpt_pipeline.serve.ticket import Ticket

_LARGE_BATCH = 64
"""More prompts than this are encoded beside the event loop, which streams tokens meanwhile."""

Pieces = list[tuple[int, Piece]]
"""What has come for some choices, each with its index."""


class Completions:
    """Answers requests with one model."""

    def __init__(
        self, served: Served, scheduler: Scheduler, config: ServeConfig, metrics: Metrics
    ) -> None:
        self._served, self._scheduler, self._config = served, scheduler, config
        self._metrics = metrics

    async def answer(self, given: CompletionRequest, request: Request) -> Response:
        """The response as a whole or as a stream.

        A stream begins with its first token, so that what fails before has a status of its own.

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
        """Log-probabilities of the prompts' own tokens, where they are asked for."""
        served, logprobs = self._served, job.logprobs
        if job.num_scored == 0 or logprobs is None:
            return [None] * len(job.prompts)

        def scored(prompt: Prompt) -> list[SampledToken]:
            drawn = score(served.model, prompt.read, logprobs=logprobs)
            own = drawn[len(drawn) - len(prompt.ids) :]  # the first one has no log-probability
            return [SampledToken(prompt.ids[0], None), *own[1:]] if own else []

        found: list[Logprobs | None] = []
        for prompt in job.prompts:
            work = self._scheduler.score(ticket, partial(scored, prompt))
            try:
                drawn = await ticket.unless_it_fails(work)
            except UserError as error:
                raise ApiError(500, str(error), code="engine_error") from None
            found.append(echoed(served.tokenizer, drawn, logprobs))
        return found


class _Answer:
    """One response in the making.

    Attributes:
        scored: log-probabilities of the prompts, to be set before anything is asked for.
        num_open: samples that have not ended.
    """

    def __init__(self, job: Plan, served: Served, metrics: Metrics) -> None:
        self._job, self._model, self._metrics = job, served.name, metrics
        self._began = time.monotonic()
        self.scored: Sequence[Logprobs | None] = ()
        self.num_open = len(job.requests)
        self._id, self._created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
        self._choices = [
            ChoiceText(
                served.tokenizer,
                stops=job.stops,
                logprobs=job.logprobs,
                offset=len(job.prompt_of(place).text) if job.echo else 0,
            )
            for place in range(job.num_samples)
        ]
        metrics.asked(self.num_tokens()[0])

    async def whole(self, ticket: Ticket) -> Completion:
        """All of it at once."""
        parts: list[list[Piece]] = [[] for _ in self._choices]
        async for batch in self._pieces(ticket):
            for place, piece in batch:
                parts[place].append(piece)
                if piece.finish_reason is not None:  # a large batch never holds all its pieces
                    parts[place] = [whole_of(parts[place])]
        with_prompt = self._job.logprobs is not None
        choices = [
            self._choice(index, place, parts[place][0], with_prompt=with_prompt)
            for index, place in enumerate(self._best())
        ]
        return {**self._event(choices), "usage": self._usage()}

    def _best(self) -> list[int]:
        """The samples that are given: of each prompt all, or the n that are best per token."""
        job = self._job
        if job.best_of == job.n:
            return [*range(job.num_samples)]
        chosen: list[int] = []
        for first in range(0, job.num_samples, job.best_of):
            places = range(first, first + job.best_of)
            chosen += sorted(places, key=lambda place: -self._choices[place].mean_logprob)[: job.n]
        return chosen

    async def events(self, ticket: Ticket, *, usage: bool) -> AsyncIterator[bytes]:
        """Server-sent events, those of one step together."""
        unseen = set(range(len(self._choices)))
        async for batch in self._pieces(ticket):
            sent = []
            for place, piece in batch:
                if piece.says_something:
                    choice = self._choice(place, place, piece, with_prompt=place in unseen)
                    unseen.discard(place)
                    event = self._event([choice])
                    sent.append(sse({**event, "usage": None} if usage else event))
            if sent:
                yield b"".join(sent)
        if usage:
            yield sse({**self._event([]), "usage": self._usage()})
        yield DONE

    async def _pieces(self, ticket: Ticket) -> AsyncIterator[Pieces]:
        """Each choice's pieces as they come; a choice that meets a stop text leaves at once."""
        job, going = self._job, len(self._choices)
        if job.echo or job.max_tokens == 0:
            yield [(place, self._before(place)) for place in range(going)]
        if job.max_tokens == 0:
            return
        while going > 0:
            batch: Pieces = []
            for place, drawn in await ticket.take():
                choice = self._choices[place]
                if choice.ended:  # drawn before it could leave
                    continue
                piece = choice.push(drawn)
                if piece.finish_reason is not None:
                    going -= 1
                    self.num_open -= 1
                    self._metrics.ended(piece.finish_reason, time.monotonic() - self._began)
                    ticket.leave([ticket.samples[place]])
                batch.append((place, piece))
            yield batch

    def _before(self, place: int) -> Piece:
        """What a choice begins with."""
        job = self._job
        text = job.prompt_of(place).text if job.echo else ""
        logprobs = self.scored[place // job.best_of] if job.echo else None
        return Piece(text, logprobs, "length" if job.max_tokens == 0 else None)

    def _choice(self, index: int, place: int, piece: Piece, *, with_prompt: bool) -> Choice:
        choice: Choice = {
            "index": index,
            "text": piece.text,
            "logprobs": piece.logprobs,
            "finish_reason": piece.finish_reason,
        }
        if with_prompt:
            choice["prompt_token_ids"] = list(self._job.prompt_of(place).ids)
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
        """Tokens of the prompts, and those that were drawn so far."""
        asked = sum(len(prompt.ids) for prompt in self._job.prompts)
        return asked, sum(choice.num_tokens for choice in self._choices)

    def _usage(self) -> Usage:
        asked, made = self.num_tokens()
        return {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}


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
        f"the request waited for its turn longer than {timeout_s:g} s (serve.timeout_s); "
        "try again later",
        code="queue_timeout",
        headers={"Retry-After": "1"},
    )
