"""metrics.jsonl: one JSON object a line, flushed as it is written, read back after a crash."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


class MetricsFile:
    """Appends to metrics.jsonl. Opened at step n, it first drops what lies beyond step n.

    So a run that was killed after its last checkpoint and goes on from there writes each line
    once.
    """

    def __init__(self, path: Path, *, step: int = 0) -> None:
        kept = [line for line in read_metrics(path) if line["step"] <= step]
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text("".join(_line(entry) for entry in kept), encoding="utf-8")
        temporary.replace(path)
        self.path = path
        self._file = path.open("a", encoding="utf-8")

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line; it is with the operating system when this returns.

        A number that is not finite is written as null: JSON has no NaN.
        """
        self._file.write(_line(entry))
        self._file.flush()

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of metrics.jsonl; a torn last line and a missing file are passed over."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and "step" in entry:
                yield entry


def _line(entry: Mapping[str, Any]) -> str:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in entry.items()
    }
    return json.dumps(finite, allow_nan=False) + "\n"
