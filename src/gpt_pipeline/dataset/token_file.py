"""Token files: raw little-endian ids and a sidecar that describes them (docs/formats.md)."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gpt_pipeline.dataset.corpus import Encoded
from gpt_pipeline.dataset.sidecar import (
    FORMAT_VERSION,
    Sidecar,
    dtype_for,
    read_sidecar,
    sidecar_json,
    sidecar_path,
)
from gpt_pipeline.durable import replacing, sync, sync_open
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import Tokenizer

_CHUNK = 1 << 20
"""Bytes per read; a multiple of both types' size."""

Tokens = NDArray[np.uint16] | NDArray[np.uint32]


@dataclass(frozen=True)
class Origin:
    """Whose token file it is: the tokenizer and the source that it was made with."""

    tokenizer: Tokenizer
    source: str
    fingerprint: str


def open_tokens(path: Path) -> tuple[Tokens, Sidecar]:
    """The ids as a read-only memory map, however large, and their sidecar.

    Raises:
        DataError: when either file is missing, or the size is unlike the sidecar's.
    """
    sidecar = read_sidecar(path)
    _check_size(path, sidecar)
    return np.memmap(path, dtype=sidecar.numpy_dtype, mode="r"), sidecar


def read_chunks(path: Path, sidecar: Sidecar) -> Iterator[Tokens]:
    """The ids in pieces, each in the memory of the one before it.

    Read and not mapped: a disk that fails is an error then, and not a killed process.

    Raises:
        DataError: when the file cannot be read, or has not the size that the sidecar says.
    """
    _check_size(path, sidecar)
    buffer = memoryview(bytearray(_CHUNK))
    try:
        with path.open("rb") as file:
            while size := file.readinto(buffer):
                size -= size % np.dtype(sidecar.numpy_dtype).itemsize
                yield np.frombuffer(buffer[:size], dtype=sidecar.numpy_dtype)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def verify_token_file(path: Path) -> Sidecar:
    """Read every byte and compare it with the sidecar.

    Raises:
        DataError: with the first thing that is wrong.
    """
    sidecar = read_sidecar(path)
    digest = hashlib.sha256()
    start = 0
    for chunk in read_chunks(path, sidecar):
        digest.update(chunk.data)
        if int(chunk.max()) >= sidecar.vocab_size:
            place = int(np.argmax(chunk >= sidecar.vocab_size))
            raise DataError(
                f"{path}: ids must be below vocab_size={sidecar.vocab_size}; "
                f"got {int(chunk[place])} at token {start + place}; run `gpt-pipeline data`"
            )
        start += len(chunk)
    if digest.hexdigest() != sidecar.sha256:
        raise DataError(
            f"{path} must have the SHA-256 {sidecar.sha256}; got {digest.hexdigest()}; "
            "run `gpt-pipeline data`"
        )
    return sidecar


def _check_size(path: Path, sidecar: Sidecar) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}; run `gpt-pipeline data`"
        ) from error
    if size != sidecar.file_bytes:
        raise DataError(
            f"{path} must be {sidecar.file_bytes} bytes as its sidecar says; got {size}; "
            "run `gpt-pipeline data`"
        )


class TokenFileWriter:
    """Writes a token file that is whole or absent.

    Ids go to a temporary file. Leaving the block without an error renames it and then writes the
    sidecar, without which a .bin does not count; after an error (Ctrl-C too) nothing is left.

    Raises:
        DataError: when the disk is full or the folder cannot be written.
    """

    def __init__(self, path: Path, origin: Origin) -> None:
        self._path = path
        self._origin = origin
        self._dtype = np.dtype(dtype_for(origin.tokenizer.vocab_size)).newbyteorder("<")
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._digest = hashlib.sha256()
        self._tokens = self._documents = self._bytes = 0
        self._floor_bits: float | None = None
        self._file: BinaryIO
        self.sidecar: Sidecar
        """The facts of the file, when the block has ended."""

    def __enter__(self) -> "TokenFileWriter":
        with self._reported():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("wb")
        return self

    def append(self, piece: Encoded) -> None:
        """Add the ids of some documents, and what they count."""
        raw = piece.ids.astype(self._dtype, copy=False).tobytes()
        with self._reported():
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
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._tokens == 0:
            raise DataError(f"no documents in {self._origin.source}; nothing to write")
        place = sidecar_path(self._path)
        self.sidecar = self._facts()
        with self._reported():
            self._file.close()
            sync(self._temporary)
            with replacing(place) as file:
                file.write(sidecar_json(self.sidecar))
                file.flush()
                sync_open(file.fileno())  # a disk that is full says so before the old file goes
                # Remove the old sidecar first, so that it never describes another .bin.
                place.unlink(missing_ok=True)
                self._temporary.replace(self._path)

    def _facts(self) -> Sidecar:
        tokenizer = self._origin.tokenizer
        return Sidecar(
            format_version=FORMAT_VERSION,
            file=self._path.name,
            dtype=self._dtype.name,
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
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            why = "the disk is full" if full else error.strerror
            raise DataError(
                f"cannot write {self._path} after {self._tokens * self._dtype.itemsize} bytes: "
                f"{why}; free some space or choose another dataset.data_dir"
            ) from error
