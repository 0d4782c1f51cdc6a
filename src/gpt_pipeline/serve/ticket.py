"""A request's samples in the scheduler, and the queue through which their tokens come back."""

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
        ticket: its request's.
        index: its index among the samples of the request.
        request: for the engine.
        key: the engine's key while it is decoded.
        last_at: time of its last token, before the first one that of the request; seconds.
        begun: whether it has a token.
        over: whether it has ended or was removed.
        waits: whether it waits for a slot.
    """

    ticket: "Ticket"
    index: int
    request: Request
    last_at: float
    key: int | None = None
    begun: bool = False
    over: bool = False
    waits: bool = False


@dataclass(eq=False)
class Ticket:
    """The samples of one request. For the event loop; not for the inference thread.

    Attributes:
        leave: removes samples from the scheduler.
        samples: all of them.
        scores: whether scoring of a prompt has begun; set by the inference thread.
        waiting: samples that wait for a slot, or were removed; of `Turns`.
        left: samples that wait or are decoded; of `Turns`.
        unscored: prompts that are to be scored; of `Turns`.
        places: places of the queue that it holds; of `Turns`.
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
        """Whether its turn has come: a prompt is scored or a token was sampled."""
        return self.scores or any(sample.begun for sample in self.samples)

    async def unless_it_fails(self, work: Awaitable[Result]) -> Result:
        """The result of other work that the request waits for.

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
        """Wait for tokens, and return all that have arrived, each with its sample's index.

        Raises:
            ApiError: the request failed; earlier tokens have been returned.
        """
        await self._arrived.wait()
        events, self._events = self._events, []
        if self._failure is None:
            self._arrived.clear()
        elif not events:
            raise self._failure
        return events

    def put(self, index: int, sampled: SampledToken) -> None:
        """Add a token of a sample."""
        self._events.append((index, sampled))
        self._arrived.set()

    def fail(self, failure: ApiError) -> None:
        """End the request with an error; the first one counts."""
        if self._failure is None:
            self._failure = failure
        self._arrived.set()
        self._failed.set()

    def close(self) -> None:
        """Remove all samples that are not over."""
        self.leave(self.samples)
