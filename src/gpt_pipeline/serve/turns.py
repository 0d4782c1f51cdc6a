"""The samples that wait for a slot: requests take turns, so that a large batch delays no other."""

from collections import deque

from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.ticket import Sample, Ticket

_RETRY_AFTER_S = 1


class Turns:
    """One queue per request; the next sample is of the request whose turn it is.

    A request takes a place for each of its samples that has not ended, but never more than `slots`
    places: the other samples of a larger batch wait without one. Not thread-safe.

    Args:
        slots: samples that are decoded together.
        places: of all requests together.
    """

    def __init__(self, *, slots: int, places: int) -> None:
        self._slots, self._free = slots, places
        self._turns: deque[Ticket] = deque()  # each has samples that wait
        self.waiting = 0
        self.held = 0

    def admit(self, ticket: Ticket) -> None:
        """Let the samples of a request wait.

        Raises:
            ApiError: 429, there are not enough places.
        """
        number = len(ticket.samples)
        places = min(number, self._slots)
        if places > self._free:
            raise queue_full(places, self._free)
        self._free -= places
        self.held += number
        self.waiting += number
        ticket.left = number
        ticket.waiting.extend(ticket.samples)
        for sample in ticket.samples:
            sample.waits = True
        if number:
            self._turns.append(ticket)

    def next(self) -> Sample | None:
        """Take out the sample whose turn it is; None: there is none."""
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
        """Take out a sample that still waits; False: it does not."""
        if not sample.waits:
            return False
        sample.waits = False  # `next` passes over it
        self.waiting -= 1
        self.ended(sample.ticket)
        return True

    def ended(self, ticket: Ticket) -> None:
        """Take the place of a sample back, unless another one of its request needs it."""
        self.held -= 1
        ticket.left -= 1
        if ticket.left < self._slots:
            self._free += 1
        if ticket.left == 0 and ticket.waiting:  # all that is in there has left
            ticket.waiting.clear()
            self._turns.remove(ticket)


def queue_full(wanted: int, free: int) -> ApiError:
    """The refusal of a request that there is no place for."""
    return ApiError(
        429,
        f"the queue is full (serve.queue): the request needs {wanted} places, {free} are free; "
        "try again later",
        code="queue_full",
        headers={"Retry-After": str(_RETRY_AFTER_S)},
    )
