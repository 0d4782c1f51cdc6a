"""The queue for slots: requests take turns, so that a large batch delays no other request."""

from collections import deque

from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.ticket import Sample, Ticket

_RETRY_AFTER_S = 1


class Turns:
    """One queue per request; the next sample is one of the request whose turn it is.

    A request holds one place per sample that has not ended, or per prompt that is not scored yet if
    those are more, but at most `slots` places: the rest of a larger batch waits without a place.
    Not thread-safe.

    Args:
        slots: samples that are decoded together.
        places: the limit for all requests together.
    """

    def __init__(self, *, slots: int, places: int) -> None:
        self._slots, self._free = slots, places
        self._turns: deque[Ticket] = deque()  # each has samples that wait
        self.waiting = 0
        self.held = 0
        self.unscored = 0  # prompts

    def admit(self, ticket: Ticket) -> None:
        """Queue the samples of a request, and `ticket.unscored` prompts to be scored.

        Raises:
            ApiError: 429, there are not enough places.
        """
        number = len(ticket.samples)
        places = min(max(number, ticket.unscored), self._slots)
        if places > self._free:
            raise _queue_full(places, self._free)
        self.held += number
        self.unscored += ticket.unscored
        self.waiting += number
        ticket.left = number
        self._settle(ticket)
        ticket.waiting.extend(ticket.samples)
        for sample in ticket.samples:
            sample.waits = True
        if number:
            self._turns.append(ticket)

    def next(self) -> Sample | None:
        """Remove and return the sample whose turn it is; None: no sample waits."""
        while self._turns:
            ticket = self._turns.popleft()
            sample = ticket.waiting.popleft()
            if ticket.waiting:
                self._turns.append(ticket)
            if sample.waits:
                sample.waits = False
                self.waiting -= 1
                return sample
        return None

    def leave(self, sample: Sample) -> bool:
        """Remove a sample that waits; False: it does not wait."""
        if not sample.waits:
            return False
        sample.waits = False  # `next` skips it
        self.waiting -= 1
        self.ended(sample.ticket)
        return True

    def ended(self, ticket: Ticket) -> None:
        """Release the place of a sample, unless another sample of its request needs it."""
        self.held -= 1
        ticket.left -= 1
        self._settle(ticket)
        if ticket.left == 0 and ticket.waiting:  # all of them were removed
            ticket.waiting.clear()
            self._turns.remove(ticket)

    def scored(self, ticket: Ticket, number: int = 1) -> None:
        """Release the places of prompts that are scored, or whose request has ended."""
        number = min(number, ticket.unscored)  # the request may have ended meanwhile
        self.unscored -= number
        ticket.unscored -= number
        self._settle(ticket)

    def _settle(self, ticket: Ticket) -> None:
        places = min(max(ticket.left, ticket.unscored), self._slots)
        self._free += ticket.places - places
        ticket.places = places


def _queue_full(wanted: int, free: int) -> ApiError:
    """The refusal of a request that there are too few places for."""
    return ApiError(
        429,
        f"the queue is full (serve.queue): the request needs {wanted} places, {free} are free; "
        "try again later",
        code="queue_full",
        headers={"Retry-After": str(_RETRY_AFTER_S)},
    )
