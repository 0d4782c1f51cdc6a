"""dataset=text: files, folders and globs, as one corpus or split into two."""

import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from gpt_pipeline.dataset.corpus import Corpora, Work, batched
from gpt_pipeline.dataset.documents import SUFFIXES, Format, read_documents
from gpt_pipeline.dataset.permutation import permute
from gpt_pipeline.durable import sha256_of
from gpt_pipeline.errors import DataError

_SPLIT_BLOCK = 4096


@dataclass(frozen=True)
class TextFiles:
    """The files that one path, folder or glob stands for, in sorted order."""

    path: str
    files: tuple[Path, ...]
    root: Path
    form: Format

    @classmethod
    def find(cls, path: str, key: str, form: Format) -> "TextFiles":
        """Look for the files; `key` is the config key that named them.

        Raises:
            DataError: when there are none.
        """
        place = Path(path).expanduser()
        kinds = ", ".join(SUFFIXES)
        if place.is_file():
            if place.suffix.lower() not in SUFFIXES:
                raise DataError(f"{key} must name a {kinds} file, a folder or a glob; got {path}")
            if place.stat().st_size == 0:
                raise DataError(f"{key} must name a file with text; {path} is empty")
            return cls(path, (place,), place.parent, form)
        if place.is_dir():
            names = [str(found) for found in place.rglob("*")]
        else:
            names = glob.glob(str(place), recursive=True)  # noqa: PTH207  (absolute patterns too)
            if not names and not glob.has_magic(str(place)):
                raise DataError(
                    f"{key} must name a file, a folder or a glob; {path} does not exist"
                )
        files = sorted(
            (Path(name) for name in names if Path(name).suffix.lower() in SUFFIXES),
            key=lambda found: found.as_posix(),
        )
        files = [found for found in files if found.is_file()]
        if not files:
            raise DataError(f"{key} must lead to {kinds} files; got none in {path}")
        root = place if place.is_dir() else Path(os.path.commonpath([f.parent for f in files]))
        return cls(path, tuple(files), root, form)

    def documents(self) -> Iterator[str]:
        """All documents of all files in order.

        Raises:
            DataError: when there are none, or a file cannot be used.
        """
        number = 0
        for file in self.files:
            for document in read_documents(file, self.form):
                number += 1
                yield document
        if number == 0:
            raise DataError(f"no documents in {self.path}: nothing but whitespace")

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, sizes and contents of the files, and how they are read."""
        total = hashlib.sha256(f"{self.form.separator}\0{self.form.text_field}".encode())
        for file in self.files:
            try:
                size, content = file.stat().st_size, sha256_of(file)
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error.strerror}") from error
            name = file.relative_to(self.root).as_posix()
            total.update(f"\0{name}\0{size}\0{content}".encode("utf-8", "surrogateescape"))
        return total.hexdigest()

    @cached_property
    def count(self) -> int:
        """Number of documents: one pass over the files."""
        return sum(1 for _ in self.documents())


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
        return f"text:{self.files.digest}"

    def total(self) -> int | None:
        """Not known before the files are read."""
        return None

    def work(self) -> Iterator[Work]:
        """The documents."""
        return batched(self.files.documents())


@dataclass(frozen=True)
class SplitCorpus:
    """One side of a seeded split by document.

    Of n documents, num_val = max(1, round(n * (1 - train_ratio))) are validated on: those whose
    image under `permute` is below num_val. Both sides keep the order of the files.
    """

    files: TextFiles
    train_ratio: float
    seed: int
    side: Literal["train", "val"]

    @property
    def source(self) -> str:
        """The path, and which share of it."""
        share = self.train_ratio if self.side == "train" else 1 - self.train_ratio
        return f"{self.files.path} ({share:.4g} of its documents)"

    def fingerprint(self) -> str:
        """By content, and by the split."""
        return f"text:{self.files.digest}:{self.side}:{self.train_ratio}:{self.seed}"

    def total(self) -> int | None:
        """Documents on this side; counting them is a pass over the files."""
        n, num_val = self.files.count, self._num_val()
        return num_val if self.side == "val" else n - num_val

    def work(self) -> Iterator[Work]:
        """The documents of this side."""
        return batched(self._documents())

    def _num_val(self) -> int:
        n = self.files.count
        if n < 2:
            raise DataError(
                f"{self.files.path} must have at least 2 documents to be split by "
                f"dataset.train_ratio={self.train_ratio}; got {n}; give dataset.val_path, "
                "another dataset.separator, or dataset.train_ratio=1 to validate on none"
            )
        return min(n - 1, max(1, round(n * (1 - self.train_ratio))))

    def _documents(self) -> Iterator[str]:
        n, num_val = self.files.count, self._num_val()
        in_val = np.empty(0, dtype=bool)
        for number, document in enumerate(self.files.documents()):
            at = number % _SPLIT_BLOCK
            if at == 0:
                block = np.arange(number, min(number + _SPLIT_BLOCK, n), dtype=np.int64)
                in_val = permute(block, n, self.seed, 0) < num_val
            if in_val[at] == (self.side == "val"):
                yield document


def split_text(files: TextFiles, train_ratio: float, seed: int) -> Corpora:
    """Training and validation documents of the same files; a ratio of 1 validates on none."""
    if train_ratio == 1:
        return Corpora(TextCorpus(files), None)
    return Corpora(
        SplitCorpus(files, train_ratio, seed, "train"), SplitCorpus(files, train_ratio, seed, "val")
    )
