"""The text of `--help`, made from the schema and conf/."""

from functools import cache

from gpt_pipeline.cli.commands import COMMANDS
from gpt_pipeline.config import Config, keys
from gpt_pipeline.config.compose import Composed, compose, groups, option_values
from gpt_pipeline.config.problems import shown


def help_text(command: str | None) -> str:
    """Help on one command, or on all if it is None."""
    if command is None:
        rows = [(name, entry.doc) for name, entry in COMMANDS.items()]
        opening = [
            "gpt-pipeline COMMAND [key=value ...]",
            "",
            "Train a small GPT on your text, generate from it and serve it.",
            "",
            "Commands (details: gpt-pipeline COMMAND --help):",
            *_table(rows),
        ]
    else:
        entry = COMMANDS[command]
        opening = [
            f"gpt-pipeline {command} [key=value ...]",
            "",
            f"{entry.doc[0].upper()}{entry.doc[1:]}.",
            "",
            f"Example: gpt-pipeline {command} {entry.example}",
        ]
    options = [
        ("--help", "print this help"),
        ("--cfg", "print the composed config and exit"),
        ("--version", "print the version and exit"),
    ]
    return "\n".join(
        [
            *opening,
            "",
            "Options:",
            *_table(options),
            "",
            "Groups (GROUP=OPTION sets several keys; * marks the default):",
            *_table(_group_rows()),
            "",
            "Keys (KEY=VALUE; defaults in brackets):",
            *_table([(row[0], f"{row[1]} [{row[2]}]") for row in key_rows()]),
        ]
    )


def key_rows() -> list[tuple[str, str, str]]:
    """Name, description and default of every key."""
    defaults, of_option = _defaults().config.model_dump(), cache(option_values)
    rows = []
    for key in keys(Config):
        group, _, leaf = key.name.rpartition(".")
        if key.options and leaf not in defaults[group]:  # not a key of the default option
            node = of_option(key.options[0])[group][leaf]
        else:
            node = defaults[group][leaf] if group else defaults[leaf]
        rows.append((key.name, key.doc, shown(node)))
    return rows


@cache
def _defaults() -> Composed:
    return compose([])


def _group_rows() -> list[tuple[str, str]]:
    chosen = _defaults().chosen
    return [
        (group, ", ".join(f"{name}*" if name == chosen.get(group) else name for name in options))
        for group, options in groups().items()
    ]


def _table(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(left) for left, _ in rows) + 2
    return [f"  {left:<{width}}{right}" for left, right in rows]
