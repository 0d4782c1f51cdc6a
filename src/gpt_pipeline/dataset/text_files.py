"""Resolves a path, a folder or a glob to text files, and reports what it leaves out."""

import functools
import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from gpt_pipeline.dataset.compressed import open_bytes
from gpt_pipeline.dataset.file_kinds import FOLDER_SUFFIXES, HEAD, binary_kind, is_table, kind_of
from gpt_pipeline.dataset.folder_walk import TWICE, Entry, names_in, trouble_with, walk
from gpt_pipeline.dataset.own_outputs import (
    OWN,
    is_own_name,
    is_samples,
    is_tokenizer_file,
    made_by,
)
from gpt_pipeline.errors import DataError

_FOLDERS = "folders (** reads below them)"
_OTHER_KINDS = "other kinds"
_NOT_TEXT = "not text"
_TOKENIZER = "of a tokenizer"
_COMPRESSED = "compressed copies of plain files"
_SHOWN = 3


@dataclass(frozen=True)
class Selection:
    """The files to read, and what was passed over.

    Attributes:
        files: sorted; no file twice.
        root: what their names in a fingerprint are relative to.
        notes: lines for the user.
    """

    files: tuple[Path, ...]
    root: Path
    notes: tuple[str, ...] = ()


def select_files(path: str, key: str) -> Selection:
    """Look for the files; `key` is the config key that named them.

    Raises:
        DataError: there are none, or they cannot be text.
    """
    place = Path(path)
    mode = _mode(place, key)
    if mode is not None and stat.S_ISREG(mode):
        return _named_file(place, key)
    if mode is not None and not stat.S_ISDIR(mode):
        raise DataError(
            f"{key} must name a file, a folder or a glob; {path} is a pipe or a device; "
            "write its content to a file first"
        )
    if mode is not None:
        entries = [_in_folder(entry) for entry in walk(place)]
    elif glob.has_magic(str(place)):
        entries = [_in_glob(entry) for entry in _matches(place)]
    else:
        raise DataError(f"{key} must name a file, a folder or a glob; {path} does not exist")
    files, passed_over = _each_once(entries)
    summary = _summary(passed_over, place if mode is not None else None)
    if not files:
        kinds = f"{FOLDER_SUFFIXES} files" if mode is not None else "text files"
        raise DataError(f"{key} must lead to {kinds}; got none in {path}{summary}")
    root = place if mode is not None else Path(os.path.commonpath([f.parent for f in files]))
    plural = "" if len(files) == 1 else "s"
    return Selection(tuple(files), root, (f"{path}: {len(files):,} file{plural}{summary}",))


def _mode(place: Path, key: str) -> int | None:
    """The mode of a file or folder, as in `stat`; None if the path does not exist."""
    try:
        return place.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        if place.is_symlink():
            raise DataError(f"{key}: {place} is a link to a file that does not exist") from error
        return None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        reason = getattr(error, "strerror", None) or error
        if glob.has_magic(str(place)):
            return None  # a long pattern
        raise DataError(f"{key}: {place} cannot be read: {reason}") from error


def _named_file(place: Path, key: str) -> Selection:
    if place.stat().st_size == 0:
        raise DataError(f"{key} must name a file with text; {place} is empty")
    kind = kind_of(place)
    if not kind.in_folders and (binary := binary_kind(_head(place, kind.compression))):
        adopt = "; token files are taken with dataset.adopt" if place.suffix == ".bin" else ""
        raise DataError(f"{key} must name a file of UTF-8 text; {place} holds {binary}{adopt}")
    if is_table(place):
        note = f"{place}: read as plain text; only .jsonl and .parquet are read by field"
        return Selection((place,), place.parent, (note,))
    return Selection((place,), place.parent)


def _head(path: Path, compression: str) -> bytes:
    try:
        with open_bytes(path, compression) as file:
            return file.read(HEAD)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _in_folder(entry: Entry) -> Entry:
    """A folder holds files of all kinds: those that are surely text to train on are taken."""
    if entry.reason is None and not kind_of(entry.path).in_folders:
        return Entry(entry.path, _OTHER_KINDS)
    return _not_outputs(entry)


def _in_glob(entry: Entry) -> Entry:
    """A glob names its files: whatever may be text is taken."""
    kind = kind_of(entry.path)
    if entry.reason is None and not kind.in_folders:
        try:
            if binary_kind(_head(entry.path, kind.compression)):
                return Entry(entry.path, _NOT_TEXT)
        except DataError:
            return entry  # reading it says what is wrong
    return _not_outputs(entry)


def _not_outputs(entry: Entry) -> Entry:
    if entry.reason is not None:
        return entry
    if is_tokenizer_file(entry.path):
        return Entry(entry.path, _TOKENIZER)
    return Entry(entry.path, OWN) if is_samples(entry.path) else entry


def _matches(pattern: Path) -> Iterator[Entry]:
    """What a glob matches; names that begin with a dot only where the pattern has the dot."""
    parts = pattern.parts
    if "**" not in parts:
        yield from _matches_of_one_depth(pattern)
        return
    at = parts.index("**")
    base, tail = Path(*parts[:at]), parts[at:]
    folders = [path for path in _globbed(base) if path.is_dir()] if at else [base]
    for folder in folders:
        for entry in walk(folder, hidden=any(part.startswith(".") for part in tail)):
            name = entry.path.relative_to(folder)
            left_out = entry.reason is not None and not name.name.startswith(".")
            if _fits(name.parts, tail) or (left_out and entry.path.is_dir()):
                yield entry


def _matches_of_one_depth(pattern: Path) -> Iterator[Entry]:
    """Matches of a glob without `**`, and the folders on the way to one that are passed over."""
    at = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    fixed = Path(*pattern.parts[:at])
    listed = functools.cache(names_in)
    for path in _globbed(pattern):
        steps = [fixed.joinpath(*path.parts[at : n + 1]) for n in range(at, len(path.parts))]
        left_out = next(
            (Entry(step, reason) for step in steps[:-1] if (reason := made_by(step, listed(step)))),
            None,
        )
        if is_own_name(fixed, listed(fixed), steps[0].name):
            left_out = Entry(steps[0], OWN)
        reason = _FOLDERS if path.is_dir() else trouble_with(path)
        linked = any(step.is_symlink() for step in steps)
        yield left_out or Entry(path, reason, linked)


def _globbed(pattern: Path) -> list[Path]:
    return sorted(Path(name) for name in glob.glob(str(pattern)))  # noqa: PTH207  (absolute too)


def _fits(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a relative path matches the parts of a pattern, as in a shell with globstar."""
    if not pattern:
        return not names
    if pattern[0] == "**":
        if not names:
            return _fits(names, pattern[1:])
        if len(pattern) == 1:
            return not any(name.startswith(".") for name in names)
        deeper = not names[0].startswith(".") and _fits(names[1:], pattern)
        return _fits(names, pattern[1:]) or deeper
    if not names or names[0].startswith(".") > pattern[0].startswith("."):
        return False
    return fnmatch(names[0], pattern[0]) and _fits(names[1:], pattern[1:])


def _each_once(entries: Iterable[Entry]) -> tuple[list[Path], list[Entry]]:
    """Files sorted by name, each under one name; and what is passed over.

    Of the names of a file the one that no link leads to is kept, so that a link that comes later
    changes no fingerprint.
    """
    passed_over: dict[Path, Entry] = {}
    found: dict[Path, Entry] = {}
    for entry in entries:
        (found if entry.reason is None else passed_over).setdefault(entry.path, entry)
    for path in [path for path in found if kind_of(path).compression]:
        if path.with_suffix("") in found:  # as gzip -k leaves them
            found.pop(path)
            passed_over[path] = Entry(path, _COMPRESSED)
    files, seen = [], set[object]()
    real = functools.cache(os.path.realpath)
    for entry in sorted(found.values(), key=lambda entry: (entry.linked, entry.path.as_posix())):
        path = entry.path
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        keys: set[object] = {
            real(path) if entry.linked else str(Path(real(path.parent), path.name))
        }
        if status.st_nlink > 1 and status.st_ino:  # hard links: other names of the same file
            keys.add((status.st_dev, status.st_ino))
        if seen.isdisjoint(keys):
            files.append(path)
        else:
            passed_over[path] = Entry(path, TWICE)
        seen |= keys
    return sorted(files, key=lambda path: path.as_posix()), list(passed_over.values())


def _summary(passed_over: list[Entry], root: Path | None) -> str:
    """`, 5 passed over (hidden: .a, .b; other kinds: c.png, d.png and 1 more)`; or nothing."""
    if not passed_over:
        return ""
    groups: dict[str, list[str]] = {}
    for entry in sorted(passed_over, key=lambda entry: entry.path.as_posix()):
        name = entry.path if root is None else entry.path.relative_to(root)
        groups.setdefault(entry.reason or "", []).append(name.as_posix())
    said = []
    for reason, names in sorted(groups.items()):
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        said.append(f"{reason}: {', '.join(names[:_SHOWN])}{more}")
    return f", {len(passed_over):,} passed over ({'; '.join(said)})"
