"""Programs that judge a story from its text and the word tables, not from the engine's word."""

import random
import re

from gpt_pipeline.dataset.stories import engine, words
from gpt_pipeline.dataset.stories.generator import PLOTS, compiled_plots

NAMES = {*words.GIRLS, *words.BOYS}
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)*")
AN_BEFORE = re.compile(r"\b[Aa] [aeiou]|\b[Aa]n (?!hour)[^aeiou]")


def draw(plot_idx: int, seed: int) -> tuple[engine.Story, list[int], list[int]]:
    """A story of one plot, its choices, and the number of options at each."""
    rand = random.Random(seed)
    choices: list[int] = []

    def pick(n: int) -> int:
        choices.append(plot_idx if not choices else rand.randrange(n))
        return choices[-1]

    story = engine.draw_story(compiled_plots(), pick)
    replayed, counts = engine.replay(compiled_plots(), choices)
    assert replayed == story
    return story, choices, counts


def cast_and_words(choices: list[int]) -> dict[str, tuple[engine.Entry, list[engine.Entry]]]:
    """Each role's entry in the story of `choices`, and the entries that it is not."""
    plot = PLOTS[choices[0]]
    taken: dict[int, list[engine.Entry]] = {}
    chosen = {}
    for (role, table), idx in zip(plot.roles.items(), choices[1:], strict=False):
        used = taken.setdefault(id(table), [])
        entry = [entry for entry in table if entry not in used][idx]
        used.append(entry)
        chosen[role] = entry, table
    return {
        role: (entry, [other for other in table if other not in taken[id(table)]])
        for role, (entry, table) in chosen.items()
    }


def faults(text: str, choices: list[int]) -> list[str]:
    """What is wrong with the language or the consistency of a story."""
    found = [f"article: {match[0]}" for match in AN_BEFORE.finditer(text)]
    found += [f"space: {mark!r}" for mark in ("  ", " .", " ,", " !", "\n ", '" "') if mark in text]
    if text != text.strip() or not text.isascii() or set("%<>@[]{}|_") & set(text):
        found.append("stray characters")
    # In dialogue, what follows `!"` or `?"` may go on in lower case: `"Oh!" she said.`
    if match := re.search(
        r'[.!?] "?[a-z]|(?:^|\n)"?[a-z]', text.replace("Mr. ", "").replace("Mrs. ", "")
    ):
        found.append(f"capital: {match[0]}")
    if any(part.count('"') % 2 for part in text.split("\n\n")):
        found.append("quotes")
    roles = cast_and_words(choices)
    tokens = set(WORD.findall(text))
    cast = {entry[""] for entry, _ in roles.values() if entry[""] in NAMES}
    if tokens & NAMES != cast:
        found.append(f"names: {tokens & NAMES} but the cast is {cast}")
    for role, (entry, others) in roles.items():
        plain = entry[""]
        if role != "C" and len(re.findall(rf"\b{plain}\b", text, re.I)) < 2:
            found.append(f"{role}: {plain!r} is not taken up again")
        if role == "C":
            found += _color_faults(text, entry, others, _colored(PLOTS[choices[0]], roles))
            continue
        found += [
            f"{role}: {other['']!r} besides {plain!r}"
            for other in others
            if other[""] in text and re.search(rf"\b{other['']}\b", text)
        ]
    people = [entry for entry, _ in roles.values() if "he" in entry]
    for he, girl in (("he", "girl"), ("she", "boy")):
        stranger = he == "she" and re.search("vet|woman", text)
        absent = all(entry["he"] != he for entry in people)
        if absent and not stranger and re.search(rf"\b{he}\b", text, re.I):
            found.append(f"pronoun: {he}, but only {girl}s")
    return found


def _colored(plot, roles) -> str:
    """What has the color C: the role T, or the noun of the template."""
    noun = re.search(r"\{C\} (?:toy )?(\w+|\{T\})", plot.template)[1]
    return roles["T"][0][""] if noun == "{T}" else noun


def _color_faults(text, entry, others, thing) -> list[str]:
    found = []
    if not re.search(rf"\b{entry['']} (toy )?({thing})\b", text):
        found.append(f"C: no {entry['']} {thing}")
    for other in others:
        if other[""] in text and (match := re.search(rf"\b{other['']} (toy )?({thing})\b", text)):
            found.append(f"C: {match[0]} besides {entry['']}")
    return found


def parses(text: str, plot_idx: int, limit: int = 2) -> int:
    """In how many ways (up to `limit`) a plot's choices can make exactly this text."""
    plot = compiled_plots()[plot_idx]
    by_key = {
        key: (number, forms) for number, (_, forms) in enumerate(plot.roles) for key in forms[0]
    }
    tables = [id(table) for table, _ in plot.roles]

    def match(template: str, at: int, bound: dict[int, int]) -> list[tuple[int, dict[int, int]]]:
        states = [(at, bound)]
        for idx, part in enumerate(re.split(r"%\(([\w.]+)\)s", template)):
            after = []
            for position, roles in states:
                if idx % 2 == 0:
                    if text.startswith(part, position):
                        after.append((position + len(part), roles))
                    continue
                number, forms = by_key[part]
                options = [roles[number]] if number in roles else range(len(forms))
                for option in options:
                    same = [
                        n for n, o in roles.items() if o == option and tables[n] == tables[number]
                    ]
                    word = forms[option][part]
                    if text.startswith(word, position) and same in ([], [number]):
                        after.append((position + len(word), {**roles, number: option}))
            states = after
        return states

    ways = {(0, ()): 1}
    for runs in plot.segments:
        after: dict[tuple[int, tuple], int] = {}
        for run in runs:
            current = dict(ways)
            for options in (*(options for _, options in run.slots), (run.tail,)):
                step: dict[tuple[int, tuple], int] = {}
                for (position, bound), count in current.items():
                    for option in options:
                        for end, roles in match(option, position, dict(bound)):
                            key = end, tuple(sorted(roles.items()))
                            step[key] = step.get(key, 0) + count
                current = step
            for key, count in current.items():
                after[key] = after.get(key, 0) + count
        ways = after
    full = sum(
        n for (end, roles), n in ways.items() if end == len(text) and len(roles) == len(plot.roles)
    )
    return min(full, limit)
