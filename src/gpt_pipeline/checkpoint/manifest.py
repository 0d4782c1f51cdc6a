"""manifest.json: the files of a checkpoint and their hashes."""

import errno
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION, OLDEST_READABLE
from gpt_pipeline.durable import parsed, read_limited, sealed, sha256_of, unsealed
from gpt_pipeline.errors import CheckpointError, DamagedError

MANIFEST = "manifest.json"

_TYPES: dict[str, tuple[type, ...]] = {
    "format_version": (int,),
    "name": (str,),
    "step": (int,),
    "tokens_seen": (int,),
    "val_loss": (float, int, type(None)),
    "validation": (dict, type(None)),
    "data_fingerprint": (str,),
    "saved_at": (str,),
    "versions": (dict,),
    "files": (dict,),
    "val_data_fingerprint": (str, type(None)),
    "train_documents": (int, type(None)),
}
_OPTIONAL = {"val_data_fingerprint", "train_documents"}
"""Keys that older manifests of the same format version lack."""


def with_eot(train_documents: int | None) -> bool:
    """Whether training saw end-of-text before documents; None: their number is not known."""
    return train_documents is None or train_documents > 1


@dataclass(frozen=True)
class FileRecord:
    """Size and SHA-256 of one file of a checkpoint."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json; `files` has every other file of the checkpoint."""

    format_version: int
    name: str
    step: int
    tokens_seen: int
    val_loss: float | None
    """validation loss of a partial evaluation at this step; `best` is the lowest"""
    validation: Mapping[str, float] | None
    """metrics over every validation token, in the last checkpoint of a run"""
    data_fingerprint: str
    saved_at: str
    versions: Mapping[str, str]
    files: Mapping[str, FileRecord]
    val_data_fingerprint: str | None = None
    """SHA-256 of the validation tokens; None without validation data, or if not recorded"""
    train_documents: int | None = None
    """documents of the training text; None if not recorded"""

    def is_of_other_validation_text(self, val_data_fingerprint: str | None) -> bool:
        """Whether its losses may be of another validation text than the one with this hash."""
        return self.val_data_fingerprint != val_data_fingerprint

    def write(self, folder: Path) -> None:
        """Write manifest.json into a folder, with a hash of itself."""
        (folder / MANIFEST).write_bytes(sealed(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read manifest.json.

        Raises:
            DamagedError: it is missing or damaged.
            CheckpointError: it is of an unsupported format version.
        """
        path = folder / MANIFEST
        try:
            raw = read_limited(path)
            values = parsed(raw)
            version = values.get("format_version")
            if version not in range(OLDEST_READABLE, FORMAT_VERSION + 1):
                raise CheckpointError(
                    f"{path} must have a format_version from {OLDEST_READABLE} to "
                    f"{FORMAT_VERSION}; got {str(version)[:20]!r}; use the version of "
                    "gpt-pipeline that wrote it"
                )
            if version != 1:  # the first version had no seal
                values = unsealed(raw)
        except FileNotFoundError:
            raise DamagedError(f"{folder} has no {MANIFEST}: not a whole checkpoint") from None
        except ValueError as error:
            raise DamagedError(f"{path} is damaged: {error}") from None
        except OSError as error:
            raise unreadable(path, error) from None
        _check(values, {field.name for field in fields(cls)}, path)
        values["files"] = {name: FileRecord(**found) for name, found in values["files"].items()}
        return cls(**values)


def record(path: Path) -> FileRecord:
    """Size and hash of a file."""
    return FileRecord(bytes=path.stat().st_size, sha256=sha256_of(path))


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """The error for a file that cannot be read: damage only if the disk fails."""
    kind = DamagedError if error.errno == errno.EIO else CheckpointError
    return kind(f"{path} cannot be read: {error.strerror or error}")


def _check(values: dict[str, Any], names: set[str], path: Path) -> None:
    """Refuse values that `Manifest` cannot be made of; they are untrusted."""
    if odd := (names ^ values.keys()) - (_OPTIONAL - values.keys()):
        raise DamagedError(f"{path} is damaged: keys {sorted(odd)} missing or unknown")
    wrong = [name for name in values if type(values[name]) not in _TYPES[name]]
    if not wrong and (values["step"] < 0 or values["tokens_seen"] < 0):
        wrong = ["step or tokens_seen"]
    if not wrong and not math.isfinite(values["val_loss"] or 0.0):
        wrong = ["val_loss"]
    records = {field.name for field in fields(FileRecord)}
    if not wrong and any(
        not isinstance(found, dict) or found.keys() != records for found in values["files"].values()
    ):
        wrong = ["files"]
    if wrong:
        raise DamagedError(f"{path} is damaged: {', '.join(wrong)} cannot be what it says")
