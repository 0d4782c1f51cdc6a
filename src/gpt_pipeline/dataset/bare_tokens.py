"""A bare token file: uint16 GPT-2 ids without a header. Nothing in it says so, so it is examined.

Each check has a reason of its own, and lets every file of GPT-2 ids pass: what it looks for cannot
be in one, or only with a probability far below that of a damaged disk.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpt_pipeline.dataset.file_kinds import HEAD, signature_of
from gpt_pipeline.dataset.sidecar import Sidecar, read_sidecar, sidecar_path
from gpt_pipeline.durable import sha256_of
from gpt_pipeline.errors import DataError

GPT2_VOCABULARY = 50257
"""Entries of GPT-2's tokenizer."""
GPT2_END_OF_TEXT = 50256

CHUNK = 1 << 20

_BLOCK, _BLOCKS = 1 << 17, 8
"""Tokens per sample, and samples per file, that are examined."""
_FEW = 16
"""High halves of larger integers are below this for a vocabulary of up to a million."""
_SMALL_VOCABULARY = 1024
_ZEROS = 1024  # never in a row: 0 is !, and GPT-2 has longer tokens for !!
_MINUS_ONE = 0xFFFF  # the high half of a masked target
_LLM_C = (20240520).to_bytes(4, "little")
_TEXT_BYTES = 1 << 16
_LEAST_TEXT = 32
"""Fewer bytes may be text by chance."""


@dataclass(frozen=True)
class TokenFile:
    """A bare token file that holds GPT-2 ids, as far as that can be seen.

    Attributes:
        path: the file.
        made_with: SHA-256 of the tokenizer that a sidecar names; None without one.
    """

    path: Path
    made_with: str | None = None

    @classmethod
    def find(cls, path: Path) -> "TokenFile":
        """Examine the file.

        Raises:
            DataError: it is not there, or holds something else, with the reason.
        """
        if not path.is_file():
            raise DataError(f"dataset.adopt must name a token file or a folder; {path} is neither")
        try:
            sidecar = _own_sidecar(path)
            reason = _header_reason(path) or _neighbour_reason(path, sidecar)
            size = path.stat().st_size
            if reason is None and (size == 0 or size % 2):
                raise DataError(f"{path} must hold uint16 tokens, 2 bytes each; got {size} bytes")
            reason = reason or _content_reason(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        if reason is not None:
            raise DataError(f"{path} cannot be adopted: {reason}")
        return cls(path, sidecar.tokenizer_sha256 if sidecar else None)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content."""
        try:
            return sha256_of(self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def cut(self, train_ratio: float) -> int:
        """Where the training part ends: after the first end-of-text from train_ratio on."""
        tokens = tokens_of(self.path)
        wanted = round(len(tokens) * train_ratio)
        for start in range(max(wanted - 1, 0), len(tokens), CHUNK):
            ends = np.flatnonzero(tokens[start : start + CHUNK] == GPT2_END_OF_TEXT)
            if ends.size:
                after = start + int(ends[0]) + 1
                return after if after < len(tokens) else wanted
        return wanted

    def warning(self) -> str | None:
        """What is unusual about tokens that may still be GPT-2's."""
        blocks = _sample(self.path)
        looked_at = sum(map(len, blocks))
        if looked_at < _BLOCK // 2 or any((block == GPT2_END_OF_TEXT).any() for block in blocks):
            return None
        return (
            f"{self.path} has no end-of-text ({GPT2_END_OF_TEXT}) in the {looked_at:,} tokens that "
            "were examined: it is taken as one document; make sure that its ids are GPT-2's"
        )


def tokens_of(path: Path) -> NDArray[np.uint16]:
    """The ids of a bare file, mapped."""
    return np.memmap(path, dtype="<u2", mode="r")


def _own_sidecar(path: Path) -> Sidecar | None:
    try:
        return read_sidecar(path) if sidecar_path(path).is_file() else None
    except DataError:
        return None  # damaged, or not ours: it proves nothing


def _header_reason(path: Path) -> str | None:
    """What the first bytes say that the file is instead."""
    with path.open("rb") as file:
        head = file.read(_TEXT_BYTES)
    if head.startswith(_LLM_C):
        return "it begins with a header of llm.c; remove the first 1,024 bytes: tail -c +1025"
    signature = signature_of(head[:HEAD])
    # two bytes are a token; no UTF-16 text looks like GPT-2's ids, see below
    if signature is not None and not signature.endswith("text"):
        return f"it holds {signature}, not bare uint16 tokens"
    if _is_text(head):
        return "it holds text, not tokens; read it with dataset.path"
    return None


def _is_text(head: bytes) -> bool:
    """Whether bytes are UTF-8 without control characters: frequent ids have one for a high byte."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or len(head) < _TEXT_BYTES:
            return False
        text = head[: error.start].decode("utf-8")
    return len(head) >= _LEAST_TEXT and all(c.isprintable() or c in "\t\n\r\f\ufeff" for c in text)


def _neighbour_reason(path: Path, sidecar: Sidecar | None) -> str | None:
    """What the other files of its folder say."""
    if path.with_name("meta.pkl").exists():
        return (
            "meta.pkl in the same folder belongs to nanoGPT's character-level data, whose ids are "
            "not GPT-2's; train on the text itself with dataset.path"
        )
    if sidecar is None:
        return None
    got = (sidecar.vocab_size, sidecar.eot_id)
    if got != (GPT2_VOCABULARY, GPT2_END_OF_TEXT):
        return (
            f"its sidecar says that it was made for {got[0]:,} entries with end-of-text "
            f"{got[1]}; GPT-2 has {GPT2_VOCABULARY:,} and {GPT2_END_OF_TEXT}"
        )
    return None


def _content_reason(path: Path) -> str | None:
    """What the numbers themselves say."""
    if not tokens_of(path)[-_ZEROS:].any() and path.stat().st_size >= 2 * _ZEROS:
        return "it ends in zeros, as an incomplete copy or download does; copy it again"
    tokens = np.concatenate(_sample(path))
    if (width := _wider_integers(tokens)) is not None:
        return (
            f"it holds integers of {width} bytes, not uint16; if they are GPT-2 ids, convert "
            f"them: np.fromfile(FILE, '<i{width}').astype('<u2').tofile('train.bin')"
        )
    used = np.unique(tokens)
    largest = int(used[-1])
    # a small vocabulary is used up; GPT-2's first entries are bytes, of which few texts use many
    dense = 6 * len(used) > largest + 1
    if len(tokens) >= _SMALL_VOCABULARY and largest < _SMALL_VOCABULARY and dense:
        return (
            f"no id above {largest} in {len(tokens):,} tokens: it was made with a small "
            "vocabulary (characters, bytes), not GPT-2's"
        )
    return None


def _wider_integers(tokens: NDArray[np.uint16]) -> int | None:
    """4 or 8 where the numbers are halves or quarters of larger integers.

    Then every second one is a high half: next to nothing. In GPT-2's ids these places hold any
    token, and 0 to 15 are marks such as ! and a comma.
    """
    if len(tokens) < 8:
        return None
    pairs = tokens[: len(tokens) // 4 * 4].reshape(-1, 2)
    for high in (1, 0):  # little-endian, big-endian
        halves, ids = pairs[:, high], pairs[:, 1 - high]
        small = (halves < _FEW) | (halves == _MINUS_ONE)
        sure = not halves.any() or len(halves) >= 2 * _FEW
        if sure and small.all() and (ids >= _FEW).any():
            return 8 if not ids[high::2].any() else 4
    return None


def _sample(path: Path) -> list[NDArray[np.uint16]]:
    """Tokens sampled over the whole file, at offsets that are multiples of 8 bytes."""
    tokens = tokens_of(path)
    if len(tokens) <= _BLOCK * _BLOCKS:
        return [np.array(tokens)]
    starts = np.linspace(0, len(tokens) - _BLOCK, _BLOCKS).astype(np.int64) // 4 * 4
    return [np.array(tokens[start : start + _BLOCK]) for start in starts.tolist()]
