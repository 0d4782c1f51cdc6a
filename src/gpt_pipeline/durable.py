"""Files that are whole or absent, whatever happens: synced writes, hashes, and sealed JSON.

A write goes to a temporary name on the same file system, is synced, and renamed once; then the
folder is synced too, so that the new name survives a power cut.
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

LARGEST_JSON = 1 << 20
"""Bytes of a JSON or YAML file of our own that are read at most: a stranger's may be endless."""

_NO_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What fsync answers where the file system lacks it, as SMB and some FUSE ones do for folders."""
_CHUNK = 1 << 20
_SEAL = "seal"


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk, where the system can say so."""
    if path.is_dir() and os.name != "posix":
        return  # Windows cannot open a folder, and orders its names itself
    # Windows syncs only what is open for writing; folders open for reading alone
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        sync_open(descriptor)
    finally:
        os.close(descriptor)


def sync_open(descriptor: int) -> None:
    """`sync` of an open file or folder; a file system that has no fsync is no error."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when the block ends without an error.

    Raises:
        OSError: from the system; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            sync_open(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def free_name(path: Path) -> Path:
    """The path itself, or with a number appended where it is taken."""
    candidate, number = path, 1
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def make_free_folder(path: Path) -> Path:
    """Make a folder that was not there: of that name, or with a number appended.

    Concurrent processes that ask for one name each get a folder of their own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        candidate = free_name(path)
        with contextlib.suppress(FileExistsError):
            candidate.mkdir()
            return candidate


def sealed(values: Mapping[str, Any]) -> bytes:
    """JSON text of `values` with a last key `seal`, the SHA-256 of all before it."""
    digest = hashlib.sha256(_text(values).encode()).hexdigest()
    return _text({**values, _SEAL: digest}).encode()


def unsealed(raw: bytes) -> dict[str, Any]:
    """What `sealed` was given.

    Raises:
        ValueError: a single byte differs from what `sealed` wrote.
    """
    values = parsed(raw)
    values.pop(_SEAL, None)
    try:
        whole = sealed(values) == raw
    except RecursionError:
        whole = False
    if not whole:
        raise ValueError("its content differs from its seal")
    return values


def read_limited(path: Path) -> bytes:
    """The content of a small file.

    Raises:
        ValueError: it is larger than `LARGEST_JSON`, or a pipe or the like.
        OSError: it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it must be a file")  # opening a pipe would wait for its other end
    with path.open("rb") as file:
        raw = file.read(LARGEST_JSON + 1)
    if len(raw) > LARGEST_JSON:
        raise ValueError(f"it must have at most {LARGEST_JSON:,} bytes")
    return raw


def parsed(raw: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: the bytes are something else.
    """
    try:
        values = json.loads(raw)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError(f"it must hold a JSON object; got {type(values).__name__}")
    return values


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, allow_nan=False) + "\n"
