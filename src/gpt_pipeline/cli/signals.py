"""Ctrl-C, SIGTERM and SIGHUP: the first makes the run save and stop, a second stops it at once."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gpt_pipeline.cli.console import log

PATIENCE_S = 2.0
"""How long a step or an evaluation may go on after a signal before it is given up: what is left of
ten seconds is for the operation at hand, and for saving."""

_WAIT_S = 1.0
_HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
_NUMBERS = tuple(
    number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None
)


def not_ignored(numbers: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Those of the signals that the process does not ignore: `nohup` ignores SIGHUP, for example.

    What was ignored when the process started must stay ignored.
    """
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


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

    def interrupt(self) -> bool:
        """Whether one came so long ago that what is being computed must be given up."""
        return self._number is not None and time.monotonic() - self._at > PATIENCE_S

    def take(self, number: int) -> None:
        """Take in a signal; a second one ends the process at once.

        A second SIGHUP does not: when a terminal closes, the system and the shell send one each.
        """
        name = signal.Signals(number).name
        if self._number is not None:
            if number == _HANGUP:
                return
            _say("%s: stopped at once", name).join(_WAIT_S)
            os._exit(128 + number)
        self._number, self._at = number, time.monotonic()
        _say("%s: finishing the step and saving; a second one stops at once", name)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """While open, signals are taken in by a thread, instead of ending the process.

    A thread, because Python runs signal handlers between two operations of the main thread only:
    within a long matrix product a second Ctrl-C would have to wait. Signals are the main thread's:
    elsewhere none is taken in.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    thread = threading.Thread(target=_listen, args=(ours, request), daemon=True)
    before = {number: signal.signal(number, _nothing) for number in not_ignored(_NUMBERS)}
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
