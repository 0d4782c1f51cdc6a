"""The schema in words: every key as documentation shows it, and every problem as one line."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError


@dataclass(frozen=True)
class Key:
    """One leaf of the config as documentation shows it."""

    name: str
    allowed: str
    doc: str


def keys(section: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every leaf of the schema in order, under its dotted name."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield Key(prefix + name, _allowed(kind, field.metadata), field.description or "")


def nearest(name: str, allowed: list[str]) -> str:
    """A hint with the nearest right spelling, as the tail of a sentence; empty if none is near."""
    found = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    if not found and "." not in name:  # the leaf alone, without its group
        found = [key for key in allowed if key.rsplit(".", 1)[-1] == name][:1]
    return f"; did you mean {found[0]}?" if found else ""


def _allowed(kind: Any, limits: Sequence[Any] = ()) -> str:
    """A type of the schema in words, its limits included."""
    if get_origin(kind) is Annotated:
        kind, field = get_args(kind)
        return _allowed(kind, field.metadata)
    if kind in _WORDS:
        words = [_WORDS[kind], " and ".join(filter(None, map(_limit, limits)))]
        return " ".join(filter(None, words))
    if get_origin(kind) is Literal:
        return ", ".join(_shown(value) for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_allowed(part, limits) for part in get_args(kind))
    raise TypeError(f"no words for {kind!r}")


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


def _limit(limit: Any) -> str:
    for sign, name in ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le")):
        if (bound := getattr(limit, name, None)) is not None:
            return f"{sign} {bound}"
    return "of letters, digits, '.', '_' and '-'" if getattr(limit, "pattern", None) else ""


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def field_problems(error: ValidationError, known: Sequence[Key]) -> list[str]:
    """One line for each key whose own value is wrong, unknown or missing."""
    names = {key.name: key for key in known}
    return [_problem_line(names, problem) for problem in error.errors()]


def _problem_line(names: Mapping[str, Key], problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name} is not a key of the config{nearest(name, list(names))}"
    if problem["type"] == "missing":
        return f"{name} is missing from the config; add it"
    allowed = names[name].allowed if name in names else "a group of keys"
    return f"{name} must be {allowed}; got {_shown(problem['input'])}"


def relation_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """Problems between keys; a key whose own type is wrong is passed over here."""
    model, dataset = values.get("model", {}), values.get("dataset", {})

    def number(name: str) -> float | None:
        value = model.get(name)
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
        return value if good else None

    width, heads = number("embed_dim"), number("num_heads")
    if width and heads and width % heads:
        yield (
            f"model.num_heads must divide model.embed_dim; got {heads} and {width}; "
            f"try {_near_divisor(int(width), int(heads))}"
        )
    top, low = number("learning_rate"), number("min_lr")
    if top and low and low > top:
        yield f"model.min_lr must be at most model.learning_rate; got {low} and {top}"
    if dataset.get("source") == "text" and not (dataset.get("path") or dataset.get("adopt")):
        yield (
            "dataset.path must name a file, folder or glob with dataset=text; got null; "
            "add dataset.path=your.txt"
        )


def _near_divisor(width: int, heads: int) -> str:
    divisors = [n for n in range(1, width + 1) if width % n == 0]
    best = sorted(divisors, key=lambda n: abs(n - heads))[:2]
    return " or ".join(str(n) for n in sorted(best))
