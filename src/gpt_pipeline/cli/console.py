"""Output of the commands: log and progress on standard error, results on standard output."""

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

from tqdm import tqdm

from gpt_pipeline.display import CONTROL, OneLineFormatter, visible

log = logging.getLogger("gpt_pipeline")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal; a stream that was closed at the start is None."""
    return stream is not None and stream.isatty()


def for_standard_output(text: str) -> str:
    """A model's text for printing: control characters are escaped on a terminal, not in a pipe."""
    return visible(text, keep="\n\t") if is_terminal(sys.stdout) else text


class _BarSafeHandler(logging.Handler):
    """Writes above a progress bar instead of over it."""

    def emit(self, record: logging.LogRecord) -> None:
        # the reader of standard error may be gone or its disk full: the command continues
        with suppress(OSError, ValueError):
            tqdm.write(self.format(record), file=sys.stderr)


class _Formatter(OneLineFormatter):
    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"warning: {message}" if record.levelno >= logging.WARNING else message


def log_to_stderr() -> None:
    """Send the package's log to standard error, one line per message."""
    if not any(isinstance(handler, _BarSafeHandler) for handler in log.handlers):
        handler = _BarSafeHandler()
        handler.setFormatter(_Formatter("%(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)


def print_json(values: Mapping[str, Any]) -> None:
    """Print a JSON object as one line on standard output, with control characters escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # closed, or in memory
    print(json_line(values, ascii_only=not encoding.lower().startswith("utf")), flush=True)


def json_line(values: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """A JSON object as one line, also for readers that end a line at U+2028 or U+0085."""
    text = json.dumps(values, ensure_ascii=ascii_only)
    return CONTROL.sub(lambda m: f"\\u{ord(m[0]):04x}", text)
