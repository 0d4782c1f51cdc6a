"""What a request holds while its samples are made: a box that the scheduler puts tokens into."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gpt_pipeline.inference import Request, SampledToken
from gpt_pipeline.serve.errors import ApiError

Result = TypeVar("Result")


@dataclass(eq=False)
class Sample:
    """One sample of a request. All but the first three fields belong to the scheduler; `waits` to
    its `Turns`.

    Attributes:
        ticket: whose it is.
        place: its place among the samples of the request.
        request: what is asked of the engine.
        key: the engine's, while it is at work there.
        last_at: when its last token came, before the first one when it was asked for; seconds.
        begun: whether a token has come.
        over: whether it has ended or left.
        waits: whether it waits for a slot.
    """

    ticket: "Ticket"
    place: int
    request: Request
    last_at: float
    key: int | None = None
    begun: bool = False
    over: bool = False
    waits: bool = False


@dataclass(eq=False)
class Ticket:
    """The samples of one request. For the event loop; the scheduler's thread leaves it alone.

    Attributes:
        leave: takes samples out of the scheduler.
        samples: all of them.
        scores: whether one of its prompts has come to be scored; the scheduler's thread says so.
        waiting: samples that wait for a slot, or have left; of `Turns`.
        left: samples that wait or are at work; of `Turns`.
        unscored: prompts that are to be scored; of `Turns`.
        places: what it holds; of `Turns`.
    """

    leave: Callable[[Sequence[Sample]], None]
    samples: list[Sample] = field(default_factory=list)
    scores: bool = False
    waiting: deque[Sample] = field(default_factory=deque)
    left: int = 0
    unscored: int = 0
    places: int = 0
    _events: list[tuple[int, SampledToken]] = field(default_factory=list)
    _failure: ApiError | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _failed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def begun(self) -> bool:
        """Whether its turn has come: a prompt is scored or a token was drawn."""
        return self.scores or any(sample.begun for sample in self.samples)

    async def unless_it_fails(self, work: Awaitable[Result]) -> Result:
        """What comes of something else that the request waits for.

        Raises:
            ApiError: the request failed first; the work is cancelled.
        """
        task, failed = asyncio.ensure_future(work), asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait((task, failed), return_when=asyncio.FIRST_COMPLETED)
            if self._failure is not None:
                raise self._failure
            return task.result()
        finally:
            task.cancel()
            failed.cancel()

    async def take(self) -> list[tuple[int, SampledToken]]:
        """Wait for tokens, and give all that have come, each with the place of its sample.

        Raises:
            ApiError: the samples failed; what had come before has been given.
        """
        await self._arrived.wait()
        events, self._events = self._events, []
        if self._failure is None:
            self._arrived.clear()
        elif not events:
            raise self._failure
        return events

    def put(self, place: int, drawn: SampledToken) -> None:
        """Add what was drawn for a sample."""
        self._events.append((place, drawn))
        self._arrived.set()

    def fail(self, failure: ApiError) -> None:
        """Let the request end with an error; the first one counts."""
        if self._failure is None:
            self._failure = failure
        self._arrived.set()
        self._failed.set()

    def close(self) -> None:
        """Leave with all samples that are not over."""
        self.leave(self.samples)
