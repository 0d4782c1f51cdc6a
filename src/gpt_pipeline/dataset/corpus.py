"""What preparation needs of any source: documents, cut into pieces of work that can be pickled."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import Tokenizer

BATCH_CHARS = 1 << 18
"""A piece of work holds about this much text."""
BATCH_DOCUMENTS = 1000


@dataclass(frozen=True)
class Encoded:
    """The ids of a piece of work, and what they count; `num_bytes` has 1 for each end mark."""

    ids: NDArray[np.uint16] | NDArray[np.uint32]
    documents: int
    num_bytes: int
    floor_bits: float | None = None


class Work(Protocol):
    """Some documents of a corpus; made in the parent process, encoded in any."""

    def texts(self) -> Sequence[str]:
        """The documents as text."""

    def encode(self, tokenizer: Tokenizer) -> Encoded:
        """Their ids, each document followed by end-of-text."""


class Corpus(Protocol):
    """The documents of one split."""

    @property
    def source(self) -> str:
        """Where they come from, in words."""

    def fingerprint(self) -> str:
        """Equal for equal documents; read from the source, without a network."""

    def total(self) -> int | None:
        """Number of documents, where that is known without reading them."""

    def work(self) -> Iterator[Work]:
        """All documents in order, in pieces.

        Raises:
            DataError: for text that cannot be used.
        """


@dataclass(frozen=True)
class Corpora:
    """A training corpus and, unless everything is trained on, one to validate on.

    `notes` are lines for the user on what was found.
    """

    train: Corpus
    val: Corpus | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextBatch:
    """Documents that the parent process has read."""

    documents: tuple[str, ...]

    def texts(self) -> Sequence[str]:
        """The documents."""
        return self.documents

    def encode(self, tokenizer: Tokenizer) -> Encoded:
        """Their ids."""
        return encode_texts(self.documents, tokenizer)


def encode_texts(
    texts: Sequence[str], tokenizer: Tokenizer, floor_bits: float | None = None
) -> Encoded:
    """Ids of `texts`, each followed by end-of-text."""
    num_bytes = sum(len(text) if text.isascii() else len(text.encode("utf-8")) for text in texts)
    ids = tokenizer.encode_documents(texts)
    return Encoded(ids, len(texts), num_bytes + len(texts), floor_bits)


def batched(documents: Iterable[str]) -> Iterator[TextBatch]:
    """Group documents into pieces of work of about `BATCH_CHARS`."""
    batch: list[str] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= BATCH_CHARS or len(batch) >= BATCH_DOCUMENTS:
            yield TextBatch(tuple(batch))
            batch, size = [], 0
    if batch:
        yield TextBatch(tuple(batch))


def cleaned(text: str) -> str | None:
    """A document as it is trained on: CRLF becomes a newline, newlines around it go.

    None for a document without anything but whitespace and NUL, which a power cut leaves in files:
    such are passed over. All else is kept.
    """
    text = text.replace("\r\n", "\n").strip("\n")
    visible = text.replace("\0", " ") if "\0" in text else text
    return text if visible and not visible.isspace() else None


def checked_text(value: object, name: str, where: str) -> str:
    """A field or row that holds text.

    Raises:
        DataError: it holds something else, or characters that no encoding has.
    """
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
