"""POST /v1/completions: a request's samples, from the queue to the response."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from fastapi.responses import Response
from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

from gpt_pipeline.config import ServeConfig
from gpt_pipeline.errors import UserError
from gpt_pipeline.generation import Drawn, score
from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.plan import Plan, plan
from gpt_pipeline.serve.scheduler import Scheduler
from gpt_pipeline.serve.schemas import Choice, Completion, CompletionRequest, Logprobs, Usage
from gpt_pipeline.serve.served import Served
from gpt_pipeline.serve.texts import ChoiceText, Piece, echoed, whole_of
from gpt_pipeline.serve.ticket import Ticket
from gpt_pipeline.tokenizer import Tokenizer

_LARGE_BATCH = 64
"""More prompts than this are encoded beside the event loop, which streams tokens meanwhile."""
_DONE = b"data: [DONE]\n\n"
_NO_BUFFERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}

Pieces = list[tuple[int, Piece]]
"""What has come for some choices, each with its index."""


class Completions:
    """Answers requests with one model."""

    def __init__(self, served: Served, scheduler: Scheduler, config: ServeConfig) -> None:
        self._served, self._scheduler, self._config = served, scheduler, config

    async def answer(self, given: CompletionRequest) -> Response:
        """The response as a whole or as a stream.

        A stream begins with its first token, so that what fails before has a status of its own.

        Raises:
            ApiError: the request is refused, or failed before there was anything to send.
        """
        job = await self._plan(given)
        ticket = self._scheduler.submit(job.requests)
        timeout_s = self._config.timeout_s
        timer = asyncio.get_running_loop().call_later(timeout_s, _time_out, ticket, timeout_s)

        def leave() -> None:
            timer.cancel()
            self._scheduler.forget(ticket)

        streams = False
        try:
            scored = await self._scored(job, ticket)
            answer = _Answer(job, scored, self._served.name, self._served.tokenizer)
            if not given.stream:
                return _json(await answer.whole(ticket))
            options = given.stream_options
            usage = options is not None and options.include_usage
            events = answer.events(ticket, usage=usage)
            first = await anext(events)
            streams = True
            return _EventStream(first, events, leave)
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
        if not job.echo or job.logprobs is None:
            return [None] * len(job.prompts)
        served, logprobs = self._served, job.logprobs

        def scored(ids: Sequence[int]) -> list[Drawn]:
            ticket.scores = True
            return score(served.model, ids, logprobs=logprobs)

        found: list[Logprobs | None] = []
        for prompt in job.prompts:
            work = self._scheduler.call(partial(scored, prompt.ids))
            try:
                drawn = await ticket.unless_it_fails(work)
            except UserError as error:
                raise ApiError(500, str(error), code="engine_error") from None
            found.append(echoed(served.tokenizer, drawn, logprobs))
        return found


class _Answer:
    """One response in the making."""

    def __init__(
        self, job: Plan, scored: Sequence[Logprobs | None], model: str, tokenizer: Tokenizer
    ) -> None:
        self._job, self._scored, self._model = job, scored, model
        self._id, self._created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
        self._choices = [
            ChoiceText(
                tokenizer,
                stops=job.stops,
                logprobs=job.logprobs,
                offset=len(job.prompt_of(place).text) if job.echo else 0,
            )
            for place in range(job.num_samples)
        ]

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
                    sent.append(_sse({**event, "usage": None} if usage else event))
            if sent:
                yield b"".join(sent)
        if usage:
            yield _sse({**self._event([]), "usage": self._usage()})
        yield _DONE

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
                if choice.ended:
                    going -= 1
                    ticket.leave([ticket.samples[place]])
                batch.append((place, piece))
            yield batch

    def _before(self, place: int) -> Piece:
        """What a choice begins with."""
        job = self._job
        text = job.prompt_of(place).text if job.echo else ""
        logprobs = self._scored[place // job.best_of] if job.echo else None
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

    def _usage(self) -> Usage:
        asked = sum(len(prompt.ids) for prompt in self._job.prompts)
        made = sum(choice.num_tokens for choice in self._choices)
        return {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}


class _EventStream(Response):
    """Server-sent events; calls `leave` at its end, which may be that of the client.

    Not Starlette's StreamingResponse: an error in mid-stream is the stream's last event, `Limits`
    looks out for a client that goes, and each layer between a token and its socket costs time.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, rest: AsyncIterator[bytes], leave: Callable[[], None]) -> None:
        super().__init__(headers=_NO_BUFFERS)
        del self.headers["content-length"]
        self._first, self._rest, self._leave = first, rest, leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            await send(start)
            await send(_part(self._first))
            try:
                async for event in self._rest:
                    await send(_part(event))
            except ApiError as error:
                await send(_part(b"data: " + error.body() + b"\n\n"))
            await send(_part(b"", more=False))
        finally:
            self._leave()


def _part(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


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


def _sse(event: Completion) -> bytes:
    return b"data: " + _dumped(event) + b"\n\n"


def _json(completion: Completion) -> Response:
    return Response(_dumped(completion), media_type="application/json")


def _dumped(value: Completion) -> bytes:
    # as ASCII: clients that read line by line take U+2028 for the end of one
    return to_json(value, ensure_ascii=True)
