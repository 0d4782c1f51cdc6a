"""metrics.jsonl: one JSON object per line, complete after a crash up to the last line."""

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from gpt_pipeline.best_effort import BestEffort
from gpt_pipeline.tracking.tracker import Tracker

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
"""The file's name in a run folder."""


class MetricsFile:
    """The `Tracker` that writes metrics.jsonl, and passes everything on to other trackers.

    Lines after the step that the run resumes from are dropped first, so that each line is written
    once. A full disk does not stop the run: lines are kept in memory and written when there is
    room.

    Args:
        path: the file; created with its folder if it does not exist.
        lines: number of lines to keep at most; None keeps those up to `step`.
        step: the step that the run resumes from.
        trackers: other places for the same entries; a failure of one is a warning.
    """

    def __init__(
        self,
        path: Path,
        *,
        lines: int | None = None,
        step: int = 0,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self._trackers, self._best_effort = trackers, BestEffort()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._written = [(_step_of(line), len(line)) for line in _whole_lines(path)]
        self._waiting: list[bytes] = []
        self._end, self._warned = 0, False
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        self.rewind(lines=lines, step=step)

    @property
    def lines(self) -> int:
        """The number of lines, including those that are not written yet."""
        return len(self._written) + len(self._waiting)

    def log(self, entry: Mapping[str, Any]) -> None:
        """Write one line; the operating system has it when this returns.

        Numbers that are not finite are written as null, because JSON has no NaN.
        """
        self._waiting.append(_line(entry))
        self._write()
        for tracker in self._trackers:
            with self._best_effort.to(f"log to {type(tracker).__name__}"):
                tracker.log(entry)

    def rewind(self, *, step: int, lines: int | None = None) -> None:
        """Drop the lines after the step that the run continues from; arguments as above."""
        if lines is None:
            steps = [number for number, _ in self._written]
            lines = next((i for i, number in enumerate(steps) if number > step), len(steps))
        del self._waiting[max(0, lines - len(self._written)) :]
        del self._written[lines:]
        self._end = sum(length for _, length in self._written)
        self._write()
        for tracker in self._trackers:
            with self._best_effort.to(f"rewind {type(tracker).__name__}"):
                tracker.rewind(step=step)

    def sync(self) -> None:
        """Wait until the lines are on the disk."""
        with contextlib.suppress(OSError):  # a checkpoint may still be saved
            os.fsync(self._file.fileno())

    def _write(self) -> None:
        """Write the waiting lines after those on disk, and truncate what follows."""
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
                log.warning("cannot write %s: %s; its lines are kept in memory", self.path, error)
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
        self.close()

    def close(self) -> None:
        """Write the lines that wait, and close the file and the trackers."""
        if self._waiting:
            self._write()
        if self._waiting:
            log.warning("%d lines of %s could not be written", len(self._waiting), self.path)
        with contextlib.suppress(OSError):
            self._file.close()
        for tracker in self._trackers:
            with self._best_effort.to(f"close {type(tracker).__name__}"):
                tracker.close()


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of metrics.jsonl, without a torn last line; a missing file has none."""
    for line in _whole_lines(path):
        entry = _parsed(line)
        if entry is not None:
            yield entry


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Lines with a newline at their end."""
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
    """Replace numbers that are not finite by None, because JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in entry.items()
    }


def _line(entry: Mapping[str, Any]) -> bytes:
    return (json.dumps(without_nan(entry), allow_nan=False) + "\n").encode()
