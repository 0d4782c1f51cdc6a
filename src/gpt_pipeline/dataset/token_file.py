"""Token files: raw little-endian ids, with a sidecar of facts beside them (docs/formats.md)."""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gpt_pipeline.dataset.corpus import Encoded
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import Tokenizer

FORMAT_VERSION = 1
LARGEST_UINT16 = 1 << 16
"""Vocabularies above this many entries are stored as uint32."""

_CHUNK = 1 << 22
_DTYPES: dict[str, str] = {"uint16": "<u2", "uint32": "<u4"}

Tokens = NDArray[np.uint16] | NDArray[np.uint32]


@dataclass(frozen=True)
class Sidecar:
    """What is known of a token file; `bytes` counts UTF-8 text plus 1 a document for its end."""

    format_version: int
    dtype: str
    vocab_size: int
    tokenizer_sha256: str
    eot_id: int
    tokens: int
    documents: int
    bytes: int
    source: str
    source_fingerprint: str
    sha256: str
    floor_bits: float | None

    @property
    def floor_bits_per_byte(self) -> float | None:
        """The entropy of a generated corpus: what no model can be below; None if not known."""
        return None if self.floor_bits is None else self.floor_bits / self.bytes

    @property
    def file_bytes(self) -> int:
        """Size that the .bin must have."""
        return self.tokens * np.dtype(_DTYPES[self.dtype]).itemsize


@dataclass(frozen=True)
class Origin:
    """Whose token file it is: the tokenizer and the source that it was made with."""

    tokenizer: Tokenizer
    source: str
    fingerprint: str


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of the token file `path` is."""
    return path.with_suffix(".json")


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar of the token file `path`.

    Raises:
        DataError: when it is missing, damaged, or of another format version.
    """
    place = sidecar_path(path)
    try:
        values: Any = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{place} does not exist; run `gpt-pipeline data`") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{place} cannot be read ({error}); run `gpt-pipeline data`") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{place} must be of format version {FORMAT_VERSION}; got {version}; "
            "run `gpt-pipeline data`"
        )
    names = {field.name for field in fields(Sidecar)}
    if set(values) != names or values["dtype"] not in _DTYPES:
        unlike = sorted(set(values) ^ names) or [f"dtype {values['dtype']}"]
        raise DataError(f"{place} is damaged ({', '.join(unlike)}); run `gpt-pipeline data`")
    return Sidecar(**values)


def open_tokens(path: Path) -> tuple[Tokens, Sidecar]:
    """The ids as a read-only memory map, however large, and their sidecar.

    Raises:
        DataError: when either file is missing, or the size is unlike the sidecar's.
    """
    sidecar = read_sidecar(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if size != sidecar.file_bytes or size == 0:
        raise DataError(
            f"{path} must be {sidecar.file_bytes} bytes as its sidecar says; got {size}; "
            "run `gpt-pipeline data`"
        )
    return np.memmap(path, dtype=_DTYPES[sidecar.dtype], mode="r"), sidecar


def verify_token_file(path: Path) -> Sidecar:
    """Read every byte and compare it with the sidecar.

    Raises:
        DataError: with the first thing that is wrong.
    """
    tokens, sidecar = open_tokens(path)
    digest = hashlib.sha256()
    for start in range(0, len(tokens), _CHUNK):
        chunk = tokens[start : start + _CHUNK]
        digest.update(chunk.tobytes())
        if int(chunk.max()) >= sidecar.vocab_size:
            place = int(np.argmax(chunk >= sidecar.vocab_size))
            raise DataError(
                f"{path}: ids must be below vocab_size={sidecar.vocab_size}; "
                f"got {int(chunk[place])} at token {start + place}"
            )
    if digest.hexdigest() != sidecar.sha256:
        raise DataError(
            f"{path} must have the SHA-256 {sidecar.sha256}; got {digest.hexdigest()}; "
            "delete it and run `gpt-pipeline data`"
        )
    return sidecar


class TokenFileWriter:
    """Writes a token file that is whole or absent.

    Ids go to a temporary file. Leaving the block without an error renames it and then writes the
    sidecar, without which a .bin does not count; with an error (Ctrl-C too) nothing stays behind.

    Raises:
        DataError: when the disk is full or the folder cannot be written.
    """

    def __init__(self, path: Path, origin: Origin) -> None:
        self._path = path
        self._origin = origin
        self._dtype = "uint16" if origin.tokenizer.vocab_size <= LARGEST_UINT16 else "uint32"
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._digest = hashlib.sha256()
        self._tokens = self._documents = self._bytes = 0
        self._floor_bits: float | None = None
        self._file: BinaryIO

    def __enter__(self) -> "TokenFileWriter":
        with self._told():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb")
        return self

    def append(self, piece: Encoded) -> None:
        """Add the ids of some documents, and what they count."""
        raw = piece.ids.astype(_DTYPES[self._dtype], copy=False).tobytes()
        with self._told():
            self._file.write(raw)
        self._digest.update(raw)
        self._tokens += len(piece.ids)
        self._documents += piece.documents
        self._bytes += piece.num_bytes
        if piece.floor_bits is not None:
            self._floor_bits = (self._floor_bits or 0.0) + piece.floor_bits

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            for left in (self._temporary, self._sidecar_temporary):
                with contextlib.suppress(OSError):
                    left.unlink(missing_ok=True)

    @property
    def _sidecar_temporary(self) -> Path:
        return self._temporary.with_suffix(".json.tmp")

    def _finish(self) -> None:
        if self._tokens == 0:
            raise DataError(f"no documents in {self._origin.source}; nothing to write")
        with self._told():
            _sync(self._file)
            self._file.close()
            with self._sidecar_temporary.open("wb") as file:
                file.write(json.dumps(asdict(self._sidecar()), indent=1).encode("utf-8"))
                _sync(file)
            # The old sidecar goes first: at no moment does it stand beside another .bin.
            sidecar_path(self._path).unlink(missing_ok=True)
            self._temporary.replace(self._path)
            self._sidecar_temporary.replace(sidecar_path(self._path))
            _sync_folder(self._path.parent)

    def _sidecar(self) -> Sidecar:
        tokenizer = self._origin.tokenizer
        return Sidecar(
            format_version=FORMAT_VERSION,
            dtype=self._dtype,
            vocab_size=tokenizer.vocab_size,
            tokenizer_sha256=tokenizer.sha256,
            eot_id=tokenizer.eot_id,
            tokens=self._tokens,
            documents=self._documents,
            bytes=self._bytes,
            source=self._origin.source,
            source_fingerprint=self._origin.fingerprint,
            sha256=self._digest.hexdigest(),
            floor_bits=self._floor_bits,
        )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            size = self._tokens * np.dtype(_DTYPES[self._dtype]).itemsize
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            why = "the disk is full" if full else error.strerror
            raise DataError(
                f"cannot write {self._path} after {size} bytes: {why}; "
                "free some space or choose another dataset.data_dir"
            ) from error


def remove_stale_temporaries(folder: Path) -> None:
    """Remove what killed preparations left in `folder`; those of living processes stay."""
    for left in sorted(folder.glob(".*.tmp")):
        number = next((part for part in left.name.split(".")[::-1] if part.isdigit()), "")
        if number and not _alive(int(number)):
            with contextlib.suppress(OSError):
                left.unlink()


def _alive(process: int) -> bool:
    if os.name != "posix" or process == os.getpid():
        return False  # a number of our own, before we have opened anything: a container's restart
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
