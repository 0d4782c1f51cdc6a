"""The sidecar of a token file: sealed JSON, validated completely before use."""

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from gpt_pipeline.durable import parsed, read_limited, sealed, unsealed
from gpt_pipeline.errors import DataError

FORMAT_VERSION = 2
LARGEST_UINT16 = 1 << 16
"""Vocabularies above this many entries are stored as uint32."""

_DTYPES: dict[str, str] = {"uint16": "<u2", "uint32": "<u4"}
_SHA256 = re.compile("[0-9a-f]{64}")
_SHOWN = 60


@dataclass(frozen=True)
class Sidecar:
    """Facts about a token file; `bytes` counts UTF-8 text plus one per document for its end."""

    format_version: int
    file: str
    dtype: str
    vocab_size: int
    tokenizer_sha256: str
    eot_id: int
    tokens: int
    documents: int
    bytes: int
    source: str
    source_fingerprint: str
    sha256: str
    floor_bits: float | None

    @property
    def floor_bits_per_byte(self) -> float | None:
        """The entropy of a generated corpus: what no model can be below; None if not known."""
        return None if self.floor_bits is None else self.floor_bits / self.bytes

    @property
    def numpy_dtype(self) -> str:
        """As numpy calls it, with the order of the bytes."""
        return _DTYPES[self.dtype]

    @property
    def file_bytes(self) -> int:
        """Size that the .bin must have."""
        return self.tokens * np.dtype(self.numpy_dtype).itemsize


def dtype_for(vocab_size: int) -> str:
    """Which of the two types holds ids below `vocab_size`."""
    return "uint16" if vocab_size <= LARGEST_UINT16 else "uint32"


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of the token file `path` is."""
    return path.with_suffix(".json")


def sidecar_json(sidecar: Sidecar) -> bytes:
    """The content of the sidecar's file."""
    return sealed(asdict(sidecar))


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar of the token file `path`.

    Raises:
        DataError: when it is missing, damaged, of another file or of another format version.
    """
    place = sidecar_path(path)
    try:
        raw = read_limited(place)
        values = parsed(raw)
    except FileNotFoundError as error:
        raise DataError(f"{place} does not exist; run `gpt-pipeline data`") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{place} cannot be read ({error}); run `gpt-pipeline data`") from error
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"{place} must be of format version {FORMAT_VERSION}; got {_shown(version)}; "
            "run `gpt-pipeline data`"
        )
    try:
        problem = _problem(unsealed(raw), path.name)
    except (ValueError, RecursionError) as error:
        problem = str(error)
    if problem is not None:
        raise DataError(f"{place} is damaged ({problem}); run `gpt-pipeline data`")
    return Sidecar(**{field.name: values[field.name] for field in fields(Sidecar)})


def _problem(values: dict[str, Any], name: str) -> str | None:
    """What is wrong with a sidecar whose seal is good: it may be a stranger's."""
    unlike = set(values) ^ {field.name for field in fields(Sidecar)}
    if unlike:
        return f"missing or unknown: {_shown(sorted(unlike))}"
    for key, (allowed, holds) in _RULES.items():
        if not holds(values[key]):
            return f"{key} must be {allowed}; got {_shown(values[key])}"
    if values["file"] != name:
        return f"it is the sidecar of {_shown(values['file'])}, not of {name}"
    if values["dtype"] != dtype_for(values["vocab_size"]):
        return f"dtype {values['dtype']} does not go with vocab_size {values['vocab_size']}"
    if values["eot_id"] >= values["vocab_size"]:
        return f"eot_id must be below {values['vocab_size']}; got {values['eot_id']}"
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_Rule = tuple[str, Callable[[Any], bool]]


def _whole(low: int, high: int) -> _Rule:
    return f"a whole number in {low}..{high}", lambda v: type(v) is int and low <= v <= high


_HASH: _Rule = (
    "a SHA-256 in hexadecimal",
    lambda v: isinstance(v, str) and _SHA256.fullmatch(v) is not None,
)
_WORDS: _Rule = ("a string", lambda v: isinstance(v, str))
_RULES: dict[str, _Rule] = {
    "format_version": _whole(FORMAT_VERSION, FORMAT_VERSION),
    "file": _WORDS,
    "dtype": ("uint16 or uint32", lambda v: isinstance(v, str) and v in _DTYPES),
    "vocab_size": _whole(1, 1 << 32),
    "tokenizer_sha256": _HASH,
    "eot_id": _whole(0, (1 << 32) - 1),
    "tokens": _whole(1, 1 << 60),
    "documents": _whole(0, 1 << 60),
    "bytes": _whole(1, 1 << 60),
    "source": _WORDS,
    "source_fingerprint": _WORDS,
    "sha256": _HASH,
    "floor_bits": (
        "null or a number from 0 on",
        lambda v: v is None or (type(v) in (int, float) and v >= 0 and math.isfinite(v)),
    ),
}
