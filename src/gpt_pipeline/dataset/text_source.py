"""dataset=text: files, folders and globs, as one corpus or split into two."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from gpt_pipeline.dataset.corpus import Corpora, Work, batched
from gpt_pipeline.dataset.documents import Format, first_marker_line, read_documents
from gpt_pipeline.dataset.split_source import split
from gpt_pipeline.dataset.text_files import Selection, select_files
from gpt_pipeline.durable import sha256_of
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import END_OF_TEXT

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextFiles:
    """The files that one path, folder or glob names, and how they are read."""

    path: str
    selection: Selection
    form: Format
    _states: dict[Path, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    _warned: list[Path] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def find(cls, path: str, key: str, form: Format) -> "TextFiles":
        """Look for the files; `key` is the config key that named them.

        Raises:
            DataError: when there are none.
        """
        return cls(path, select_files(path, key), form)

    @property
    def name(self) -> str:
        """The path as it was given."""
        return self.path

    def documents(self) -> Iterator[str]:
        """All documents of all files in order.

        Raises:
            DataError: when there are none, or a file cannot be used.
        """
        number = 0
        for file in self.selection.files:
            self._must_be_unchanged(file)
            for document in read_documents(file, self.form):
                number += 1
                if not self._warned and END_OF_TEXT in document:
                    self._warn(file)
                yield document
            self._must_be_unchanged(file)
        if number == 0:
            raise DataError(f"no documents in {self.path}: nothing but whitespace")

    def fingerprint(self) -> str:
        """By content."""
        return f"text:{self._digest}"

    @cached_property
    def _digest(self) -> str:
        """SHA-256 over names, sizes and contents of the files, and how they are read."""
        total = hashlib.sha256(f"{self.form.separator}\0{self.form.text_field}".encode())
        for file in self.selection.files:
            size = self._must_be_unchanged(file)
            try:
                content = sha256_of(file)
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
            self._must_be_unchanged(file)
            name = file.relative_to(self.selection.root).as_posix()
            total.update(f"\0{name}\0{size}\0{content}".encode("utf-8", "surrogateescape"))
        return total.hexdigest()

    @cached_property
    def count(self) -> int:
        """Number of documents: one pass over the files."""
        return sum(1 for _ in self.documents())

    def _must_be_unchanged(self, file: Path) -> int:
        """The fingerprint, the count and the documents must be of one text. The file's size."""
        try:
            found = file.stat()
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
        state = (found.st_size, found.st_mtime_ns, found.st_ino)
        if self._states.setdefault(file, state) != state:
            raise DataError(
                f"{file} changed while it was read; run the command again when nothing writes to it"
            )
        return found.st_size

    def _warn(self, file: Path) -> None:
        """Once: the marker is in the text, where it was most likely meant to end a document."""
        self._warned.append(file)
        line = first_marker_line(file, self.form.separator)
        log.warning(
            "%s has %s within a document%s, where it is ordinary text; "
            "dataset.separator=endoftext_anywhere ends a document at each",
            file,
            END_OF_TEXT,
            f" (line {line:,})" if line else "",
        )


@dataclass(frozen=True)
class TextCorpus:
    """Every document of some files."""

    files: TextFiles

    @property
    def source(self) -> str:
        """The path as it was given."""
        return self.files.path

    def fingerprint(self) -> str:
        """By content."""
        return self.files.fingerprint()

    def total(self) -> int | None:
        """Not known before the files are read."""
        return None

    def work(self) -> Iterator[Work]:
        """The documents."""
        return batched(self.files.documents())


def split_text(files: TextFiles, train_ratio: float, seed: int) -> Corpora:
    """Training and validation documents of the same files; a ratio of 1 validates on none."""
    corpora = split(TextCorpus(files), files, train_ratio, seed)
    return replace(corpora, notes=files.selection.notes)
