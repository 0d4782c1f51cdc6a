"""The inference thread owns the engine: samples join between two steps, and leave at once.

The event loop calls `submit`, `score` and a ticket's `leave`. The thread does the rest, and passes
sampled tokens back with one call into the loop per step.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar

from gpt_pipeline.errors import UserError
from gpt_pipeline.inference import Engine, Request, SampledToken
from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.metrics import Metrics
from gpt_pipeline.serve.ticket import Sample, Ticket
from gpt_pipeline.serve.turns import Turns

log = logging.getLogger(__name__)

Result = TypeVar("Result")
_Call = tuple[Ticket, Future[Any], Callable[[], Any]]
_JOIN_S = 10.0
STOPPED = ApiError(503, "the inference thread has stopped; restart the server", code="stopped")


class Scheduler:
    """Decodes the samples of all requests in one batch; requests take turns at free slots.

    Args:
        engine: used by this object's thread alone from now on, except for `check`, which reads
            only constants.
        queue: places for samples that wait for a slot; see `Turns`.
        metrics: counts tokens and times.
        computing: makes the context that the thread works in, such as autocast.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        queue: int,
        metrics: Metrics,
        computing: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self._engine, self._metrics, self._computing = engine, metrics, computing
        self._changed = threading.Condition()
        # Under the lock of _changed:
        self._turns = Turns(slots=engine.slots, places=engine.slots + queue)
        self._leaving: list[Sample] = []
        self._calls: deque[_Call] = deque()  # at most one per request, so that requests take turns
        self._closed = False
        # Of the thread:
        self._running: dict[int, Sample] = {}
        self._scoring: Ticket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tickets: set[Ticket] = set()  # of the event loop
        metrics.watch(
            queued=self._num_waiting,
            active=lambda: len(self._running) + (self._scoring is not None),
            cache=lambda: engine.cache_usage,
        )

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def held(self) -> int:
        """Samples, and prompts to be scored, that wait or are being computed."""
        return self._turns.held + self._turns.unscored

    def start(self) -> None:
        """Start the thread, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """End the thread after its current step; remaining requests fail."""
        self.fail_all(ApiError(503, "the server is shutting down", code="shutting_down"))
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, _JOIN_S)

    def check(self, request: Request) -> None:
        """As `Engine.check`."""
        self._engine.check(request)

    def submit(self, requests: Sequence[Request], *, num_scored: int = 0) -> Ticket:
        """Put samples in the queue; for the event loop.

        Args:
            requests: the samples.
            num_scored: prompts of the same request that `score` will be called for.

        Raises:
            ApiError: 429, there are too few places; 503, the thread has ended.
        """
        self._refuse_if_stopped()
        ticket, now = Ticket(self._leave, unscored=num_scored), time.monotonic()
        ticket.samples += [Sample(ticket, *each, now) for each in enumerate(requests)]
        with self._changed:
            self._turns.admit(ticket)
            self._changed.notify()
        self._tickets.add(ticket)
        return ticket

    def forget(self, ticket: Ticket) -> None:
        """Remove what is left of a request's samples; for its end, whatever the reason."""
        ticket.close()
        with self._changed:
            self._turns.scored(ticket, ticket.unscored)
        self._tickets.discard(ticket)

    def fail_all(self, failure: ApiError) -> None:
        """End all requests with an error; for the event loop."""
        for ticket in self._tickets:
            ticket.fail(failure.copy())

    async def score(self, ticket: Ticket, function: Callable[[], Result]) -> Result:
        """Let the thread score one of a request's prompts, between two steps.

        Raises:
            ApiError: 503, the thread has ended.
        """
        self._refuse_if_stopped()
        future: Future[Result] = Future()
        with self._changed:
            self._calls.append((ticket, future, function))
            self._changed.notify()
        return await asyncio.wrap_future(future)

    def _num_waiting(self) -> int:
        scoring = self._scoring  # its request may have ended
        at_work = 1 if scoring is not None and scoring.unscored > 0 else 0
        return self._turns.waiting + self._turns.unscored - at_work

    def _refuse_if_stopped(self) -> None:
        if not self.alive:
            raise STOPPED.copy()

    def _leave(self, samples: Sequence[Sample]) -> None:
        with self._changed:
            going = [sample for sample in samples if not sample.over]
            for sample in going:
                sample.over = True
                if not self._turns.leave(sample):
                    self._leaving.append(sample)
            if going:
                self._changed.notify()

    # All methods from here on run in the thread.

    def _work(self) -> None:
        try:
            with self._computing():
                while self._wait():
                    self._round()
        finally:  # after a bug here too: no request may wait forever
            for _, future, _ in self._calls:
                if future.set_running_or_notify_cancel():
                    future.set_exception(STOPPED.copy())
            self._in_loop(self.fail_all, STOPPED)

    def _round(self) -> None:
        try:
            self._remove_leaving()
            self._do_call()
            self._join()
            if self._running:
                self._step()
        except Exception as error:
            log.exception("the engine failed; its samples are dropped")
            self._drop_all(error)

    def _wait(self) -> bool:
        """Sleep until there is work; False: the scheduler is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or self._turns.waiting
                    or self._leaving
                    or self._calls
                    or self._running
                )
            )
            return not self._closed

    def _remove_leaving(self) -> None:
        with self._changed:
            leaving, self._leaving = self._leaving, []
        for sample in leaving:
            if sample.key is not None and self._running.pop(sample.key, None) is not None:
                self._release([sample])
                self._engine.remove(sample.key)

    def _do_call(self) -> None:
        with self._changed:
            if not self._calls:
                return
            ticket, future, function = self._calls.popleft()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(self._score(ticket, function))
        except Exception as error:  # noqa: BLE001 - raised again by the caller
            future.set_exception(error)

    def _score(self, ticket: Ticket, function: Callable[[], Result]) -> Result:
        ticket.scores, self._scoring = True, ticket
        try:
            return function()
        finally:
            self._scoring = None
            with self._changed:
                self._turns.scored(ticket)

    def _join(self) -> None:
        while self._engine.free > 0:
            with self._changed:
                sample = self._turns.next()
            if sample is None:
                return
            try:
                sample.key = self._engine.add(sample.request)
            except Exception as error:
                log.exception("the engine refused a sample")
                self._release([sample])
                self._report_failure([sample], error)
            else:
                self._running[sample.key] = sample
                self._metrics.joined(time.monotonic() - sample.last_at)

    def _step(self) -> None:
        sampled = self._engine.step()
        now = time.monotonic()
        events: list[tuple[Sample, SampledToken]] = []
        over: list[Sample] = []
        for key, one in sampled:
            sample = self._running[key]
            self._metrics.sampled(now - sample.last_at, first=not sample.begun)
            sample.begun, sample.last_at = True, now
            if one.finish_reason is not None:
                del self._running[key]
                sample.over = True
                over.append(sample)
            events.append((sample, one))
        self._release(over)
        self._in_loop(_put_all, events)

    def _drop_all(self, error: Exception) -> None:
        failed = [*self._running.values()]
        for key in self._running:
            with suppress(Exception):
                self._engine.remove(key)
        self._running.clear()
        self._release(failed)
        self._report_failure(failed, error)

    def _report_failure(self, samples: Sequence[Sample], error: Exception) -> None:
        known = isinstance(error, UserError)
        message = str(error) if known else "the model failed; see the server's log"
        for sample in samples:
            sample.over = True
            self._in_loop(sample.ticket.fail, ApiError(500, message, code="engine_error"))

    def _release(self, samples: Sequence[Sample]) -> None:
        with self._changed:
            for sample in samples:
                self._turns.ended(sample.ticket)

    def _in_loop(self, function: Callable[..., None], *values: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: no request waits
            assert self._loop is not None
            self._loop.call_soon_threadsafe(function, *values)


def _put_all(events: Sequence[tuple[Sample, SampledToken]]) -> None:
    for sample, sampled in events:
        sample.ticket.put(sample.index, sampled)
