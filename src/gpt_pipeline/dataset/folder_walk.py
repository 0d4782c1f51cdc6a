"""All files below a folder: links followed, each folder once; what is left out, and why."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt_pipeline.dataset.own_outputs import OWN, is_own_name, made_by, may_be_unreadable
from gpt_pipeline.errors import DataError

HIDDEN = "hidden"
DANGLING = "dangling links"
CIRCLE = "links to a folder above"
SPECIAL = "not files"
TWICE = "reached twice"


@dataclass(frozen=True)
class Entry:
    """A file below a folder; or a file or folder that is passed over, with the reason.

    Attributes:
        path: below the folder, as it was reached.
        reason: why it is passed over; None for a file to take.
        linked: whether a link leads to it.
    """

    path: Path
    reason: str | None = None
    linked: bool = False


def walk(root: Path, *, hidden: bool = False) -> Iterator[Entry]:
    """Every file below `root`.

    Real folders come before those that only a link leads to, so that a folder is seen under its
    own name where it has one. Links cannot make the walk circle.

    Args:
        root: looked into whatever its name, and although it holds outputs: those alone are left
            out, by their names.
        hidden: take names that begin with a dot, too.

    Raises:
        DataError: a folder cannot be read.
    """
    top = os.path.realpath(root)
    seen = {top}
    waiting, links = [(root, False)], list[Path]()
    while waiting or links:
        folder, linked = waiting.pop() if waiting else (links.pop(0), True)
        if folder != root:
            real = os.path.realpath(folder)
            if real in seen:
                yield Entry(folder, TWICE)
                continue
            seen.add(real)
        inside = _inside(folder)
        names = [entry.name for entry in inside]
        if folder != root and (reason := made_by(folder, names)) is not None:
            yield Entry(folder, reason)
            continue
        for entry in inside:
            path = folder / entry.name
            if entry.name.startswith(".") and not hidden:
                yield Entry(path, HIDDEN)
            elif folder == root and is_own_name(root, names, entry.name):
                yield Entry(path, OWN)
            elif not entry.is_symlink() and entry.is_dir():
                waiting.append((path, linked))
            elif not entry.is_symlink() and entry.is_file():
                yield Entry(path, linked=linked)
            elif (reason := trouble_with(path)) is not None:
                yield Entry(path, reason)
            elif path.is_file():
                yield Entry(path, linked=True)
            elif _contains(os.path.realpath(path), top):
                yield Entry(path, CIRCLE)
            else:
                links.append(path)


def _inside(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds, sorted; nothing in one of the system's that cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if may_be_unreadable(folder.name):
            return []
        raise DataError(f"{folder} cannot be read: {error.strerror or error}") from error


def names_in(folder: Path) -> list[str]:
    """The sorted names in a folder.

    Raises:
        DataError: it cannot be read.
    """
    return [entry.name for entry in _inside(folder)]


def trouble_with(path: Path) -> str | None:
    """Why a path is neither a file nor a folder; None where it is one.

    Raises:
        DataError: it cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return DANGLING
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    # a pipe or a device would be waited for, or never end
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else SPECIAL


def _contains(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
