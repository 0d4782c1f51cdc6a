"""The schema in words: each key as the documentation shows it, and each problem as one line."""

import difflib
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from gpt_pipeline.section import LogitBias, Origins

_LONGEST_VALUE = 100
_LONGEST_NAME = 80
_MOST_PROBLEMS = 50
_LARGEST_NUMBER = 2**63 - 1
"""Largest index or seed of torch."""
_LARGEST_WIDTH = 1 << 16
"""Up to this width, a message lists divisors."""


@dataclass(frozen=True)
class Key:
    """One leaf of the config as documentation shows it.

    Attributes:
        name: the dotted name.
        allowed: the values that it takes, in words.
        doc: what it means; names `options` where there are any.
        options: what has the key, such as `optimizer=muon`; empty where every option has it.
    """

    name: str
    allowed: str
    doc: str
    options: tuple[str, ...] = ()


def keys(section: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Every leaf of the schema in order, under its dotted name."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if classes := tagged(field):
            yield from _keys_of_union(prefix + name, str(field.discriminator), classes)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            doc = " ".join((field.description or "").split())  # one line in tables and `--help`
            yield Key(prefix + name, _allowed(kind, field.metadata), doc)


def tagged(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """The classes of a tagged union by their tags; empty for a field of another type."""
    if not isinstance(field.discriminator, str):
        return {}
    classes: tuple[type[BaseModel], ...] = get_args(field.annotation)
    return {_tag(each, field.discriminator): each for each in classes}


def _tag(section: type[BaseModel], discriminator: str) -> str:
    (tag,) = get_args(section.model_fields[discriminator].annotation)
    return str(tag)


def _keys_of_union(
    group: str, discriminator: str, classes: Mapping[str, type[BaseModel]]
) -> Iterator[Key]:
    """Each key once, however many of the classes have it."""
    found: dict[str, dict[str, Key]] = {}
    for tag, section in classes.items():
        for key in keys(section, f"{group}."):
            found.setdefault(key.name, {})[tag] = key
    for name, by_tag in found.items():
        first = next(iter(by_tag.values()))
        if name == f"{group}.{discriminator}":
            yield Key(name, ", ".join(by_tag), "; ".join(key.doc for key in by_tag.values()))
        elif len(by_tag) == len(classes):
            yield first
        else:
            options = tuple(f"{group}={tag}" for tag in by_tag)
            yield Key(name, first.allowed, f"{first.doc} ({' or '.join(options)})", options)


def float16_problem(optimizer: str) -> str:
    """The line for an optimizer that does not support float16, requested or chosen by auto."""
    return (
        f"optimizer={optimizer} needs runtime.dtype=bfloat16 or float32; got float16; use "
        "optimizer=adamw, or another runtime.dtype"
    )


def nearest(name: str, allowed: list[str]) -> str:
    """A hint with the most similar name, to append to a message; empty if there is none."""
    if len(name) > _LONGEST_NAME:
        return ""
    found = difflib.get_close_matches(name, allowed, n=1, cutoff=0.6)
    if not found and "." not in name:  # the leaf alone, without its group
        found = [key for key in allowed if key.rsplit(".", 1)[-1] == name][:1]
    return f"; did you mean {found[0]}?" if found else ""


def shown(value: object) -> str:
    """A value as a message shows it: one short line without control characters."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if value == "":
        return "''"
    return one_line(value[: 2 * _LONGEST_VALUE] if isinstance(value, str) else _short.repr(value))


def one_line(text: str, limit: int = _LONGEST_VALUE) -> str:
    """Text with unprintable characters escaped, cut after `limit` characters."""
    start = text[: limit + 1]
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in start)
    return plain if len(plain) <= limit else plain[:limit] + "..."


class _Short(reprlib.Repr):
    """A repr of a few entries and levels: YAML aliases can expand to terabytes."""

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 256:  # Python refuses to print very long ones
            return f"a number of {x.bit_length():,} bits"
        return repr(x)


_short = _Short()
_short.maxlevel = 3
_short.maxother = _LONGEST_VALUE


def _allowed(kind: Any, limits: Sequence[Any] = ()) -> str:
    """A type of the schema in words, with its limits."""
    if get_origin(kind) is Annotated:
        kind, *marks = get_args(kind)
        return _allowed(
            kind, [each for mark in marks for each in getattr(mark, "metadata", [mark])]
        )
    if kind in _WORDS:
        ordered = sorted(limits, key=lambda limit: not hasattr(limit, "pattern"))
        words = [_WORDS[kind], " and ".join(filter(None, map(_limit, ordered)))]
        return " ".join(filter(None, words))
    if get_origin(kind) is Literal:
        return ", ".join(shown(value) for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_allowed(part, limits) for part in get_args(kind))
    raise TypeError(f"no words for {kind!r}")


_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    list[str]: "a list of texts, such as [a,b]",
    Origins: "a list of origins as browsers send them (lower case, no path, no default port, no "
    "wildcard within), such as [https://example.com], or [*] for all",
    LogitBias: "token ids with numbers from -100 to 100, such as {11:-5}",
}


def _limit(limit: Any) -> str:
    for sign, name in ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le")):
        if (bound := getattr(limit, name, None)) is not None:
            return f"{sign} {bound}"
    if getattr(limit, "pattern", None):
        return "of letters, digits, '_', '-' and '.', not first"
    if (most := getattr(limit, "max_length", None)) is not None:
        return f"of at most {most} characters"
    return "that is not empty" if getattr(limit, "min_length", None) else ""


def field_problems(error: ValidationError, section: type[BaseModel]) -> list[str]:
    """One line for each key that is wrong, unknown or missing."""
    names = {key.name: key for key in keys(section)}
    problems = error.errors(include_url=False)
    lines = [_problem_line(names, section, problem) for problem in problems[:_MOST_PROBLEMS]]
    if (more := len(problems) - len(lines)) > 0:
        lines.append(f"the config has {more:,} more problems")
    return list(dict.fromkeys(lines))  # a key of two types has a problem with each of them


def _problem_line(names: Mapping[str, Key], section: type[BaseModel], problem: Any) -> str:
    group, *rest = (*problem["loc"], "")[:2]
    field = section.model_fields.get(str(group))
    tags = tagged(field) if field else {}
    if field and tags and problem["type"].startswith("union_tag") and _is_group(problem["input"]):
        tag_key = f"{group}.{field.discriminator}"
        if field.discriminator not in problem["input"]:
            return f"{tag_key} is missing from the config; add it"
        got = shown(problem["input"][field.discriminator])
        return f"{tag_key} must be {names[tag_key].allowed}; got {got}"
    tag = rest[0] if rest and rest[0] in tags else None
    place = problem["loc"] if tag is None else (group, *problem["loc"][2:])
    name = _name(names, place)
    if problem["type"] == "extra_forbidden":
        if name in names:
            options = " or ".join(names[name].options)
            return f"{name} is a key of {options}; got {group}={tag}; drop it or choose {options}"
        return f"{name} is not a key of the config{nearest(name, list(names))}"
    if problem["type"] == "missing":
        if name in names and names[name].options and tag is not None:
            return f"{name} is missing; choose {group}={tag}, which sets every key of the group"
        return f"{name} is missing from the config; add it"
    allowed = names[name].allowed if name in names else "a group of keys"
    return f"{name} must be {allowed}; got {shown(problem['input'])}"


def _is_group(value: object) -> bool:
    return isinstance(value, Mapping)


def _name(names: Mapping[str, Key], place: Sequence[int | str]) -> str:
    """The key at a location, without pydantic's location inside its value."""
    whole = ".".join(str(part) for part in place)
    outer = (".".join(str(part) for part in place[:end]) for end in range(len(place), 0, -1))
    name = next((each for each in outer if each in names), whole)
    return one_line(name, _LONGEST_NAME) or "the config"


def missing_keys(section: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    """The dotted keys of a config of groups that `values` lack."""
    for name, field in section.model_fields.items():
        group, classes = values.get(name, {}), tagged(field)
        tag = group.get(str(field.discriminator)) if classes else None
        kind = classes.get(str(tag)) if classes else field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (f"{name}.{leaf}" for leaf in kind.model_fields if leaf not in group)


def relation_problems(values: Mapping[str, Any], optimizer: FieldInfo) -> Iterator[str]:
    """Problems between keys; a key of a wrong type is skipped.

    Args:
        values: of the config.
        optimizer: the field of the optimizer's classes.
    """
    yield from _too_large(values)
    model, dataset = _group(values, "model"), _group(values, "dataset")

    def number(name: str, *, whole: bool = False) -> float | None:
        value = model.get(name)
        good = (
            isinstance(value, int if whole else (int, float))
            and not isinstance(value, bool)
            and value > 0
        )
        return value if good else None

    width, heads = number("embed_dim", whole=True), number("num_heads", whole=True)
    if width and heads and width % heads:
        yield (
            f"model.num_heads must divide model.embed_dim; got {shown(heads)} and {shown(width)}"
            f"{_near_divisor(int(width), int(heads))}"
        )
    yield from _block_problems(_group(values, "block"), width, heads)
    top, low = number("learning_rate"), number("min_lr")
    if top and low and low > top:
        yield (
            f"model.min_lr must be at most model.learning_rate; got {shown(low)} and {shown(top)}"
        )
    name = _group(values, "optimizer").get("name")
    chosen: Any = tagged(optimizer).get(name) if isinstance(name, str) else None
    schedule = _group(values, "schedule").get("name")
    if chosen and chosen.needs_schedule not in (None, schedule):
        yield (
            f"optimizer={name} needs schedule={chosen.needs_schedule}; got {shown(schedule)}; "
            f"add schedule={chosen.needs_schedule}"
        )
    ratio = dataset.get("train_ratio")
    if dataset.get("val_path") is not None and ratio is not None and ratio != 1:
        yield (
            "dataset.train_ratio and dataset.val_path both choose the validation text; got "
            f"{shown(ratio)} and {shown(dataset['val_path'])}; leave one out"
        )


def source_problems(values: Mapping[str, Any]) -> Iterator[str]:
    """What a command needs to find its text; a checkpoint need not say it."""
    dataset = _group(values, "dataset")
    given = any(dataset.get(name) is not None for name in ("path", "adopt", "val_path"))
    if dataset.get("source") == "text" and not given:  # evaluate needs validation text alone
        yield (
            "dataset.path must name a file, folder or glob with dataset=text; got null; "
            "add dataset.path=your.txt"
        )


def _block_problems(
    block: Mapping[str, Any], width: float | None, heads: float | None
) -> Iterator[str]:
    """Problems of the attention heads."""
    groups = block.get("num_kv_heads")
    if width and heads and width % heads:
        return  # reported already
    if isinstance(groups, int) and groups > 0 and heads and heads % groups:
        yield (
            f"block.num_kv_heads must divide model.num_heads; got {shown(groups)} and "
            f"{shown(heads)}{_near_divisor(int(heads), groups)}"
        )
    rotary = block.get("position") == "rotary"
    if rotary and width and heads and (width // heads) % 2:
        yield (
            "block.position=rotary needs an even head dimension (model.embed_dim / "
            f"model.num_heads); got {shown(width // heads)}"
        )


def _group(values: object, name: str) -> Mapping[str, Any]:
    """A group of the config; empty if the value is not a group."""
    group = values.get(name) if isinstance(values, Mapping) else None
    return group if isinstance(group, Mapping) else {}


def _too_large(values: object) -> Iterator[str]:
    """Whole numbers that are too large for a tensor, file or seed."""
    groups = {name: _group(values, name) for name in values} if isinstance(values, Mapping) else {}
    for name, group in [("", values), *groups.items()]:
        for leaf, value in group.items() if isinstance(group, Mapping) else ():
            if isinstance(value, int) and value > _LARGEST_NUMBER:
                key = one_line(f"{name}.{leaf}" if name else str(leaf), _LONGEST_NAME)
                yield f"{key} must be at most {_LARGEST_NUMBER}; got {shown(value)}"


def _near_divisor(width: int, heads: int) -> str:
    """The nearest divisors, to append to a message."""
    if width > _LARGEST_WIDTH:
        return ""
    divisors = [n for n in range(1, width + 1) if width % n == 0]
    best = sorted(divisors, key=lambda n: abs(n - heads))[:2]
    return f"; try {' or '.join(str(n) for n in sorted(best))}"
