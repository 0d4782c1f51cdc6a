"""Documents in .txt, .jsonl and .parquet files, read in constant memory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from gpt_pipeline.dataset.corpus import cleaned
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import END_OF_TEXT

SUFFIXES = (".txt", ".jsonl", ".parquet")
Separator = Literal["auto", "endoftext", "blank_line", "none"]

_BOM = b"\xef\xbb\xbf"
_END_LINE = END_OF_TEXT.encode("ascii")


@dataclass(frozen=True)
class Format:
    """How documents are found in a file.

    `separator` is for .txt: `endoftext` ends one at each line that is exactly `<|endoftext|>`,
    `blank_line` at each line of whitespace, `none` takes a file as one; `auto` is endoftext for a
    file that has such a line anywhere, and blank_line for others. `text_field` is for the rest.
    """

    separator: Separator
    text_field: str


def read_documents(path: Path, form: Format) -> Iterator[str]:
    """Documents of one file in order, cleaned; empty ones are passed over.

    Raises:
        DataError: with the file and the byte offset, line or row of what is wrong.
    """
    kinds = {".txt": _txt, ".jsonl": _jsonl, ".parquet": _parquet}
    try:
        for text in kinds[path.suffix.lower()](path, form):
            document = cleaned(text)
            if document is not None:
                yield document
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _txt(path: Path, form: Format) -> Iterator[str]:
    separator = form.separator
    if separator == "auto":
        separator = "endoftext" if _has_end_lines(path) else "blank_line"
    with path.open("rb") as file:
        start = position = _skip_bom(file)
        lines: list[bytes] = []
        for line in file:
            position += len(line)
            if _ends_document(line, separator):
                yield _decoded(b"".join(lines), start, path)
                lines, start = [], position
            else:
                lines.append(line)
        yield _decoded(b"".join(lines), start, path)


def _has_end_lines(path: Path) -> bool:
    with path.open("rb") as file:
        _skip_bom(file)
        return any(_ends_document(line, "endoftext") for line in file)


def _ends_document(line: bytes, separator: str) -> bool:
    if separator == "endoftext":
        return line.startswith(_END_LINE) and line.rstrip(b"\r\n") == _END_LINE
    return separator == "blank_line" and not line.strip()


def _skip_bom(file: BinaryIO) -> int:
    """Start reading behind a byte order mark, if there is one; the offset of the first text."""
    if file.read(len(_BOM)) == _BOM:
        return len(_BOM)
    file.seek(0)
    return 0


def _decoded(raw: bytes, offset: int, path: Path) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} must be UTF-8; got the byte {raw[error.start]:#04x} at byte offset "
            f"{offset + error.start}; convert the file to UTF-8"
        ) from error


def _jsonl(path: Path, form: Format) -> Iterator[str]:
    with path.open("rb") as file:
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
    return _text(record[name], name, where)


def _parquet(path: Path, form: Format) -> Iterator[str]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise DataError(
            f'{path} needs pyarrow to be read: pip install "gpt-pipeline[parquet]"'
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            if form.text_field not in file.schema_arrow.names:
                raise DataError(
                    f"{path} must have the column {form.text_field!r}; "
                    f"got {file.schema_arrow.names}; name the right one with dataset.text_field"
                )
            row = 0
            for batch in file.iter_batches(batch_size=1000, columns=[form.text_field]):
                for value in batch.column(0).to_pylist():
                    yield _text(value, form.text_field, f"{path} row {row}")
                    row += 1
    except ArrowException as error:
        raise DataError(f"{path} is not a whole .parquet file: {_first_line(error)}") from error


def _text(value: object, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where} must have text in {name!r}; got {str(value)[:40]}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} must have valid Unicode in {name!r}; got the lone surrogate "
            f"U+{ord(value[error.start]):04X} at character {error.start}"
        ) from error
    return value


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
