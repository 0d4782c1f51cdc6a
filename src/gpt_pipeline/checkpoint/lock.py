"""One run at a time in a folder of bundles."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gpt_pipeline.errors import CheckpointError

log = logging.getLogger(__name__)


@contextlib.contextmanager
def run_lock(root: Path, name: str) -> Iterator[None]:
    """Hold the bundles of one run for this process, as long as the block lasts.

    The operating system holds the lock (flock) and drops it when the process ends, however it
    ends. A file `.<name>.lock` that is left behind means nothing by itself.

    Raises:
        CheckpointError: another process holds it, or the folder cannot be written.
    """
    lock = FileLock(root / f".{name}.lock")
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise CheckpointError(
            f"another process is training {name} in {root}; wait for it, stop it, or choose "
            "another model.checkpoint_name"
        ) from None
    except NotImplementedError as error:
        log.warning("%s has no locks (%s); see that no second run writes there", root, error)
    except OSError as error:
        raise CheckpointError(
            f"cannot write in {root}: {error.strerror or error}; choose another "
            "model.checkpoint_path"
        ) from error
    try:
        yield
    finally:
        lock.release()
