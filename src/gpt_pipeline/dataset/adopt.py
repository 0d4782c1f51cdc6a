"""dataset.adopt=PATH: token files of nanoGPT and of the upstream project, taken over as they are.

They are bare little-endian uint16 GPT-2 ids. A folder has train.bin and val.bin, or
dataset_train.bin and dataset_val.bin. A lone file is cut once: the training part ends with the
first document that ends at or after train_ratio of the tokens, the rest is validated on.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt_pipeline.dataset.bare_tokens import CHUNK, GPT2_VOCABULARY, TokenFile, tokens_of
from gpt_pipeline.dataset.corpus import Corpora, Encoded, Work
from gpt_pipeline.dataset.sidecar import read_sidecar, sidecar_path
from gpt_pipeline.dataset.split_source import TRAIN_RATIO
from gpt_pipeline.errors import ConfigError, DataError
from gpt_pipeline.tokenizer import Tokenizer

log = logging.getLogger(__name__)

_PAIRS = (("train.bin", "val.bin"), ("dataset_train.bin", "dataset_val.bin"))


@dataclass(frozen=True)
class TokenSlice:
    """Tokens start .. stop-1 of a bare file."""

    path: Path
    start: int
    stop: int
    made_with: str | None

    def texts(self) -> Sequence[str]:
        """Never asked for: nothing is trained on these before they are adopted."""
        raise TypeError("token files hold no texts")

    def encode(self, tokenizer: Tokenizer) -> Encoded:
        """The ids themselves, after a look at each.

        Raises:
            DataError: for an id that GPT-2 does not have, with its place; for another tokenizer.
        """
        if self.made_with not in (None, tokenizer.sha256):
            raise DataError(
                f"{self.path} cannot be adopted: its sidecar says that it was made with another "
                "tokenizer than GPT-2's"
            )
        ids = np.array(tokens_of(self.path)[self.start : self.stop])
        if len(ids) < self.stop - self.start:
            raise DataError(f"{self.path} changed while it was read; run the command again")
        if int(ids.max()) >= GPT2_VOCABULARY:
            place = int(np.argmax(ids >= GPT2_VOCABULARY))
            raise DataError(
                f"{self.path} must hold GPT-2 ids below {GPT2_VOCABULARY}; "
                f"got {int(ids[place])} at token {self.start + place}"
            )
        lengths = np.array(tokenizer.token_lengths, dtype=np.int64)
        documents = int(np.count_nonzero(ids == tokenizer.eot_id))
        return Encoded(ids, documents, int(lengths[ids].sum()))


@dataclass(frozen=True)
class AdoptedCorpus:
    """A part of a bare token file; `stop` None is its end."""

    file: TokenFile
    train_ratio: float | None = None
    side: str = "train"

    @property
    def source(self) -> str:
        """The file that was taken over."""
        return f"adopted {self.file.path}"

    def fingerprint(self) -> str:
        """By content, and by the cut."""
        return f"adopt:{self.file.digest}:{self.side}:{self.train_ratio}"

    def total(self) -> int | None:
        """Not counted beforehand."""
        return None

    def work(self) -> Iterator[Work]:
        """The tokens in pieces."""
        if self.side == "train" and (warning := self.file.warning()):
            log.warning("%s", warning)
        start, stop = 0, len(tokens_of(self.file.path))
        if self.train_ratio is not None:
            cut = self.file.cut(self.train_ratio)
            if not 0 < cut < stop:
                raise DataError(
                    f"{self.file.path} is too short to be split by dataset.train_ratio="
                    f"{self.train_ratio}; got {stop} tokens; use dataset.train_ratio=1"
                )
            start, stop = (0, cut) if self.side == "train" else (cut, stop)
        for first in range(start, stop, CHUNK):
            last = min(first + CHUNK, stop)
            yield TokenSlice(self.file.path, first, last, self.file.made_with)


@dataclass(frozen=True)
class AdoptedCopy:
    """What was adopted from a file that is no longer there: current, but never made again."""

    source: str
    kept_fingerprint: str

    @property
    def origin(self) -> str:
        """The file that is gone."""
        return self.source.removeprefix("adopted ")

    def fingerprint(self) -> str:
        """As the sidecar has it, but with the cut of now."""
        return self.kept_fingerprint

    def total(self) -> int | None:
        """Not counted."""
        return None

    def work(self) -> Iterator[Work]:
        """Cannot be had any more.

        Raises:
            DataError: always.
        """
        raise DataError(
            f"the token file must be adopted again, but {self.origin} no longer exists; "
            "give dataset.adopt a file that does"
        )


def open_adopted(path: str, train_ratio: float | None, folder: Path) -> Corpora:
    """The token files that dataset.adopt names, or their copies in `folder` when those are gone.

    Args:
        path: a file, or a folder of them.
        train_ratio: where a lone file is split; None: at `TRAIN_RATIO`.
        folder: the token files of the data set.

    Raises:
        ConfigError: there is a file of validation tokens, and `train_ratio` asks for a split.
        DataError: when there are none there, or they hold something else.
    """
    place = Path(path)
    ratio = train_ratio or TRAIN_RATIO
    if not place.exists() and (copies := _copies(place, ratio, folder)):
        return copies
    if not place.is_dir():
        return _split(TokenFile.find(place), ratio)
    for train, val in _PAIRS:
        if (place / train).is_file():
            file = TokenFile.find(place / train)
            if train_ratio == 1 or not (place / val).is_file():
                return _split(file, ratio)
            if train_ratio is not None:
                raise ConfigError(
                    [f"dataset.train_ratio must be null or 1 for {path}, which has {val}; got "
                     f"{train_ratio:g}"]
                )  # fmt: skip
            return Corpora(AdoptedCorpus(file), open_token_file(place / val))
    names = " or ".join(train for train, _ in _PAIRS)
    raise DataError(f"dataset.adopt must name a folder with {names}; got none in {path}")


def _copies(place: Path, train_ratio: float, folder: Path) -> Corpora | None:
    found = {}
    for side in ("train", "val"):
        copy = folder / f"dataset_{side}.bin"
        if not copy.exists() and not sidecar_path(copy).exists():
            continue
        try:
            sidecar = read_sidecar(copy)
        except DataError as error:  # passed over, a damaged copy would be a run without validation
            raise DataError(
                f"dataset.adopt must name a file that exists; {place} does not, and its copy "
                f"cannot be used: {str(error).split('; run ', maxsplit=1)[0]}"
            ) from error
        origin = Path(sidecar.source.removeprefix("adopted "))
        parts = sidecar.source_fingerprint.split(":")
        if parts[0] == "adopt" and origin.is_relative_to(place):
            parts[-1] = parts[-1] if parts[-1] == "None" else str(train_ratio)
            found[side] = AdoptedCopy(sidecar.source, ":".join(parts))
    return Corpora(found["train"], found.get("val")) if "train" in found else None


def open_token_file(path: Path) -> AdoptedCorpus:
    """A whole bare token file, to validate on."""
    return AdoptedCorpus(TokenFile.find(path), side="val")


def _split(file: TokenFile, train_ratio: float) -> Corpora:
    if train_ratio == 1:
        return Corpora(AdoptedCorpus(file), None)
    return Corpora(
        AdoptedCorpus(file, train_ratio, "train"), AdoptedCorpus(file, train_ratio, "val")
    )
