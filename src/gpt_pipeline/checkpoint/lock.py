"""One run at a time in a folder of checkpoints."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.locking import LocksUnsupported, try_lock

log = logging.getLogger(__name__)


@contextlib.contextmanager
def run_lock(root: Path, name: str) -> Iterator[None]:
    """Hold the checkpoints of one run for this process, as long as the block lasts.

    The operating system holds the lock (flock) and drops it when the process ends, however it
    ends. A file `.<name>.lock` that is left means nothing by itself. Where the file system
    has no locks, a warning says so.

    Raises:
        CheckpointError: another process holds it, or the folder cannot be written.
    """
    path = root / f".{name}.lock"
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = _opened(path)
    except OSError as error:
        raise CheckpointError(
            f"cannot write in {root}: {error.strerror or error}; choose another "
            "model.checkpoint_path"
        ) from error
    try:
        if not _is_ours(descriptor, path):
            raise CheckpointError(
                f"another process is training {name} in {root}; wait for it, stop it, or choose "
                "another model.checkpoint_name"
            )
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _opened(path: Path) -> int | None:
    """A descriptor of the lock file; None where another user left one that cannot be opened."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not path.exists():
            raise
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDONLY)
    return None


def _is_ours(descriptor: int | None, path: Path) -> bool:
    """Whether the lock was taken, or cannot be; False where another process has it."""
    reason = f"{path.name} cannot be opened"
    try:
        if descriptor is not None:
            return try_lock(descriptor)
    except LocksUnsupported as error:
        reason = str(error)
    log.warning(
        "%s has no file locks (%s), so a second run of this name cannot be refused; "
        "make sure that there is none",
        path.parent, reason,
    )  # fmt: skip
    return True
