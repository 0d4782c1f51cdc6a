"""Ctrl-C, SIGTERM and SIGHUP: the first saves and stops the run, a second stops it at once."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gpt_pipeline.cli.console import log

PATIENCE_S = 2.0
"""Seconds after a signal until a step or an evaluation is interrupted.

The rest of ten seconds is for the current operation and for saving.
"""

_WAIT_S = 1.0
_HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none
_NUMBERS = tuple(
    number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None
)


def not_ignored(numbers: Sequence[signal.Signals]) -> list[signal.Signals]:
    """The signals that the process does not ignore; `nohup` ignores SIGHUP, for example.

    A signal that was ignored when the process started must stay ignored.
    """
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


class StopRequest:
    """Whether and when a signal has arrived."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._at = 0.0

    @property
    def exit_code(self) -> int:
        """128 plus the number of the signal, as in shells."""
        return 128 + (self._number or 0)

    def stop(self) -> bool:
        """Whether a signal has arrived."""
        return self._number is not None

    def interrupt(self) -> bool:
        """Whether one arrived so long ago that the current computation must be interrupted."""
        return self._number is not None and time.monotonic() - self._at > PATIENCE_S

    def take(self, number: int) -> None:
        """Handle a signal; a second one ends the process at once.

        A second SIGHUP does not, because a closing terminal may send two.
        """
        name = signal.Signals(number).name
        if self._number is not None:
            if number == _HANGUP:
                return
            _log_in_thread("%s: stopped at once", name).join(_WAIT_S)
            os._exit(128 + number)
        self._number, self._at = number, time.monotonic()
        _log_in_thread("%s: saving after this step; a second signal stops at once", name)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Inside the block, a thread handles signals instead of ending the process.

    Python runs signal handlers between two operations of the main thread only, so a second Ctrl-C
    would have to wait for a long matrix product. Outside the main thread signals are not handled.
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


def _log_in_thread(message: str, name: str) -> threading.Thread:
    """Log in a thread, because a stopped terminal (Ctrl-S) or a full pipe blocks."""
    thread = threading.Thread(target=log.info, args=(message, name), daemon=True)
    thread.start()
    return thread


def _nothing(number: int, frame: object) -> None:
    """The wake-up socket has the signal; without a handler it would end the process."""
