"""Ctrl-C and SIGTERM: the first asks the run to save and stop, the second stops at once."""

import signal
from types import FrameType, TracebackType

from gpt_pipeline.cli.console import log

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """While open, the first signal is remembered instead of ending the process."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._before = {number: signal.getsignal(number) for number in _NUMBERS}

    def __enter__(self) -> "StopSignals":
        for number in _NUMBERS:
            signal.signal(number, self._first)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells report it."""
        return 128 + (self._received or 0)

    def stop(self) -> bool:
        """Whether a signal has come; says so."""
        if self._received is None:
            return False
        name = signal.Signals(self._received).name
        log.info("%s: saving; a second one stops at once", name)
        return True

    def _first(self, number: int, frame: FrameType | None) -> None:
        self._received = number  # nothing is printed here: a handler may interrupt a print
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
