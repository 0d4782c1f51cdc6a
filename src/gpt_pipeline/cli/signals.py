"""Ctrl-C and SIGTERM: the first asks the run to save and stop, the second stops at once."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gpt_pipeline.cli.console import log

PATIENCE_S = 2.0
"""How long a step or an evaluation may go on after a signal before it is given up: what is left of
ten seconds is for the operation at hand, and for saving."""

_WAIT_S = 1.0
_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """What came of the signals so far."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._at = 0.0

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells report it."""
        return 128 + (self._number or 0)

    def stop(self) -> bool:
        """Whether a signal has come."""
        return self._number is not None

    def abandon(self) -> bool:
        """Whether one came so long ago that what is being computed must be given up."""
        return self._number is not None and time.monotonic() - self._at > PATIENCE_S

    def take(self, number: int) -> None:
        """Take in a signal; the second ends the process, whatever it is at."""
        name = signal.Signals(number).name
        if self._number is not None:
            _say("%s: stopped at once", name).join(_WAIT_S)
            os._exit(128 + number)
        self._number, self._at = number, time.monotonic()
        _say("%s: finishing the step and saving; a second one stops at once", name)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """While open, signals are taken in by a thread, instead of ending the process.

    A thread, because Python runs signal handlers between two operations of the main thread only:
    within a long matrix product a second Ctrl-C would have to wait.
    """
    request = StopRequest()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    thread = threading.Thread(target=_listen, args=(ours, request), daemon=True)
    before = {number: signal.signal(number, _nothing) for number in _NUMBERS}
    earlier = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    thread.start()
    try:
        yield request
    finally:
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler)
        theirs.close()  # ends the thread
        thread.join(_WAIT_S)
        ours.close()


def _listen(received: socket.socket, request: StopRequest) -> None:
    while numbers := received.recv(16):
        for number in numbers:
            if number in _NUMBERS:
                request.take(number)


def _say(message: str, name: str) -> threading.Thread:
    """In a thread of its own: a terminal that is held (Ctrl-S) or a full pipe may take for ever."""
    thread = threading.Thread(target=log.info, args=(message, name), daemon=True)
    thread.start()
    return thread


def _nothing(number: int, frame: object) -> None:
    """The wake-up socket has been told already; without a handler the signal would end us."""
