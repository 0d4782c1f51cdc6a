"""dataset=tinystories: a data set on the Hugging Face hub, streamed.

Its own validation split is validated on. A data set that has none is split by document, as text
is; the fingerprints of its token files record which of the two it is, so that only making them
needs the network.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_pipeline.dataset.corpus import Corpora, Work, batched, checked_text, cleaned
from gpt_pipeline.dataset.sidecar import read_sidecar
from gpt_pipeline.dataset.split_source import TRAIN_RATIO, split
from gpt_pipeline.durable import sha256_of
from gpt_pipeline.errors import ConfigError, DataError, how_to_install
from gpt_pipeline.tokenizer import END_OF_TEXT, without_retries

if TYPE_CHECKING:  # a worker process starts in half the time without pydantic
    from gpt_pipeline.config import HubConfig

log = logging.getLogger(__name__)

_ALONE = ":alone"
"""Suffix of the fingerprint of a whole train split without a validation split."""


@dataclass(frozen=True)
class HubData:
    """A hub data set, or a local folder that `datasets` can load."""

    hub_id: str

    @property
    def is_local(self) -> bool:
        """Whether it is a folder."""
        return Path(self.hub_id).is_dir()

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names and contents of the files that `datasets` may read in a folder."""
        total = hashlib.sha256()
        try:
            for path in filter(os.path.isfile, _files_below(self.hub_id)):  # a pipe would hang
                name = os.path.relpath(path, self.hub_id)
                line = f"\0{name}\0{sha256_of(Path(path))}"
                total.update(line.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise DataError(f"{self.hub_id} cannot be read: {error.strerror or error}") from error
        return total.hexdigest()

    def has_validation(self) -> bool:
        """Whether there is a validation split. Asks the hub.

        Raises:
            DataError: it cannot be asked, or there is no train split.
        """
        datasets = _client()
        try:
            with without_retries():
                names = datasets.get_dataset_split_names(self.hub_id)
        except Exception as error:  # the client raises a dozen unrelated classes
            raise self.unreadable(self.hub_id, error) from error
        if "train" not in names:
            raise DataError(f"{self.hub_id} must have a split named train; got {names}")
        return "validation" in names

    def unreadable(self, what: str, error: Exception) -> DataError:
        """One line for an error of the client."""
        where = "" if self.is_local else " from the Hugging Face hub"
        reason = next(iter(str(error).splitlines()), "")
        return DataError(
            f"cannot read {what}{where} ({type(error).__name__}: {reason[:150]}); "
            "use dataset=text dataset.path=FILE instead"
        )


@dataclass(frozen=True)
class HubCorpus:
    """One split of a hub data set; a document ends at each marker where `anywhere` says so."""

    data: HubData
    split: str
    text_field: str
    anywhere: bool = False
    alone: bool = False
    _warned: list[str] = field(default_factory=list, compare=False, repr=False)

    @property
    def source(self) -> str:
        """Id and split."""
        return f"{self.data.hub_id} ({self.split})"

    @property
    def name(self) -> str:
        """Id and split."""
        return self.source

    def fingerprint(self) -> str:
        """By name, so that being current needs no network; a local folder by content."""
        files = f":{self.data.digest}" if self.data.is_local else ""
        anywhere = ":endoftext_anywhere" if self.anywhere else ""
        alone = _ALONE if self.alone else ""
        return f"hub:{self.data.hub_id}:{self.split}:{self.text_field}{files}{anywhere}{alone}"

    def total(self) -> int | None:
        """Not asked for: it would need the network."""
        return None

    def work(self) -> Iterator[Work]:
        """The documents, streamed: only what is being read is held."""
        return batched(self.documents())

    @cached_property
    def count(self) -> int:
        """Number of documents: one pass over the stream."""
        return sum(1 for _ in self.documents())

    def documents(self) -> Iterator[str]:
        """All documents in order.

        Raises:
            DataError: there are none, or one cannot be read.
        """
        number = 0
        for number, row in enumerate(self._rows(), start=1):
            if self.text_field not in row:
                raise DataError(
                    f"{self.source} must have the column {self.text_field!r}; got {sorted(row)}; "
                    "name the right one with dataset.text_field"
                )
            where = f"{self.source} row {number - 1}"
            text = checked_text(row[self.text_field], self.text_field, where)
            if END_OF_TEXT in text and not self.anywhere and not self._warned:
                self._warned.append(where)
                log.warning(
                    "%s has %s within a document, where it is ordinary text; "
                    "dataset.separator=endoftext_anywhere ends a document at each",
                    where,
                    END_OF_TEXT,
                )
            for part in text.split(END_OF_TEXT) if self.anywhere else (text,):
                document = cleaned(part)
                if document is not None:
                    yield document
        if number == 0:
            raise DataError(f"no documents in {self.source}")

    def _rows(self) -> Iterator[dict[str, Any]]:
        datasets = _client()
        number = 0
        try:
            with without_retries():
                stream = datasets.load_dataset(self.data.hub_id, split=self.split, streaming=True)
            for row in stream:
                yield row
                number += 1
        except Exception as error:  # the client raises a dozen unrelated classes
            what = f"{self.source} row {number}" if number else self.source
            raise self.data.unreadable(what, error) from error


def open_hub(dataset: HubConfig, folder: Path, *, may_ask: bool) -> Corpora:
    """Training and validation documents of a hub data set.

    Args:
        dataset: its id, and how it is split if it has no validation split.
        folder: the token files, whose fingerprints record whether it has one.
        may_ask: ask the hub if they do not; else a validation split is assumed.

    Raises:
        ConfigError: dataset.train_ratio is given for a data set that has a validation split.
        DataError: the hub cannot be asked, or there is no train split.
    """
    ratio = dataset.train_ratio
    train = open_hub_train(dataset)
    validation = replace(train, split="validation")
    known = _known_validation(train, validation, folder)
    if known is None and ratio == 1:  # a whole train split that is not alone
        known = _made_from(folder / "dataset_train.bin") == train.fingerprint() or None
    sure = known is not None or may_ask
    if known is None:
        known = train.data.has_validation() if may_ask else True
    if known and ratio == 1:
        return Corpora(train, None)
    if known and sure and ratio is not None:
        raise ConfigError(
            [f"dataset.train_ratio must be null or 1 for {dataset.hub_id}, which has a validation "
             f"split; got {ratio:g}"]
        )  # fmt: skip
    if known:
        return Corpora(train, validation)
    ratio = ratio or TRAIN_RATIO
    corpora = split(replace(train, alone=True), train, ratio, dataset.seed)
    note = f"{dataset.hub_id} has no validation split"
    if corpora.val is not None:
        note += f": dataset.train_ratio={ratio:g} splits its documents"
    return replace(corpora, notes=(note,))


def open_hub_train(dataset: HubConfig) -> HubCorpus:
    """The train split alone, whatever else there is."""
    anywhere = dataset.separator == "endoftext_anywhere"
    return HubCorpus(HubData(dataset.hub_id), "train", dataset.text_field, anywhere)


def _known_validation(train: HubCorpus, validation: HubCorpus, folder: Path) -> bool | None:
    """Whether the token files were made with a validation split; None where they do not say."""
    made, made_val = (_made_from(folder / f"dataset_{side}.bin") for side in ("train", "val"))
    if made_val is not None and made_val == validation.fingerprint():
        return True
    if made is None:
        return None  # no folder is hashed for it
    whole = train.fingerprint()
    alone = made == whole + _ALONE or made.startswith(f"{whole}:train:")
    return False if alone else None


def _made_from(path: Path) -> str | None:
    try:
        return read_sidecar(path).source_fingerprint
    except DataError:
        return None


def _files_below(root: str) -> Iterator[str]:
    """Files in a fixed order, without the names that `datasets` passes over; circles end."""
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        # a link back to a folder above would be followed until its path is too long
        folders[:] = [] if real in seen else sorted(n for n in folders if not _ignored(n))
        if real not in seen:
            yield from (f"{folder}{os.sep}{n}" for n in sorted(files) if not _ignored(n))
        seen.add(real)


def _ignored(name: str) -> bool:
    return name.startswith((".", "__"))


def _client() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"dataset=tinystories needs the library datasets; {how_to_install('hub')}"
        ) from error
    return datasets
