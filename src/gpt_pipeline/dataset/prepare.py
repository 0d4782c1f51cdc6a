"""Config -> token files: makes what is missing or out of date, and logs what it does and why."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_pipeline.dataset.adopt import AdoptedCopy
from gpt_pipeline.dataset.bare_tokens import GPT2_END_OF_TEXT, GPT2_VOCABULARY
from gpt_pipeline.dataset.corpus import Corpus
from gpt_pipeline.dataset.data_folder import Say, alone_in
from gpt_pipeline.dataset.encoding import encode_all
from gpt_pipeline.dataset.make_tokenizer import make_tokenizer
from gpt_pipeline.dataset.sidecar import read_sidecar, sidecar_path
from gpt_pipeline.dataset.sources import open_corpora, open_validation, token_folder
from gpt_pipeline.dataset.token_file import Origin, TokenFileWriter, verify_token_file
from gpt_pipeline.errors import ConfigError, DataError
from gpt_pipeline.tokenizer import Tokenizer

if TYPE_CHECKING:  # a worker process starts in half the time without pydantic
    from gpt_pipeline.config import DatasetConfig, TokenizerConfig

TRAIN_FILE = "dataset_train.bin"
VAL_FILE = "dataset_val.bin"
EVALUATED_FILE = "dataset_evaluated.bin"
"""Validation tokens that `evaluate` made while VAL_FILE has those of another text."""

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the documents done, and all of them where that is known."""


@dataclass(frozen=True)
class Prepared:
    """Token files that are whole and fit the config, and the tokenizer that they were made with.

    `source_fingerprint` is of the training text: another process may replace the files later.
    """

    train: Path
    val: Path | None
    tokenizer: Tokenizer
    source_fingerprint: str


def prepare(
    dataset: DatasetConfig,
    tokenizer: TokenizerConfig,
    *,
    vocab_size: int | None = None,
    keep: str | None = None,
    say: Say,
    progress: Progress | None = None,
) -> Prepared:
    """Bring the token files of `dataset` up to date.

    Args:
        dataset: the source, and where the files go.
        tokenizer: which tokenizer to load or train.
        vocab_size: what the model expects; None takes what the tokenizer has.
        keep: SHA-256 of training tokens that are still needed, by a run that is to be resumed.
        say: takes a line on each thing that is done, or found done.
        progress: takes the progress of each file.

    Raises:
        ConfigError: for keys that contradict each other.
        DataError: for a source that cannot be used, a disk that is full, or a source that has
            changed although its tokens are to be kept.
        TokenizerError: for a tokenizer that cannot be loaded.
    """
    folder = token_folder(dataset)
    if dataset.adopt is not None and tokenizer.name != "gpt2":
        raise ConfigError(
            [f"dataset.adopt takes GPT-2 tokens: add tokenizer=gpt2; got {tokenizer.name}"]
        )
    _settle_environment()
    corpora = open_corpora(dataset)
    for note in corpora.notes:
        say(note)
    with alone_in(folder, say):
        if keep is not None:
            _keep_tokens(keep, folder / TRAIN_FILE, corpora.train)
        made = make_tokenizer(tokenizer, corpora.train, folder, say)
        if vocab_size not in (None, made.vocab_size):  # said before the long work
            raise ConfigError(
                [
                    f"model.vocab_size must equal the tokenizer's {made.vocab_size} entries "
                    f"(tokenizer={tokenizer.name}); got {vocab_size}; set model.vocab_size=null "
                    "to follow the tokenizer, or choose another tokenizer"
                ]
            )
        _check_adoptable(dataset, made)
        maker = _Maker(made, dataset.num_workers, say, progress)
        train = maker.bring_up_to_date(folder / TRAIN_FILE, corpora.train)
        if corpora.val is None:
            say(f"{VAL_FILE}: none (dataset.train_ratio=1 trains on everything)")
            return Prepared(train, None, made, corpora.train.fingerprint())
        val = maker.bring_up_to_date(folder / VAL_FILE, corpora.val)
        return Prepared(train, val, made, corpora.train.fingerprint())


def _keep_tokens(wanted: str, path: Path, corpus: Corpus) -> None:
    """Refuse to replace the training tokens of a run, which its changed text would not give again.

    Raises:
        DataError: the source is another one now.
    """
    try:
        sidecar = read_sidecar(path)
    except DataError:
        return  # they are gone already
    if sidecar.sha256 == wanted and sidecar.source_fingerprint != corpus.fingerprint():
        raise DataError(
            f"{path} has the tokens that this run was trained on, and {corpus.source} has changed "
            "since, or is split in another way; nothing was replaced: restore the text to continue "
            "the run, or set checkpoint.resume=never to start a new run with it"
        )


def prepare_validation(
    dataset: DatasetConfig,
    tokenizer: Tokenizer,
    *,
    say: Say,
    progress: Progress | None = None,
) -> Path | None:
    """Bring the validation file up to date for a given tokenizer; None when there is none.

    Raises:
        DataError: for a source that cannot be used, or a disk that is full.
    """
    folder = token_folder(dataset)
    _settle_environment()
    _check_adoptable(dataset, tokenizer)
    try:
        val, notes = open_validation(dataset)
    except DataError as error:
        kept = folder / VAL_FILE
        if not _is_whole(kept, tokenizer) or not _is_made_from(kept, dataset):
            raise
        say(f"{VAL_FILE}: used as it was made, since its text cannot be read now ({error})")
        return kept
    if val is None:
        return None
    for note in notes:
        say(note)
    with alone_in(folder, say):
        maker = _Maker(tokenizer, dataset.num_workers, say, progress)
        path = folder / VAL_FILE
        if _is_whole(path) and stale_reason(path, tokenizer, val.fingerprint()) is not None:
            path = folder / EVALUATED_FILE  # the other one may be a run's, and its text gone
        return maker.bring_up_to_date(path, val)


def validation_of_run(
    dataset: DatasetConfig, tokenizer: Tokenizer, *, val: str | None, train: str
) -> Path | None:
    """The validation file that a run was validated on; None where it is no longer there, whole.

    Args:
        dataset: of the run.
        tokenizer: of the run.
        val: SHA-256 of the file; None where the run did not record it: it is then that of the text
            that the training file was split from.
        train: SHA-256 of the training file.
    """
    folder = token_folder(dataset)
    path = folder / VAL_FILE
    if not _is_whole(path, tokenizer):
        return None
    found = read_sidecar(path)
    if val is not None:
        return path if found.sha256 == val else None
    try:
        current = read_sidecar(folder / TRAIN_FILE)
    except DataError:
        return None
    split = current.source_fingerprint.replace(":train:", ":val:") == found.source_fingerprint
    return path if split and current.sha256 == train else None


def _is_whole(path: Path, tokenizer: Tokenizer | None = None) -> bool:
    try:
        sidecar = verify_token_file(path)
    except DataError:
        return False
    return tokenizer is None or sidecar.tokenizer_sha256 == tokenizer.sha256


def _is_made_from(path: Path, dataset: DatasetConfig) -> bool:
    """Whether a token file was made from the text that the config names, by its name."""
    own = dataset.path if dataset.source == "text" else None
    named, source = dataset.val_path or own, read_sidecar(path).source
    return named is not None and (source == named or source.startswith(f"{named} ("))


@dataclass(frozen=True)
class _Maker:
    tokenizer: Tokenizer
    num_workers: int | None
    say: Say
    progress: Progress | None

    def bring_up_to_date(self, path: Path, corpus: Corpus) -> Path:
        """Make the token file unless it is current; logs which."""
        fingerprint = corpus.fingerprint()
        reason = stale_reason(path, self.tokenizer, fingerprint)
        if reason is None:
            self.say(f"{path.name}: current")
            return path
        if isinstance(corpus, AdoptedCopy):
            raise DataError(
                f"{path} cannot be used ({reason.removeprefix('rebuilt: ')}) nor adopted again: "
                f"{corpus.origin} does not exist any more; give dataset.adopt a file that does"
            )
        self.say(f"{path.name}: {reason}; made from {corpus.source}")
        documents = 0
        total = corpus.total() if self.progress else None
        with TokenFileWriter(path, Origin(self.tokenizer, corpus.source, fingerprint)) as writer:
            pieces = encode_all(corpus.work(), self.tokenizer, self.num_workers)
            with contextlib.closing(pieces):
                for piece in pieces:
                    writer.append(piece)
                    documents += piece.documents
                    if self.progress is not None:
                        self.progress(path.name, documents, total)
        sidecar = writer.sidecar
        self.say(f"{path.name}: {sidecar.documents:,} documents, {sidecar.tokens:,} tokens")
        return path


def stale_reason(path: Path, tokenizer: Tokenizer, fingerprint: str) -> str | None:
    """Why the token file must be made (again); None when it is current, every byte of it."""
    if not path.exists():
        return "not there yet"
    if not sidecar_path(path).exists():
        return "rebuilt: it has no sidecar, so it was not made whole"
    try:
        sidecar = read_sidecar(path)
        if sidecar.tokenizer_sha256 != tokenizer.sha256:
            return "rebuilt: made for another tokenizer"
        if sidecar.source_fingerprint != fingerprint:
            return f"rebuilt: made from another source ({sidecar.source}) or other settings"
        verify_token_file(path)
    except DataError as error:
        return f"rebuilt: {str(error).split('; run ', maxsplit=1)[0]}"
    return None


def _check_adoptable(dataset: DatasetConfig, tokenizer: Tokenizer) -> None:
    wanted, got = (GPT2_VOCABULARY, GPT2_END_OF_TEXT), (tokenizer.vocab_size, tokenizer.eot_id)
    if dataset.adopt is not None and got != wanted:
        raise DataError(
            f"dataset.adopt needs GPT-2's tokenizer ({wanted[0]} entries, end-of-text "
            f"{wanted[1]}); got one with {got[0]} entries and end-of-text {got[1]}"
        )


def _settle_environment() -> None:
    """Set what `tokenizers` would otherwise warn of at a later fork of this process."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
