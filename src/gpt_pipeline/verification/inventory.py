"""Finds checkpoints, token files, tokenizers, run folders and leftovers at or below a path."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt_pipeline.checkpoint.checkpoint import NAME, WEIGHTS
from gpt_pipeline.checkpoint.manifest import MANIFEST
from gpt_pipeline.checkpoint.store import ASIDE, EARLIER, REPLACED, UNFINISHED
from gpt_pipeline.dataset.make_tokenizer import RECORD_FILE, TOKENIZER_FILE
from gpt_pipeline.verification.run_check import is_run_folder

Kind = Literal[
    "checkpoint", "tokens", "tokenizer", "run", "aside", "earlier", "leftover", "unknown"
]

_ASIDE = re.compile(rf".+{re.escape(ASIDE)}(-\d+)?")
_EARLIER = re.compile(rf".+{EARLIER}\d{{4}}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?")
_LEFTOVER_FOLDER = re.compile(rf"({re.escape(UNFINISHED)}|{re.escape(REPLACED)}).+")
_LEFTOVER_FILE = re.compile(r"\..+\.tmp")
_OURS = "dataset_"


@dataclass(frozen=True)
class Item:
    """Something to verify or to report.

    Attributes:
        path: the checkpoint, .bin file, tokenizer or run folder, or what cannot be listed.
        kind: what it is.
        holds: the file inside the item that the user named; None if the user named the item.
    """

    path: Path
    kind: Kind
    holds: Path | None = None


def items(paths: list[Path]) -> Iterator[Item]:
    """Yield every item at or below the paths once."""
    seen: set[tuple[str, Kind]] = set()
    for path in paths:
        for item in _given(path):
            key = (os.path.realpath(item.path), item.kind)
            if key not in seen:
                seen.add(key)
                yield item


def _given(path: Path) -> Iterator[Item]:
    """Items of a path that the user named; it is checked whatever its name is."""
    if path.is_dir():
        if _ASIDE.fullmatch(path.name) and _is_checkpoint(path):
            yield Item(path, "checkpoint")
        elif (kind := _kind_of_folder(path)) is not None:
            yield Item(path, kind)
        elif owner := _owner(path):
            yield owner
        else:
            yield from _below(path, frozenset())
    elif path.suffix == ".bin":
        yield Item(path, "tokens")
    elif owner := _owner(path):
        yield owner
    elif path.name in (TOKENIZER_FILE, RECORD_FILE):
        yield Item(path.with_name(TOKENIZER_FILE), "tokenizer")
    elif path.suffix == ".json" and _is_sidecar(path):
        yield Item(path.with_suffix(".bin"), "tokens", path)
    else:
        yield Item(path, "leftover" if _LEFTOVER_FILE.fullmatch(path.name) else "unknown")


def _owner(path: Path) -> Item | None:
    """The checkpoint or run folder that contains a path."""
    for folder in list(path.absolute().parents)[:2]:  # two, because of training/ and .hydra/
        shown = Path(os.path.relpath(folder)) if not path.is_absolute() else folder
        if _is_checkpoint(folder):
            return Item(shown, "checkpoint", path)
        if is_run_folder(folder):
            return Item(shown, "run", path)
    return None


def _below(folder: Path, above: frozenset[str]) -> Iterator[Item]:
    """Items in a folder; `above` has the real paths of its parents, to stop at circular links."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        yield Item(folder, "unknown")
        return
    for entry in entries:
        if not entry.is_dir():
            yield from _file(entry, entries)
            continue
        kind = _kind_of_folder(entry)
        if kind is not None:
            yield Item(entry, kind)
        if kind == "earlier" or (kind is None and not _passed_over(entry)):
            yield from _below(entry, above | {real})


def _kind_of_folder(path: Path) -> Kind | None:
    """The kind of a folder; None if it only contains other items."""
    if _LEFTOVER_FOLDER.fullmatch(path.name):
        return "leftover"
    if _ASIDE.fullmatch(path.name):
        return "aside"
    if _EARLIER.fullmatch(path.name):
        return "earlier"
    if _is_checkpoint(path):
        return "checkpoint"
    return "run" if is_run_folder(path) else None


def _is_checkpoint(path: Path) -> bool:
    if (path / MANIFEST).is_file() or NAME.fullmatch(path.name):
        return True
    return (path / WEIGHTS).is_file() and (path / "training").is_dir()


def _file(path: Path, siblings: list[Path]) -> Iterator[Item]:
    """The item that a file belongs to, if any; `siblings` are the files of its folder."""
    if not _is_data_folder(siblings):
        return  # a .bin may be bare tokens to adopt, or another program's
    if path.suffix == ".bin" and not path.name.startswith("."):
        yield Item(path, "tokens")
    elif path.suffix == ".json" and path.with_suffix(".bin") in siblings:
        return  # a sidecar: verified with its file
    elif path.suffix == ".json" and path.name.startswith(_OURS):
        yield Item(path.with_suffix(".bin"), "tokens", path)  # its .bin is missing
    elif path.name == TOKENIZER_FILE:
        yield Item(path, "tokenizer")
    elif path.name == RECORD_FILE and path.with_name(TOKENIZER_FILE) not in siblings:
        yield Item(path.with_name(TOKENIZER_FILE), "tokenizer", path)
    elif _LEFTOVER_FILE.fullmatch(path.name):
        yield Item(path, "leftover")


def _is_data_folder(files: list[Path]) -> bool:
    """Whether this package wrote the files of a folder, by their names or by a sidecar."""
    return any(
        file.name == RECORD_FILE
        or (file.suffix in (".bin", ".json") and file.name.startswith(_OURS))
        or (file.suffix == ".bin" and file.with_suffix(".json") in files)
        for file in files
    )


def _is_sidecar(path: Path) -> bool:
    return path.with_suffix(".bin").exists() or path.name.startswith(_OURS)


def _passed_over(path: Path) -> bool:
    """Whether to skip a folder: hidden ones and Python environments."""
    return path.name.startswith(".") or (path / "pyvenv.cfg").exists()
