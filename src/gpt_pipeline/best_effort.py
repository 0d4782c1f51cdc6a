"""Work that a command can do without: a failure of it is one warning, and the command continues."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_LONGEST_REASON = 200


class BestEffort:
    """Guards plots, samples, traces, progress and the like.

    What fails again and again is reported once, and once more after it has succeeded in between.
    """

    def __init__(self) -> None:
        self._failing: set[str] = set()

    @contextmanager
    def to(self, what: str) -> Iterator[None]:
        """Turn any exception of the block into a warning `cannot WHAT: reason`."""
        try:
            yield
        except Exception as error:
            log.debug("cannot %s", what, exc_info=True)
            if what not in self._failing:
                log.warning("cannot %s: %s; continuing without it", what, reason(error))
            self._failing.add(what)
        else:
            self._failing.discard(what)


def reason(error: BaseException) -> str:
    """The first line of an exception's message, with its class where that is not an OSError."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, OSError) and text:
        return text[:_LONGEST_REASON]
    name = type(error).__name__
    return f"{name}: {text[:_LONGEST_REASON]}" if text else name
