"""Documents in text, .jsonl and .parquet files, read in constant memory."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from gpt_pipeline.dataset.compressed import open_bytes
from gpt_pipeline.dataset.corpus import checked_text, cleaned
from gpt_pipeline.dataset.file_kinds import HEAD, is_bare_utf16, kind_of, signature_of
from gpt_pipeline.dataset.parquet_file import read_parquet
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import END_OF_TEXT

Separator = Literal["auto", "endoftext", "endoftext_anywhere", "blank_line", "none"]

_BOM = b"\xef\xbb\xbf"
_END = END_OF_TEXT.encode("ascii")
_END_LINE = re.compile(rb"^" + re.escape(_END) + rb"\r*$", re.MULTILINE)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Format:
    """How documents are found in a file.

    `separator` is for text: `endoftext` ends a document at each line that is exactly
    `<|endoftext|>`, `endoftext_anywhere` at each `<|endoftext|>`, `blank_line` at each line of
    whitespace, `none` takes a file as one; `auto` is endoftext for a file that has such a line
    anywhere, and blank_line for others. `text_field` is for .jsonl and .parquet, whose values are
    documents; only endoftext_anywhere splits them too.
    """

    separator: Separator
    text_field: str


def read_documents(path: Path, form: Format) -> Iterator[str]:
    """Documents of one file in order, cleaned; empty ones are skipped.

    Raises:
        DataError: with the file and the byte offset, line or row of what is wrong.
    """
    kind = kind_of(path)
    try:
        if kind.form == "parquet":
            if kind.compression:
                raise DataError(
                    f"{path} must be decompressed first: .parquet is not read from "
                    f"{kind.compression}"
                )
            texts = _split(read_parquet(path, form.text_field), form)
        elif kind.form == "jsonl":
            texts = _split(_jsonl(path, form, kind.compression), form)
        else:
            texts = _text(path, form, kind.compression)
        for text in texts:
            document = cleaned(text)
            if document is not None:
                yield document
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _split(texts: Iterator[str], form: Format) -> Iterator[str]:
    if form.separator != "endoftext_anywhere":
        return texts
    return (part for text in texts for part in text.split(END_OF_TEXT))


def _text(path: Path, form: Format, compression: str) -> Iterator[str]:
    separator = form.separator
    if separator == "auto" and compression:
        with open_bytes(path, compression) as file:
            _skip_bom(file)
            separator = _separator_of(file)
    with open_bytes(path, compression) as file:
        start = _skip_bom(file)
        if is_bare_utf16(file.peek(HEAD)[:HEAD]):  # type: ignore[attr-defined]
            raise DataError(
                f"{path} must be UTF-8; it looks like UTF-16; convert the file to UTF-8"
            )
        if separator == "auto":
            separator = _separator_of(file)
            file.seek(start)
        if separator == "endoftext_anywhere":
            yield from _by_marker(file, start, path)
        else:
            yield from _by_line(file, start, path, separator)


def _by_line(file: BinaryIO, start: int, path: Path, separator: str) -> Iterator[str]:
    """Documents that a line ends; `start` is the offset of the first."""
    position = start
    lines: list[bytes] = []
    for line in file:
        position += len(line)
        if _ends_document(line, separator):
            yield _decoded(b"".join(lines), start, path)
            lines, start = [], position
        else:
            lines.append(line)
    yield _decoded(b"".join(lines), start, path)


def _by_marker(file: BinaryIO, start: int, path: Path) -> Iterator[str]:
    """Documents that a marker ends wherever it is; a line is never held whole."""
    parts: list[bytes] = []
    carry = b""  # what may be the beginning of a marker
    while chunk := file.read(_CHUNK):
        data, at = carry + chunk, 0
        while (end := data.find(_END, at)) >= 0:
            parts.append(data[at:end])
            yield _decoded(b"".join(parts), start, path)
            start += sum(map(len, parts)) + len(_END)
            parts, at = [], end + len(_END)
        keep = max(at, len(data) - len(_END) + 1)
        parts.append(data[at:keep])
        carry = data[keep:]
    yield _decoded(b"".join([*parts, carry]), start, path)


def _separator_of(file: BinaryIO) -> Separator:
    """What `auto` is for a file, read to its first line that is a marker."""
    while chunk := file.read(_CHUNK):
        chunk += file.readline()
        if _END in chunk and _END_LINE.search(chunk):
            return "endoftext"
    return "blank_line"


def first_marker_line(path: Path, separator: Separator) -> int | None:
    """The first line of a text that has a marker which ends no document, from 1; None: no line."""
    if kind_of(path).form != "text":
        return None
    by_line = separator in ("auto", "endoftext")
    with open_bytes(path, kind_of(path).compression) as file:
        _skip_bom(file)
        for number, line in enumerate(file, start=1):
            if _END in line and not (by_line and _ends_document(line, "endoftext")):
                return number
    return None


def _ends_document(line: bytes, separator: str) -> bool:
    if separator == "endoftext":
        return line.startswith(_END) and line.rstrip(b"\r\n") == _END
    return separator == "blank_line" and not line.strip()


def _skip_bom(file: BinaryIO) -> int:
    """Skip a byte order mark; returns the offset of the first text."""
    if file.peek(len(_BOM))[: len(_BOM)] != _BOM:  # type: ignore[attr-defined]
        return 0
    return len(file.read(len(_BOM)))


def _decoded(raw: bytes, offset: int, path: Path) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        with open_bytes(path, kind_of(path).compression) as file:
            holds = signature_of(file.read(HEAD))
        what = f" (it holds {holds})" if holds else ""
        raise DataError(
            f"{path} must be UTF-8; got the byte {raw[error.start]:#04x} at byte offset "
            f"{offset + error.start}{what}; convert the file to UTF-8"
        ) from error


def _jsonl(path: Path, form: Format, compression: str) -> Iterator[str]:
    with open_bytes(path, compression) as file:
        offset = _skip_bom(file)
        for number, line in enumerate(file, start=1):
            text = _decoded(line, offset, path)
            offset += len(line)
            if text.strip():
                yield _field(text, form.text_field, f"{path} line {number}")


def _field(line: str, name: str, where: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} must be JSON; got {line.strip()[:40]!r} ({error})") from error
    if not isinstance(record, dict) or name not in record:
        found = sorted(record) if isinstance(record, dict) else type(record).__name__
        raise DataError(
            f"{where} must have the field {name!r}; got {str(found)[:200]}; "
            "name the right one with dataset.text_field"
        )
    return checked_text(record[name], name, where)
