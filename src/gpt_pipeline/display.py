"""Text for people: numbers with units, and text without characters that control a terminal."""

import logging
import re

# What a terminal acts on instead of showing it: C0, DEL and C1, the marks that turn the direction
# of a text, and line ends of Unicode; and lone surrogates, which no output can encode.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")
"""One character that must not reach a terminal as it is."""


def visible(text: str, *, keep: str = "") -> str:
    """Escape every control character as in \\x1b, except those in `keep`."""
    return CONTROL.sub(lambda m: m[0] if m[0] in keep else ascii(m[0])[1:-1], text)


def count(number: float) -> str:
    """Format a number with a unit prefix: 30.0 M, 1.2 G, 4,096."""
    for limit, unit in ((1e9, "G"), (1e6, "M")):
        if number >= limit:
            return f"{number / limit:,.1f} {unit}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Format seconds: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class OneLineFormatter(logging.Formatter):
    """Formats each log message as one line, with control characters escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format the message and escape it."""
        return visible(super().formatMessage(record))
