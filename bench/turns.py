"""Variants of a measurement, each a process of its own, that take turns.

So that what else the machine does falls on all of them. A process answers each line with one line
of JSON.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from gpt_pipeline.cli.main import spin_briefly

Children = dict[str, "subprocess.Popen[str]"]
Answers = dict[str, dict[str, Any]]


class VariantEnded(SystemExit):
    """A process ended before it answered."""


def start(file: str, name: str) -> "subprocess.Popen[str]":
    """The program again, as the process of one variant; peers too share the cores as we do."""
    spin_briefly()
    words = [sys.executable, file, *sys.argv[1:], "--variant", name]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextmanager
def taking_turns(
    file: str, names: Sequence[str], *, lenient: bool = False
) -> Iterator[tuple[Children, Answers]]:
    """The processes of variants, and what each said when it was ready; they end with the block.

    They start one after the other: the first steps of several would hinder one another. With
    `lenient` one that dies at its start is told of and left out.
    """
    children: Children = {}
    ready: Answers = {}
    try:
        for name in names:
            children[name] = start(file, name)
            try:
                ready[name] = answer(children[name])
            except VariantEnded as ended:
                if not lenient:
                    raise
                print(ended, file=sys.stderr)
                del children[name]
        yield children, ready
    finally:
        for child in children.values():
            child.kill()


def ask(child: "subprocess.Popen[str]", word: str) -> dict[str, Any]:
    """Say a word to it, and take its answer."""
    pipe: IO[str] | None = child.stdin
    assert pipe is not None
    pipe.write(word + "\n")
    pipe.flush()
    return answer(child)


def answer(child: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next line of JSON; other lines are a library's."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith('{"'):  # transformers' Trainer prints Python's dicts
            found: dict[str, Any] = json.loads(line)
            return found
    words = " ".join(map(str, child.args))  # type: ignore[arg-type]
    raise VariantEnded(f"error: {words} ended early (status {child.wait()}); see above")


def say(**values: Any) -> None:
    """Answer, as the process of a variant."""
    print(json.dumps(values), flush=True)


def obey(do: Callable[[str], dict[str, Any]]) -> None:
    """Be the process of a variant: answer each word until there are no more."""
    for line in sys.stdin:
        say(**do(line.strip()))
