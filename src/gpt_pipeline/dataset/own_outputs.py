"""Folders that this program or another one made, which hold no text to train on.

The pipeline's own are known by the files in them, whatever their name and place: a checkpoint that
was renamed or set aside is still one.
"""

import json
from collections.abc import Collection
from fnmatch import fnmatchcase
from pathlib import Path

from gpt_pipeline.durable import parsed, read_limited

OWN = "own outputs"
OTHERS = "environments and caches"

_NOT_TEXT = ("__pycache__", "node_modules", "site-packages", "__MACOSX")
_UNREADABLE = ("lost+found", "$RECYCLE.BIN", "System Volume Information")
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
_MANIFEST_KEYS = {"format_version", "step", "files"}
_SAMPLE_KEYS = {"prompt", "text", "tokens", "finish_reason"}
_RUN_FILES = {"metrics.jsonl", "samples.md", "train.log"}

_FILES_OF = {
    "checkpoint": ("manifest.json", "config.yaml", "tokenizer.json", "generation.json"),
    "run": (*_RUN_FILES, "*_plot.png"),
    "tokens": ("dataset_*", "tokenizer.json", "tokenizer_record.json", "overlap.json"),
}
_FOLDERS_OF = {"checkpoint": ("training",), "run": ("profile",), "tokens": ()}


def made_by(folder: Path, names: Collection[str]) -> str | None:
    """`OWN` or `OTHERS` for a folder that has no text to train on; `names` is what it holds."""
    if folder.name in (*_NOT_TEXT, *_UNREADABLE) or any(mark in names for mark in _ENVIRONMENT):
        return OTHERS
    return OWN if _owner(folder, names) is not None else None


def may_be_unreadable(name: str) -> bool:
    """Whether a folder of this name belongs to the system, so that it need not be readable."""
    return name in _UNREADABLE


def is_own_name(folder: Path, names: Collection[str], name: str) -> bool:
    """Whether `name` in `folder` was written by the pipeline, which may hold other files too."""
    owner = _owner(folder, names)
    if owner is None:
        return False
    patterns = (*_FILES_OF[owner], *_FOLDERS_OF[owner])
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_tokenizer_file(path: Path) -> bool:
    """Whether a file is the merges.txt of a tokenizer: its folder has the vocabulary."""
    vocabularies = ("vocab.json", "tokenizer.json")
    return path.name == "merges.txt" and any(path.with_name(v).is_file() for v in vocabularies)


def is_samples(path: Path) -> bool:
    """Whether a .jsonl file was written by `inference output=`, by its first line."""
    if path.suffix.lower() != ".jsonl":
        return False
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline(1 << 20))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(first, dict) and first.keys() >= _SAMPLE_KEYS


def _owner(folder: Path, names: Collection[str]) -> str | None:
    if "model.safetensors" in names and ("config.yaml" in names or "training" in names):
        return "checkpoint"
    if "manifest.json" in names and _is_manifest(folder / "manifest.json"):
        return "checkpoint"
    if ".hydra" in names and not _RUN_FILES.isdisjoint(names):
        return "run"
    sidecars = (f"{name[:-4]}.json" for name in names if fnmatchcase(name, "dataset_*.bin"))
    if "tokenizer_record.json" in names or any(sidecar in names for sidecar in sidecars):
        return "tokens"
    return None


def _is_manifest(path: Path) -> bool:
    """Whether it is a checkpoint's: web pages and extensions of browsers have one too."""
    try:
        return parsed(read_limited(path)).keys() >= _MANIFEST_KEYS
    except (OSError, ValueError):
        return False
