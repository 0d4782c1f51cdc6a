"""Documents of one source, split in two: some to train on, the rest to validate on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from gpt_pipeline.dataset.corpus import Corpora, Corpus, Work, batched
from gpt_pipeline.dataset.permutation import permute
from gpt_pipeline.errors import DataError

TRAIN_RATIO = 0.9
"""dataset.train_ratio=null for a source without validation text."""
_BLOCK = 4096


class Documents(Protocol):
    """Documents that can be read more than once, always in one order."""

    @property
    def name(self) -> str:
        """What they are, in words."""

    @property
    def count(self) -> int:
        """How many there are; known after one pass over them."""

    def fingerprint(self) -> str:
        """Equal for equal documents."""

    def documents(self) -> Iterator[str]:
        """All of them in order."""


@dataclass(frozen=True)
class SplitCorpus:
    """One side of a seeded split by document.

    Of n documents, num_val = num_validation(n, train_ratio) are validated on: those whose image
     under `permute` is below num_val. Both sides keep the order of the source.
    """

    whole: Documents
    train_ratio: float
    seed: int
    side: Literal["train", "val"]

    @property
    def source(self) -> str:
        """The source, and which share of it."""
        share = self.train_ratio if self.side == "train" else 1 - self.train_ratio
        return f"{self.whole.name} ({share:.4g} of its documents)"

    def fingerprint(self) -> str:
        """That of the source, and the split."""
        return f"{self.whole.fingerprint()}:{self.side}:{self.train_ratio}:{self.seed}"

    def total(self) -> int | None:
        """Documents on this side; counting them is a pass over the source."""
        num_val = self._num_val()
        return num_val if self.side == "val" else self.whole.count - num_val

    def work(self) -> Iterator[Work]:
        """The documents of this side."""
        return batched(self._documents())

    def _num_val(self) -> int:
        n = self.whole.count
        if n < 2:
            raise DataError(
                f"{self.whole.name} must have at least 2 documents to be split by "
                f"dataset.train_ratio={self.train_ratio}; got {n}; give dataset.val_path, "
                "another dataset.separator, or dataset.train_ratio=1 to validate on none"
            )
        return num_validation(n, self.train_ratio)

    def _documents(self) -> Iterator[str]:
        n, num_val = self.whole.count, self._num_val()
        in_val = np.empty(0, dtype=bool)
        for number, document in enumerate(self.whole.documents()):
            if number >= n:
                raise DataError(
                    f"{self.whole.name} changed while it was read: more than the {n:,} documents "
                    "that were counted; run the command again when nothing writes to it"
                )
            at = number % _BLOCK
            if at == 0:
                block = np.arange(number, min(number + _BLOCK, n), dtype=np.int64)
                in_val = permute(block, n, self.seed, 0) < num_val
            if in_val[at] == (self.side == "val"):
                yield document


def num_validation(count: int, train_ratio: float) -> int:
    """How many of `count` documents are validation text: at least one, and not all of them."""
    return min(count - 1, max(1, round(count * (1 - train_ratio))))


def split(whole: Corpus, documents: Documents, train_ratio: float, seed: int) -> Corpora:
    """Training and validation documents of one source; a ratio of 1 validates on none."""
    if train_ratio == 1:
        return Corpora(whole, None)
    return Corpora(
        SplitCorpus(documents, train_ratio, seed, "train"),
        SplitCorpus(documents, train_ratio, seed, "val"),
    )
