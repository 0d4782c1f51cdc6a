"""Files as bytes, decompressed as they are read, in constant memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from gpt_pipeline.errors import DataError, how_to_install

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BUFFER = 1 << 16

_FRAME = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_RLE_BLOCK = 1


def open_bytes(path: Path, compression: str) -> BinaryIO:
    """The content of a file, decompressed; several members or frames are read as one.

    MemoryReading raises a DataError that names the file where its compressed data are damaged or
    end early.

    Args:
        path: the file.
        compression: one of `COMPRESSIONS`, or empty.

    Raises:
        DataError: the file is empty, or the package that reads the format is not installed.
        OSError: the file cannot be opened.
    """
    if not compression:
        return path.open("rb", buffering=_BUFFER)
    if path.stat().st_size == 0:  # some of the decompressors take it for an empty text
        raise DataError(
            f"{path} is empty, and so no compressed data; copy it again from its source"
        )
    at_end = _check_frames if compression == ".zst" else None
    return io.BufferedReader(_Decompressed(_OPEN[compression](path), path, at_end), _BUFFER)


class _Decompressed(io.RawIOBase):
    """A decompressor's output, with its dozen kinds of error as one."""

    def __init__(self, inner: IO[bytes], path: Path, at_end: Callable[[Path], None] | None) -> None:
        self._inner, self._path, self._at_end = inner, path, at_end

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the whole buffer unless the data end."""
        view = memoryview(buffer).cast("B")
        filled = 0
        try:
            while filled < len(view) and (part := self._inner.read(len(view) - filled)):
                view[filled : filled + len(part)] = part
                filled += len(part)
            if filled < len(view) and self._at_end is not None:
                self._at_end(self._path)
        except EOFError as error:
            raise self._damaged("it ends early") from error
        except (zlib.error, lzma.LZMAError, ValueError) as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            if error.errno is not None:
                raise  # of the disk, not of the data
            raise self._damaged(str(error)) from error
        return filled

    def close(self) -> None:
        """Close the file too."""
        self._inner.close()
        super().close()

    def _damaged(self, reason: str) -> DataError:
        return DataError(
            f"{self._path} is damaged or incomplete compressed data ({reason}); "
            "copy it again from its source"
        )


def _zstandard(path: Path) -> IO[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise DataError(f"{path} needs the library zstandard; {how_to_install('zstd')}") from error
    return cast("IO[bytes]", _ZstandardErrors(path, zstandard))


class _ZstandardErrors:
    """A reader of frames that raises ValueError, not an optional package's own class."""

    def __init__(self, path: Path, zstandard: Any) -> None:
        self._error = zstandard.ZstdError
        self._file = path.open("rb")
        self._reader = zstandard.ZstdDecompressor().stream_reader(
            self._file, read_across_frames=True
        )

    def read(self, size: int) -> bytes:
        try:
            return bytes(self._reader.read(size))
        except self._error as error:
            raise ValueError(str(error)) from error

    def close(self) -> None:
        self._reader.close()
        self._file.close()


_OPEN: dict[str, Callable[[Path], IO[bytes]]] = {
    ".gz": lambda path: cast("IO[bytes]", gzip.open(path)),  # noqa: SIM115  (closed by its reader)
    ".bz2": lambda path: bz2.open(path),  # noqa: SIM115
    ".xz": lambda path: lzma.open(path),  # noqa: SIM115
    ".zst": _zstandard,
}


def _check_frames(path: Path) -> None:
    """Whether the last frame is whole: the decompressor takes a file that was cut for a short one.

    Only the headers of frames and blocks are read (RFC 8878, section 3.1).

    Raises:
        EOFError: the file ends within a frame.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        while file.tell() < size:
            magic = _exactly(file, 4)
            if int.from_bytes(magic, "little") in _SKIPPABLE:
                file.seek(int.from_bytes(_exactly(file, 4), "little"), io.SEEK_CUR)
            elif magic == _FRAME:
                _skip_frame(file)
            else:
                raise ValueError("unknown frame descriptor")
        if file.tell() > size:
            raise EOFError


def _skip_frame(file: IO[bytes]) -> None:
    descriptor = _exactly(file, 1)[0]
    single_segment, size_flag = descriptor >> 5 & 1, descriptor >> 6
    header = 0 if single_segment else 1  # the window
    header += (0, 1, 2, 4)[descriptor & 3]  # the dictionary's id
    header += (single_segment, 2, 4, 8)[size_flag]  # the size of the content
    _exactly(file, header)
    last = False
    while not last:
        block = int.from_bytes(_exactly(file, 3), "little")
        last = bool(block & 1)
        file.seek(1 if block >> 1 & 3 == _RLE_BLOCK else block >> 3, io.SEEK_CUR)
    if descriptor >> 2 & 1:
        _exactly(file, 4)  # the checksum


def _exactly(file: IO[bytes], count: int) -> bytes:
    found = file.read(count)
    if len(found) < count:
        raise EOFError
    return found
