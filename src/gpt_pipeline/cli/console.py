"""Where words go: progress and log to standard error, results to standard output."""

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

log = logging.getLogger("gpt_pipeline")

# What a terminal acts on instead of showing it: C0, DEL and C1, the marks that turn the direction
# of a text, and line ends of Unicode; and lone surrogates, which no output can encode.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")


def visible(text: str, *, keep: str = "") -> str:
    """The text with every control character as an escape such as \\x1b, but for those in `keep`."""
    return _HIDDEN.sub(lambda m: m[0] if m[0] in keep else ascii(m[0])[1:-1], text)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sits behind it; None: it was closed before the program began."""
    return stream is not None and stream.isatty()


def for_standard_output(text: str) -> str:
    """A model's text for a person or a program.

    A terminal gets it without characters that would command it; a pipe gets it byte for byte.
    """
    return visible(text, keep="\n\t") if is_terminal(sys.stdout) else text


class _BarSafeHandler(logging.Handler):
    """Writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        # whoever read our messages may be gone, or the disk full: no reason to stop the work
        with suppress(OSError, ValueError):
            tqdm.write(self.format(record), file=sys.stderr)


class _OneLine(logging.Formatter):
    """A message a line, without characters that would command a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record))


class _Formatter(_OneLine):
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


class _LogFile(logging.FileHandler):
    """A file whose disk may be full: what it cannot take is on standard error all the same."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """While open, the package's log goes to a file too, with times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):
            handler.close()


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object as one line on standard output; what a terminal acts on is escaped."""
    encoding = "utf-8" if sys.stdout is None else sys.stdout.encoding
    print(json_line(values, ascii_only=not encoding.lower().startswith("utf")), flush=True)


def json_line(values: Mapping[str, Any], *, ascii_only: bool = False) -> str:
    """A JSON object on one line, whatever a reader takes for the end of one (U+2028, U+0085)."""
    text = json.dumps(values, ensure_ascii=ascii_only)
    return _HIDDEN.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


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
