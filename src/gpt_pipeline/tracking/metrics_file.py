"""metrics.jsonl: one JSON object a line, with the system as it is written, read after a crash."""

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
"""The file's name in a run folder."""


class MetricsFile:
    """Appends to metrics.jsonl; what lies beyond the place where a run goes on is dropped first.

    So a run that was killed after its last checkpoint and goes on from there writes each line
    once. A disk that is full stops nothing: lines wait, and are written when there is room.

    Args:
        path: the file; made with its folder if it is not there.
        lines: how many lines to keep at most; None keeps those up to `step`.
        step: the step that the run goes on from.
    """

    def __init__(self, path: Path, *, lines: int | None = None, step: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._written = [(_step_of(line), len(line)) for line in _whole_lines(path)]
        self._waiting: list[bytes] = []
        self._end, self._warned = 0, False
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self.rewind(lines=lines, step=step)

    @property
    def lines(self) -> int:
        """How many lines there are, those that wait included."""
        return len(self._written) + len(self._waiting)

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line; it is with the operating system when this returns.

        A number that is not finite is written as null: JSON has no NaN.
        """
        self._waiting.append(_line(entry))
        self._write()

    def rewind(self, *, lines: int | None, step: int) -> None:
        """Drop what lies beyond the place where the run goes on; arguments as above."""
        if lines is None:
            steps = [number for number, _ in self._written]
            lines = next((i for i, number in enumerate(steps) if number > step), len(steps))
        del self._waiting[max(0, lines - len(self._written)) :]
        del self._written[lines:]
        self._end = sum(length for _, length in self._written)
        self._write()

    def sync(self) -> None:
        """Wait until the lines are on the disk."""
        with contextlib.suppress(OSError):  # a checkpoint may still be saved
            os.fsync(self._file.fileno())

    def _write(self) -> None:
        """Write what waits behind what is written, and leave nothing else there."""
        left = memoryview(b"".join(self._waiting))
        try:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)  # no half line
            if not self._warned:
                log.warning("cannot write %s: %s; its lines wait in memory", self.path, error)
            self._warned = True
            return
        self._written += [(_step_of(line), len(line)) for line in self._waiting]
        self._end += sum(map(len, self._waiting))
        self._waiting, self._warned = [], False

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._waiting:
            self._write()
        if self._waiting:
            log.warning("%d lines of %s could not be written", len(self._waiting), self.path)
        with contextlib.suppress(OSError):
            self._file.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of metrics.jsonl; a torn last line and a missing file are passed over."""
    for line in _whole_lines(path):
        entry = _parsed(line)
        if entry is not None:
            yield entry


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Lines that end; a last one that was cut is not given."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and "step" in entry else None


def _step_of(line: bytes) -> float:
    entry = _parsed(line)
    return math.inf if entry is None else entry["step"]


def without_nan(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with None in place of what is not finite: JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in entry.items()
    }


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(without_nan(entry), allow_nan=False) + "\n").encode()
