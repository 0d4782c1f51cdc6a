"""An interactive session on a terminal: a prompt, a text, the next prompt."""

import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace

from gpt_pipeline.cli.console import for_standard_output
from gpt_pipeline.config import Sampling
from gpt_pipeline.config.problems import shown
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference.generator import Pieces

Stream = Callable[[str, Sampling, int], Pieces]
"""Generates a continuation in pieces from a prompt, sampling settings and a seed."""

_LARGEST = 2**63 - 1
_HOTTEST = 1000  # above it the distribution is uniform

HELP = """\
a line is a prompt, which the model continues; Ctrl-C stops the text
/again        another text from the last prompt, with the next seed
/seed 3       seed of the next text
/temp 0.7     temperature; 0 takes the most likely token
/top_k 50     sample from this many of the most likely tokens; 0 for all
/top_p 0.95   sample from the most likely tokens with this total probability
/min_p 0.05   drop tokens less likely than this share of the most likely one
/tokens 200   maximum number of tokens per text
/quit         quit (also Ctrl-D)"""


@dataclass
class _Session:
    sampling: Sampling
    seed: int
    prompt: str | None = None


def talk(stream: Stream, sampling: Sampling, seed: int) -> None:
    """Read prompts and commands from the terminal until /quit or its end."""
    with suppress(ImportError):
        import readline  # noqa: F401  the arrow keys then walk through earlier lines
    session = _Session(sampling, seed)
    print("type the beginning of a text; /help lists the commands, /quit quits", flush=True)
    while True:
        try:
            line = input("> ")
        except KeyboardInterrupt:  # it may have been meant for the text that just ended
            print("\n/quit quits", flush=True)
            continue
        except EOFError:
            print()
            return
        if line.split()[:1] == ["/quit"]:
            return
        try:
            prompt = _handle(session, line)
            if prompt is not None:
                session.prompt = prompt
                _print_continuation(stream(prompt, session.sampling, session.seed), prompt)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)


def _print_continuation(pieces: Pieces, prompt: str) -> None:
    try:
        with closing(pieces):
            print(for_standard_output(prompt), end="", flush=True)
            for piece in pieces:
                print(for_standard_output(piece), end="", flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", end="")
    print("\n", flush=True)


def _handle(session: _Session, line: str) -> str | None:
    """Handle a line; returns the prompt to continue, None if the line was a setting.

    Raises:
        UserError: the command does not exist, or its value is invalid.
    """
    name, _, value = line.strip().partition(" ")
    if not name.startswith("/"):
        return line if line.strip() else session.prompt or ""
    if name == "/help":
        print(HELP, flush=True)
    elif name == "/again":
        if session.prompt is None:
            raise UserError("/again needs a prompt to continue; type one first")
        session.seed += 1
        return session.prompt
    elif name == "/seed":
        session.seed = int(_number(name, value, 0, _LARGEST, whole=True))
    elif name in _SETTINGS:
        session.sampling = _SETTINGS[name](session.sampling, name, value)
    else:
        raise UserError(f"{shown(name)} is not a command; /help lists the commands")
    return None


_Setting = Callable[[Sampling, str, str], Sampling]


def _top_k(sampling: Sampling, name: str, value: str) -> Sampling:
    return replace(sampling, top_k=int(_number(name, value, 0, _LARGEST, whole=True)) or None)


def _length(sampling: Sampling, name: str, value: str) -> Sampling:
    return replace(sampling, max_new_tokens=int(_number(name, value, 1, _LARGEST, whole=True)))


_SETTINGS: dict[str, _Setting] = {
    "/temp": lambda s, name, value: replace(s, temperature=_number(name, value, 0, _HOTTEST)),
    "/top_k": _top_k,
    "/top_p": lambda s, name, value: replace(s, top_p=_number(name, value, 1e-9, 1)),
    "/min_p": lambda s, name, value: replace(s, min_p=_number(name, value, 0, 1)),
    "/tokens": _length,
}


def _number(name: str, text: str, least: float, most: float, *, whole: bool = False) -> float:
    """The number after a command.

    Raises:
        UserError: it is missing or out of range.
    """
    kind = "a whole number" if whole else "a number"
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise UserError(f"{name} needs {kind} from {least} to {most}; got {shown(text)}")
    return value
