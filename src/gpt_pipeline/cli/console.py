"""Where words go: progress and log to standard error, results to standard output."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

log = logging.getLogger("gpt_pipeline")


class _BarSafeHandler(logging.Handler):
    """Writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"warning: {message}" if record.levelno >= logging.WARNING else message


def log_to_stderr() -> None:
    """Send the package's log to standard error, one message a line."""
    if not any(isinstance(handler, _BarSafeHandler) for handler in log.handlers):
        handler = _BarSafeHandler()
        handler.setFormatter(_Formatter("%(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """While open, the package's log goes to a file too, with times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object as one line on standard output."""
    print(json.dumps(values, ensure_ascii=False), flush=True)


def count(number: float) -> str:
    """A number as people read it: 30.0 M, 4,096."""
    for limit, unit in ((1e9, "G"), (1e6, "M")):
        if number >= limit:
            return f"{number / limit:,.1f} {unit}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Seconds as people read them: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
