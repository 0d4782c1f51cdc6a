r"""Turns the plots' templates into flat tables of strings, and draws stories from them.

The notation of a template:

    [a|b|c]    a slot: one of the alternatives, each as likely as the others. Slots nest; what is
               drawn is then one of all the written-out alternatives: `[big [cat|dog]|bird]` has 3.
    {N} {N.he} what a role of the story is called, and its other forms. The roles of a plot are
               drawn once, at the story's start. `{he}` alone is short for `{N.he}`, the hero's.
    <soon>     a phrase of phrases.py, put in place as if it were written here.
    @air       a sentence of phrases.py that has several forms, each with slots of its own: the
               form is drawn, then its slots. Only outside of slots.
    a          becomes `an` before a vowel, also where the next word is a slot's or a role's
               (`a {T}` is written as the role's form `{T.a}`).
               An empty line starts a paragraph; a single line break is a space, or nothing
               behind `|` and `[`.

A choice is made in one place, `pick(n)`: one of n, uniformly. A story's surprisal is therefore the
sum of log2(n) over its choices, provided that the choices can be told from the text: alternatives
are pairwise different (checked when compiling), and the tests parse stories back into choices.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log2

Pick = Callable[[int], int]
"""Given n, a number from 0 to n - 1."""

Entry = Mapping[str, str]
"""One option of a role: form -> word; the form "" is the plain one."""

_TOKEN = re.compile(r"\{([\w.]+)\}")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])(?!one|use|uni)")
_BAD_ARTICLE = re.compile(r"\b[Aa]n? (%(?!\(\w\.girl\))|$)")
_ROLE_ARTICLE = re.compile(r"\b([Aa])\s\{([A-Z])\}")


@dataclass(frozen=True)
class Story:
    """One story; `bits` is the exact surprisal, -log2 of the probability of all its choices."""

    text: str
    bits: float


@dataclass(frozen=True)
class Plot:
    """A plot as data: `roles` maps a role's name to the options it is drawn from.

    Roles that share a table are drawn from it without replacement.
    """

    name: str
    roles: Mapping[str, Sequence[Entry]]
    template: str


@dataclass(frozen=True)
class Run:
    """Slots in their order. Each alternative begins with the fixed text before its slot."""

    slots: tuple[tuple[int, tuple[str, ...]], ...]
    tail: str
    bits: float


@dataclass(frozen=True)
class CompiledPlot:
    """A plot ready to draw: its roles, then segments, each a Run drawn among some."""

    name: str
    roles: tuple[tuple[Sequence[Entry], tuple[dict[str, str], ...]], ...]
    segments: tuple[tuple[Run, ...], ...]


def draw_story(plots: Sequence[CompiledPlot], pick: Pick) -> Story:
    """Make every choice of a story with `pick`, in the order in which they show in the text."""
    plot = plots[pick(len(plots))]
    state, bits = _draw_roles(plot, pick)
    bits += log2(len(plots))
    parts: list[str] = []
    for runs in plot.segments:
        if len(runs) > 1:
            run = runs[pick(len(runs))]
            bits += log2(len(runs))
        else:
            run = runs[0]
        parts += [options[pick(n)] for n, options in run.slots]
        parts.append(run.tail)
        bits += run.bits
    return Story("".join(parts) % state, bits)


def _draw_roles(plot: CompiledPlot, pick: Pick) -> tuple[dict[str, str], float]:
    state: dict[str, str] = {}
    bits = 0.0
    taken: dict[int, list[int]] = {}
    for table, forms in plot.roles:
        used = taken.setdefault(id(table), [])
        count = len(forms) - len(used)
        idx = pick(count)
        bits += log2(count)
        for other in sorted(used):
            idx += idx >= other
        used.append(idx)
        state.update(forms[idx])
    return state, bits


def replay(plots: Sequence[CompiledPlot], choices: Sequence[int]) -> tuple[Story, list[int]]:
    """The story that `choices` make, and the number of options at each of them.

    Where a choice is beyond its number of options, or missing, the first option is taken.
    """
    counts: list[int] = []

    def pick(n: int) -> int:
        position = len(counts)
        counts.append(n)
        idx = choices[position] if position < len(choices) else 0
        return idx if idx < n else 0

    return draw_story(plots, pick), counts


def compile_plot(
    plot: Plot, phrases: Mapping[str, str], sentences: Mapping[str, Sequence[str]]
) -> CompiledPlot:
    """Write out a plot's phrases and sentences, and flatten its slots."""
    roles = tuple(
        (table, tuple({_key(name, form): word for form, word in entry.items()} for entry in table))
        for name, table in plot.roles.items()
    )
    known = set().union(*(forms[0] for _, forms in roles))
    segments = []
    for idx, piece in enumerate(re.split(r"@(\w+)", plot.template.strip())):
        texts = [piece] if idx % 2 == 0 else sentences[piece]
        runs = tuple(_compile_run(_write_out(text, phrases), plot.name) for text in texts)
        segments.append(runs)
    for run in itertools.chain.from_iterable(segments):
        text = "".join(option for _, options in run.slots for option in options) + run.tail
        missing = set(re.findall(r"%\(([\w.]+)\)s", text)) - known
        if missing:
            raise ValueError(f"plot {plot.name}: no such role or form: {sorted(missing)}")
    return CompiledPlot(plot.name, roles, tuple(segments))


def _key(role: str, form: str) -> str:
    return f"{role}.{form}" if form else role


def _write_out(template: str, phrases: Mapping[str, str]) -> str:
    """Put phrases in place, join lines into paragraphs, mark the roles for the % operator."""
    while "<" in template:
        template = re.sub(r"<(\w+)>", lambda match: phrases[match[1]], template)
    template = _ROLE_ARTICLE.sub(r"{\2.\1}", template)
    template = re.sub(r"(?<=[|\[])\s*\n\s*", "", template)
    template = re.sub(r"\s*\n\s*\n\s*", "\f", template)
    template = re.sub(r"\s+", lambda match: match[0] if "\f" in match[0] else " ", template)

    def mark(match: re.Match[str]) -> str:
        key = match[1]
        is_role = key[0].isupper() and (len(key) == 1 or key[1] == ".")
        return f"%({key if is_role else 'N.' + key})s"

    return _TOKEN.sub(mark, template.replace("\f", "\n\n"))


def _compile_run(text: str, plot_name: str) -> Run:
    slots = []
    literal = ""
    idx = 0
    while idx < len(text):
        if text[idx] != "[":
            literal += text[idx]
            idx += 1
            continue
        leaves, idx = _alternatives(text, idx + 1)
        options = tuple(_with_articles(literal + leaf, plot_name) for leaf in leaves)
        if len(set(options)) != len(options) or len(options) < 2:
            raise ValueError(f"plot {plot_name}: a slot needs different options: {options}")
        slots.append((len(options), options))
        literal = ""
    bits = sum(log2(count) for count, _ in slots)
    return Run(tuple(slots), _with_articles(literal, plot_name), bits)


def _alternatives(text: str, idx: int) -> tuple[list[str], int]:
    """Read from behind a `[` to behind its `]`: the written-out alternatives, and where it ends."""
    done: list[str] = []
    current = [""]
    while True:
        char = text[idx]
        idx += 1
        if char == "[":
            inner, idx = _alternatives(text, idx)
            current = [head + tail for head in current for tail in inner]
        elif char in "|]":
            done += current
            current = [""]
            if char == "]":
                return done, idx
        else:
            current = [head + char for head in current]


def _with_articles(text: str, plot_name: str) -> str:
    if _BAD_ARTICLE.search(text):
        raise ValueError(f"plot {plot_name}: no word follows the article in {text!r}")
    return _ARTICLE.sub(r"\1n ", text)
