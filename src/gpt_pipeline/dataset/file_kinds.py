"""What a file holds, by its name and by its first bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Form = Literal["text", "jsonl", "parquet"]

_FORMS: dict[str, Form] = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
}
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")
FOLDER_SUFFIXES = ", ".join(_FORMS)
"""What a folder is searched for, in words; the compressed forms of text and .jsonl come on top."""

_UTF16_NULS = 0.7

_BY_FIELD = (".json", ".ndjson", ".csv", ".tsv")


@dataclass(frozen=True)
class FileKind:
    """How a file is read.

    Attributes:
        form: its content, after decompression.
        compression: its last suffix, where that is one of `COMPRESSIONS`; else empty.
        in_folders: whether a folder of text is searched for such files.
    """

    form: Form
    compression: str
    in_folders: bool


def kind_of(path: Path) -> FileKind:
    """The kind that a file's name says, in any case; a name without a known suffix is text."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    form = _FORMS.get(suffixes[-1]) if suffixes else None
    # .parquet is compressed inside, and is not read front to back
    return FileKind(
        form or "text",
        compression,
        form in _FORMS.values() and not (form == "parquet" and compression),
    )


def is_table(path: Path) -> bool:
    """Whether a file is read as plain text although its name says that it has fields."""
    return path.suffix.lower() in _BY_FIELD


_SIGNATURES = (
    (b"\x1f\x8b\x08", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\0", "xz data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"PK\x03\x04", "a zip archive (also .docx, .epub, .pth)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"%PDF-", "a PDF document"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PAR1", "Parquet data"),
    (b"ARROW1\0\0", "Arrow data"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 data"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"GGUF", "a GGUF model"),
    (b"\x7fELF", "a program"),
    (b"\xff\xfe\0\0", "UTF-32 text"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
HEAD = 8192
"""Bytes at the start of a file that are looked at."""


def signature_of(head: bytes) -> str | None:
    """The format that the first bytes of a file are the mark of, if any."""
    if head[257:262] == b"ustar":
        return "a tar archive"
    return next((name for mark, name in _SIGNATURES if head.startswith(mark)), None)


def binary_kind(head: bytes) -> str | None:
    """What a file is instead of text, by its first bytes; None where it may be text."""
    return signature_of(head) or ("binary data" if b"\0" in head else None)


def is_bare_utf16(head: bytes) -> bool:
    """Whether text is UTF-16 without a byte order mark: NUL is most of every second byte."""
    even, odd = head[::2], head[1::2]
    nuls = even.count(0), odd.count(0)
    return len(odd) >= 8 and min(nuls) == 0 and max(nuls) >= len(odd) * _UTF16_NULS
