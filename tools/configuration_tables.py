"""`make docs`: writes the tables of commands, groups and keys into docs/configuration.md.

The tables are between `<!-- table: NAME -->` and `<!-- end -->`; a test compares them with these.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from gpt_pipeline.cli.commands import COMMANDS
from gpt_pipeline.cli.help import key_rows
from gpt_pipeline.config.compose import groups

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """The tables by name, as Markdown."""
    commands = [
        (f"`gpt-pipeline {name}`", entry.doc, f"`{name} {entry.example}`")
        for name, entry in COMMANDS.items()
    ]
    options = [
        (f"`{name}`", ", ".join(f"`{choice}`" for choice in choices))
        for name, choices in groups().items()
    ]
    keys = [(f"`{name}`", f"`{default}`", _cell(doc)) for name, doc, default in key_rows()]
    return {
        "commands": _markdown(("command", "does", "example"), commands),
        "groups": _markdown(("group", "options"), options),
        "keys": _markdown(("key", "default", "meaning"), keys),
    }


def with_tables(text: str) -> str:
    """The text of a document with its tables replaced by current ones."""
    made = tables()
    return _TABLE.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n\n{match[3]}", text)


def _markdown(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/configuration.md")
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
