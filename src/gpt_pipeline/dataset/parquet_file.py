"""Text in a column of a .parquet file, row by row."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpt_pipeline.dataset.corpus import checked_text
from gpt_pipeline.errors import DataError, how_to_install

_ROWS = 1000


def read_parquet(path: Path, column: str) -> Iterator[str]:
    """The values of a column in order. Binary ones are text too: old writers mark no strings.

    Raises:
        DataError: with the row, counted from 0, whose value is not text.
        OSError: the file cannot be read.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise DataError(f"{path} needs the library pyarrow; {how_to_install('parquet')}") from error
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if column not in names:
                raise DataError(
                    f"{path} must have the column {column!r}; got {str(names)[:200]}; "
                    "name the right one with dataset.text_field"
                )
            row = 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=[column]):
                for value in _values(batch.column(0)):
                    yield _text(value, column, f"{path} row {row}")
                    row += 1
    except ArrowException as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} is not a whole .parquet file: {reason[:200]}") from error
    except UnicodeDecodeError as error:  # names of columns, too, are read as they are
        raise DataError(f"{path} is not a whole .parquet file: {error}") from error


def _values(column: Any) -> Iterator[object]:
    """The values of a batch; strings come as bytes where one of the batch is not UTF-8."""
    try:
        return iter(column.to_pylist())
    except UnicodeDecodeError:
        return (_value(scalar) for scalar in column)


def _value(scalar: Any) -> object:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return bytes(error.object)


def _text(value: object, column: str, where: str) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where} must have UTF-8 text in {column!r}; got the byte "
                f"{value[error.start]:#04x} at byte {error.start} of the value"
            ) from error
    return checked_text(value, column, where)
