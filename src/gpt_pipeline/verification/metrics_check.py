"""Checks metrics.jsonl against its format, line by line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from gpt_pipeline.errors import UserError

LONGEST_LINE = 1 << 16
"""Longest line in bytes; lines of a run have a few hundred."""

_FIGURES = ("train_loss", "val_loss")


def check_metrics(path: Path) -> int:
    """Check the lines of metrics.jsonl and return their number.

    Steps must not decrease, and each figure of a step must occur once. A step may have two lines,
    one with training figures and one with validation figures.

    Raises:
        UserError: names the first invalid line.
        OSError: the file cannot be read.
    """
    number, last, seen = 0, 0, list[frozenset[str]]()
    with path.open("rb") as file:
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            place = f"{path} line {number}"
            entry = _entry(raw, place, is_last=lambda: _ended(file))
            step, keys = entry["step"], frozenset(entry)
            if step < last:
                raise UserError(f"{place} must not be before step {last}; got step {step}")
            seen = seen if step == last else []
            if keys in seen or any(name in keys & other for other in seen for name in _FIGURES):
                raise UserError(f"{place} repeats step {step}; each step must occur once")
            seen.append(keys)
            last = step
    return number


def _entry(raw: bytes, place: str, is_last: Callable[[], bool]) -> dict[str, Any]:
    """The object of one line, with integers for step and tokens."""
    if not raw.endswith(b"\n"):
        if len(raw) <= LONGEST_LINE and is_last():
            raise UserError(
                f"{place}, the last, is incomplete: the run was killed while it wrote it; resuming "
                "the run drops it"
            )
        raise UserError(f"{place} must have at most {LONGEST_LINE:,} bytes; got more")
    try:
        entry = json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UserError(f"{place} must be a JSON object; got {raw[:40]!r}") from None
    if not isinstance(entry, dict):
        raise UserError(f"{place} must be a JSON object; got {type(entry).__name__}")
    for name in ("step", "tokens"):
        value = entry.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            got = "none" if value is None else repr(value)[:40]
            raise UserError(f"{place} must have an integer {name}; got {got}")
    return entry


def _ended(file: BinaryIO) -> bool:
    return not file.read(1)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
