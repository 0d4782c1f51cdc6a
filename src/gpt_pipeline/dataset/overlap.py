"""How many validation documents are in the training text too: the same ids, token by token."""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gpt_pipeline.dataset.sidecar import Sidecar, read_sidecar
from gpt_pipeline.dataset.token_file import read_chunks
from gpt_pipeline.durable import read_limited, replacing, sealed, unsealed
from gpt_pipeline.errors import DataError

FORMAT_VERSION = 1
OVERLAP_FILE = "overlap.json"

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Overlap:
    """`shared` of `documents` validation documents are in the training text; without empty ones."""

    format_version: int
    train_sha256: str
    val_sha256: str
    shared: int
    documents: int

    def __str__(self) -> str:
        if self.documents == 0:
            return "overlap: not looked for, the validation tokens hold no ended document"
        of = f"{self.documents:,} validation documents"
        if self.shared == 0:
            return f"overlap: none of {of} is in the training text"
        share, verb = 100 * self.shared / self.documents, "is" if self.shared == 1 else "are"
        return f"overlap: {self.shared:,} of {of} ({share:.3g} %) {verb} in the training text too"


def find_overlap(train: Path, val: Path) -> Overlap:
    """The overlap of two token files of one tokenizer; looked up where this pair was counted.

    Raises:
        DataError: when a file cannot be read, or they are of two tokenizers.
    """
    sidecars = read_sidecar(train), read_sidecar(val)
    place = train.with_name(OVERLAP_FILE)
    kept = _kept(place, *sidecars)
    if kept is not None:
        return kept
    found = count_overlap(train, val)
    with contextlib.suppress(OSError), replacing(place) as file:  # else it is counted each time
        file.write(sealed(asdict(found)))
    return found


def count_overlap(train: Path, val: Path) -> Overlap:
    """Count by 128-bit hashes of documents; only those of the validation text are held."""
    train_sidecar, val_sidecar = read_sidecar(train), read_sidecar(val)
    if train_sidecar.tokenizer_sha256 != val_sidecar.tokenizer_sha256:
        raise DataError(
            f"{train} and {val} must be of one tokenizer; got two; run `gpt-pipeline data`"
        )
    left = Counter(document_digests(val, val_sidecar))
    documents, shared = left.total(), 0
    if documents:
        for digest in document_digests(train, train_sidecar):
            if digest in left:
                shared += left.pop(digest)
    return Overlap(FORMAT_VERSION, train_sidecar.sha256, val_sidecar.sha256, shared, documents)


def document_digests(path: Path, sidecar: Sidecar) -> Iterator[bytes]:
    """A hash of each document that end-of-text ends, empty ones passed over, in constant memory."""
    state = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    empty = True
    for chunk in read_chunks(path, sidecar):
        view = chunk.view(np.uint8).data
        width = chunk.itemsize
        start = 0
        for end in (np.flatnonzero(chunk == sidecar.eot_id) * width).tolist():
            if empty and end > start:
                yield hashlib.blake2b(view[start:end], digest_size=_DIGEST_BYTES).digest()
            elif not empty:  # it began in a chunk before this one
                state.update(view[start:end])
                yield state.digest()
                state, empty = hashlib.blake2b(digest_size=_DIGEST_BYTES), True
            start = end + width
        if start < len(view):
            state.update(view[start:])
            empty = False


def _kept(place: Path, train: Sidecar, val: Sidecar) -> Overlap | None:
    """The record, if it is whole and of these two files."""
    try:
        found = Overlap(**unsealed(read_limited(place)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    wanted = Overlap(FORMAT_VERSION, train.sha256, val.sha256, found.shared, found.documents)
    numbers = (found.shared, found.documents)
    if found != wanted or not all(type(number) is int for number in numbers):
        return None
    return found if 0 <= found.shared <= found.documents else None
