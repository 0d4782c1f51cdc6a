"""Locks that the operating system holds for a process, and drops however the process ends."""

import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class LocksUnsupported(Exception):
    """The file system has no locks; the message is the system's reason."""


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file or folder; False where another process has it.

    Closing the descriptor releases it.

    Raises:
        LocksUnsupported: the file system has no locks, as some network and FUSE file systems.
    """
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise LocksUnsupported(error.strerror or str(error)) from error
    return True


def wait_for_lock(descriptor: int) -> None:
    """Wait for the exclusive lock of an open folder.

    Raises:
        LocksUnsupported: the file system has no locks.
    """
    if sys.platform == "win32":
        raise LocksUnsupported("Windows does not lock folders")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise LocksUnsupported(error.strerror or str(error)) from error


def open_folder(folder: "os.PathLike[str]") -> int | None:
    """A descriptor of a folder to lock; None where the system does not open folders.

    Raises:
        OSError: the folder cannot be opened.
    """
    return None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)
