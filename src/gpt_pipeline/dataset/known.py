"""What is known of a data set's token files without making or hashing them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_pipeline.dataset.corpus import Corpus
from gpt_pipeline.dataset.prepare import TRAIN_FILE, VAL_FILE
from gpt_pipeline.dataset.sidecar import Sidecar, read_sidecar
from gpt_pipeline.dataset.sources import open_corpora, token_folder
from gpt_pipeline.errors import DataError

if TYPE_CHECKING:
    from gpt_pipeline.config import DatasetConfig


@dataclass(frozen=True)
class KnownData:
    """The sidecars of token files that are there and made from the present source.

    `val` is None where there is no validation text, too.
    """

    folder: Path
    train: Sidecar | None
    val: Sidecar | None


def known_data(dataset: DatasetConfig, *, vocab_size: int | None) -> KnownData:
    """Look at the sidecars of a data set.

    Args:
        dataset: the source, and where its token files are.
        vocab_size: entries that the tokenizer will have; files of another are not counted. None
            where that is not known.

    Raises:
        DataError: the source is not there.
    """
    folder, corpora = token_folder(dataset), open_corpora(dataset, may_ask=False)

    def current(name: str, corpus: Corpus | None) -> Sidecar | None:
        try:
            sidecar = read_sidecar(folder / name)
        except DataError:
            return None
        made_from = corpus.fingerprint() if corpus else ""
        same = sidecar.source_fingerprint == made_from
        return sidecar if same and vocab_size in (None, sidecar.vocab_size) else None

    train = current(TRAIN_FILE, corpora.train)
    return KnownData(folder, train, current(VAL_FILE, corpora.val) if train else None)
