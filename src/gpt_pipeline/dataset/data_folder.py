"""One preparation at a time per data folder; removes what killed preparations left."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from gpt_pipeline.locking import LocksUnsupported, open_folder, try_lock, wait_for_lock

Say = Callable[[str], None]


@contextlib.contextmanager
def alone_in(folder: Path, say: Say) -> Iterator[None]:
    """Wait until no other process prepares `folder`, then remove what killed processes left there.

    The lock is on the folder itself, so that it needs no file and ends with its process. Where the
    system has none, two simultaneous preparations duplicate work, but every file is still complete.
    """
    descriptor = _opened(folder)
    try:
        if descriptor is not None:
            _lock(descriptor, folder, say)
        remove_stale_temporaries(folder)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _opened(folder: Path) -> int | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return open_folder(folder)
    except OSError:
        return None  # the first file that is written says what is wrong, and where


def _lock(descriptor: int, folder: Path, say: Say) -> None:
    with contextlib.suppress(LocksUnsupported):
        if not try_lock(descriptor):
            say(f"{folder}: waiting for another process that prepares it")
            wait_for_lock(descriptor)


def remove_stale_temporaries(folder: Path) -> None:
    """Remove what killed preparations left in `folder`; those of living processes stay."""
    try:
        found = sorted(folder.glob(".*.tmp"))
    except OSError:  # the first file that is written says what is wrong
        return
    for left in found:
        number = next((part for part in left.name.split(".")[::-1] if part.isdigit()), "")
        if number and not _alive(int(number)):
            with contextlib.suppress(OSError):
                left.unlink()


def _alive(process: int) -> bool:
    if os.name != "posix" or process == os.getpid():
        return False  # a number of our own, before we have opened anything: a container's restart
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
