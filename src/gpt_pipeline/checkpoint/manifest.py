"""manifest.json: what a bundle holds, and the hashes that prove it whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gpt_pipeline.errors import CheckpointError

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FileRecord:
    """Size and SHA-256 of one file of a bundle."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json; `files` has every other file of the bundle."""

    format_version: int
    name: str
    step: int
    tokens_seen: int
    val_loss: float | None
    """loss of a quick look at the validation data at this step; what `best` is chosen by"""
    validation: Mapping[str, float] | None
    """the figures over every validation token, in the bundle that ends a run"""
    data_fingerprint: str
    saved_at: str
    versions: Mapping[str, str]
    files: Mapping[str, FileRecord]

    def write(self, folder: Path) -> None:
        """Write manifest.json into a folder."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read manifest.json.

        Raises:
            CheckpointError: when it is missing, not a manifest, or of another format version.
        """
        path = folder / MANIFEST
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            version = values["format_version"]
        except FileNotFoundError:
            raise CheckpointError(f"{folder} has no {MANIFEST}: not a whole bundle") from None
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged: {error!r}") from None
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{path} must have format_version {FORMAT_VERSION}; got {version}; "
                "use the version of gpt-pipeline that wrote it"
            )
        missing = {field.name for field in fields(cls)} ^ values.keys()
        if missing:
            raise CheckpointError(f"{path} is damaged: keys {sorted(missing)} missing or unknown")
        try:
            values["files"] = {k: FileRecord(**v) for k, v in values["files"].items()}
        except (AttributeError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from None
        return cls(**values)


def record(path: Path) -> FileRecord:
    """Size and hash of a file, read in chunks."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return FileRecord(bytes=size, sha256=digest.hexdigest())
