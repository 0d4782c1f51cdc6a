"""The tokenizer that a config asks for: loaded, made, or trained on the training documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt_pipeline.dataset.corpus import Corpus
from gpt_pipeline.dataset.data_folder import Say
from gpt_pipeline.durable import parsed, read_limited, replacing, sealed, sha256_of, unsealed
from gpt_pipeline.errors import ConfigError, TokenizerError
from gpt_pipeline.tokenizer import Tokenizer, byte_tokenizer, gpt2, train_bpe, train_bpe_on_words

if TYPE_CHECKING:  # a worker process starts in half the time without pydantic
    from gpt_pipeline.config import TokenizerConfig

RECORD_VERSION = 2
"""Raised when training would give another tokenizer from the same text."""

TOKENIZER_FILE = "tokenizer.json"
RECORD_FILE = "tokenizer_record.json"


@dataclass(frozen=True)
class Record:
    """What tokenizer.json in a data folder was made from; compared before it is used again."""

    version: int
    name: str
    path: str | None
    asked_vocab_size: int | None
    train_bytes: int | None
    source_fingerprint: str | None
    sha256: str


def make_tokenizer(config: TokenizerConfig, train: Corpus, folder: Path, say: Say) -> Tokenizer:
    """The tokenizer for `train`, also left in `folder` as tokenizer.json.

    Raises:
        ConfigError: when keys of `tokenizer` contradict each other.
        TokenizerError: when its files cannot be read.
    """
    _check(config)
    if config.name == "bpe":
        return _trained(config, train, folder, say)
    old = _read_record(folder)
    tokenizer = _published(config, old, folder)
    if config.vocab_size not in (None, tokenizer.vocab_size):
        raise ConfigError(
            [
                f"tokenizer.vocab_size must be {tokenizer.vocab_size} or null with "
                f"tokenizer={config.name}; got {config.vocab_size}"
            ]
        )
    record = Record(RECORD_VERSION, config.name, config.path, None, None, None, tokenizer.sha256)
    if old != record or _load(folder) is None:
        _store(tokenizer, record, folder)
    return tokenizer


def _published(config: TokenizerConfig, old: Record | None, folder: Path) -> Tokenizer:
    if config.name == "bytes":
        return byte_tokenizer()
    if old is not None and (old.version, old.name, old.path) == (RECORD_VERSION, "gpt2", None):
        fetched = _load(folder) if config.path is None else None
        if fetched is not None:
            return fetched  # from the hub once, from here ever after
    return gpt2(config.path)


def _check(config: TokenizerConfig) -> None:
    if config.path is not None and config.name != "gpt2":
        raise ConfigError(
            [
                f"tokenizer.path goes with tokenizer=gpt2 only; got {config.path} with "
                f"tokenizer={config.name}"
            ]
        )
    if config.name == "bpe" and config.vocab_size is None:
        raise ConfigError(["tokenizer.vocab_size must be a number with tokenizer=bpe; got null"])


def _trained(config: TokenizerConfig, train: Corpus, folder: Path, say: Say) -> Tokenizer:
    asked = config.vocab_size or 0
    fingerprint = train.fingerprint()
    old = _read_record(folder)
    wanted = Record(
        RECORD_VERSION,
        "bpe",
        None,
        asked,
        config.train_bytes,
        fingerprint,
        old.sha256 if old else "",
    )
    if old == wanted:
        tokenizer = _load(folder)
        if tokenizer is not None:
            say(f"tokenizer: current (bpe, {tokenizer.vocab_size} entries)")
            return tokenizer
        reason = "tokenizer.json is missing or damaged"
    else:
        reason = _difference(old, wanted)
    say(f"tokenizer: training bpe of {asked} entries on {train.source} ({reason})")
    tokenizer = train_bpe_on_words(_texts(train, config.train_bytes), asked)
    if tokenizer is None:
        tokenizer = train_bpe(_texts(train, config.train_bytes), asked)
    if tokenizer.vocab_size < asked:
        say(
            f"tokenizer: the training text gave {tokenizer.vocab_size} entries, fewer than "
            f"tokenizer.vocab_size={asked}"
        )
    record = Record(
        RECORD_VERSION, "bpe", None, asked, config.train_bytes, fingerprint, tokenizer.sha256
    )
    _store(tokenizer, record, folder)
    return tokenizer


def _difference(old: Record | None, wanted: Record) -> str:
    if old is None or old.name != wanted.name:
        return "none there yet"
    if old.version != wanted.version:
        return f"the old one is of version {old.version}"
    if old.source_fingerprint != wanted.source_fingerprint:
        return "the old one was trained on another text"
    if old.asked_vocab_size != wanted.asked_vocab_size:
        return f"the old one was asked for {old.asked_vocab_size} entries"
    return f"the old one read up to {old.train_bytes} bytes"


def _texts(train: Corpus, limit: int) -> Iterator[str]:
    """Documents of `train` until they hold `limit` bytes."""
    size = 0
    for piece in train.work():
        for text in piece.texts():
            if size >= limit:
                return
            size += len(text.encode("utf-8"))
            yield text


def verify_tokenizer_file(path: Path) -> Tokenizer:
    """The tokenizer in the tokenizer.json of a data folder, every byte compared with its record.

    Raises:
        TokenizerError: when it or its record is missing or damaged.
    """
    record = _read_record(path.parent)
    if record is None or record.version != RECORD_VERSION:
        state = "is missing or damaged" if record is None else f"is of version {record.version}"
        raise TokenizerError(
            f"{path} needs its record, but {_record_path(path.parent)} {state}; "
            "run `gpt-pipeline data`"
        )
    try:
        found = sha256_of(path)
    except OSError as error:
        raise TokenizerError(
            f"{path} cannot be read: {error.strerror}; run `gpt-pipeline data`"
        ) from error
    if found != record.sha256:
        raise TokenizerError(
            f"{path} must have the SHA-256 {record.sha256}; got {found}; run `gpt-pipeline data`"
        )
    return Tokenizer.load(path)


def _load(folder: Path) -> Tokenizer | None:
    try:
        return verify_tokenizer_file(folder / TOKENIZER_FILE)
    except TokenizerError:
        return None


def _read_record(folder: Path) -> Record | None:
    """The record; one of another version is not sealed as ours is, and only ever named."""
    try:
        raw = read_limited(_record_path(folder))
        values = parsed(raw)
        return Record(**(unsealed(raw) if values.get("version") == RECORD_VERSION else values))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _store(tokenizer: Tokenizer, record: Record, folder: Path) -> None:
    """Remove the record first and write it last, so that it never describes another tokenizer."""
    place = _record_path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        tokenizer.save(folder / TOKENIZER_FILE)
        with replacing(place) as file:
            file.write(sealed(asdict(record)))
    except OSError as error:
        raise TokenizerError(f"cannot write in {folder}: {error.strerror}") from error


def _record_path(folder: Path) -> Path:
    return folder / RECORD_FILE
