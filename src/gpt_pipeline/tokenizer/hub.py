"""Makes the hub's client give up at the first failure, in silence, instead of after half a minute.

The client retries five times with growing pauses and offers no setting for it, but announces each
retry through its logger. This listens there, so nothing of the client itself is imported.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CLIENT_LOGGER = "huggingface_hub.utils._http"


class _GiveUp(logging.Filter):
    """Turns the announcement of a retry into the error that led to it."""

    def __init__(self) -> None:
        super().__init__()
        self._outer = sys.exc_info()[1]  # handled by a caller: none of the client's business

    def filter(self, record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        if error is not None and error is not self._outer:
            raise error  # as after the last retry: the client falls back to its cache
        if "Retry" in record.getMessage():
            raise ConnectionError(record.getMessage().splitlines()[0])
        return True


@contextmanager
def without_retries() -> Iterator[None]:
    """Inside, a hub that cannot be reached is an error within seconds, and nothing is logged."""
    logger = logging.getLogger(_CLIENT_LOGGER)
    give_up = _GiveUp()
    logger.addFilter(give_up)
    try:
        yield
    finally:
        logger.removeFilter(give_up)
