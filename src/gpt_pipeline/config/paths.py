"""The paths among the keys: `~` is expanded, an empty value is refused."""

import itertools
import os
import re
from typing import Any, TypeVar, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gpt_pipeline.config.problems import shown
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.section import IsPath

_LEAVES = re.compile(r"^(~|[/\\]|[A-Za-z]:)|(^|[/\\])\.\.([/\\]|$)")
"""Matches a path that leads out of the folder it is read in, as any system writes it."""

AnySection = TypeVar("AnySection", bound=BaseModel)


def expanded_path(value: str, key: str) -> str:
    """The path that a user wrote, with `~` and `~user` replaced by the home folder.

    Args:
        value: a path, or a keyword of the key such as `last`, which stays as it is.
        key: names the path in the message.

    Raises:
        ConfigError: it is blank (as `key=$UNSET` is), contains a NUL, or names an unknown user.
    """
    if not value.strip():
        raise ConfigError(
            [f"{key} must name a file or folder; got {value[:9]!r}, as an unset shell variable "
             "gives; write a path, or leave it out"]
        )  # fmt: skip
    if "\0" in value:
        raise ConfigError([f"{key} must be a path without a NUL character; got {shown(value)}"])
    path = os.path.expanduser(value)  # noqa: PTH111 - keeps the form of a glob
    if path.startswith("~"):
        user = shown(value.split("/")[0])
        raise ConfigError(
            [f"{key} must begin with a known home folder; got {shown(value)}; write its "
             f"full path, or ./{user} for a file or folder of that name"]
        )  # fmt: skip
    return path


def expand_paths(section: AnySection, prefix: str = "") -> AnySection:
    """The config, or a group of it, with every path expanded.

    Raises:
        ConfigError: with a line for each invalid path.
    """
    changes: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in section:
        try:
            if isinstance(value, BaseModel):
                changes[name] = expand_paths(value, f"{prefix}{name}.")
            elif isinstance(value, str) and is_path(type(section).model_fields[name]):
                changes[name] = expanded_path(value, prefix + name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return section.model_copy(update=changes)


def portable_paths(section: AnySection) -> AnySection:
    """The config, or a group of it, without the folders of paths that leave the working folder.

    An absolute path, one from a home folder and one with `..` become the name at their end, which
    still says which text a model was trained on.
    """
    changes: dict[str, Any] = {}
    for name, value in section:
        if isinstance(value, BaseModel):
            changes[name] = portable_paths(value)
        elif isinstance(value, str) and is_path(type(section).model_fields[name]):
            changes[name] = _without_folders(value) if _LEAVES.search(value) else value
    return section.model_copy(update=changes)


def _without_folders(path: str) -> str:
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    return "." if not name or _LEAVES.search(name) else name


def is_path(field: FieldInfo) -> bool:
    """Whether a field of a section is a `PathText`, also in a union."""
    of_options = [getattr(kind, "__metadata__", ()) for kind in get_args(field.annotation)]
    marks = itertools.chain(field.metadata, *of_options)
    return any(isinstance(mark, IsPath) for mark in marks)
