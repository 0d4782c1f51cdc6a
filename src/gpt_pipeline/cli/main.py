"""`gpt-pipeline COMMAND key=value ...`: runs a command, and turns errors into exit codes."""

import argparse
import errno
import gc
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from types import ModuleType
from typing import NoReturn

from gpt_pipeline import __version__
from gpt_pipeline.errors import ConfigError, UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Command:
    """One command: its line in `--help`, and an example of its words."""

    doc: str
    example: str


COMMANDS = {
    "data": Command("prepare the token files, or say that they are current", "dataset=stories"),
    "train": Command("train a model, or go on with an unfinished run", "model=tiny"),
    "inference": Command("generate from the newest checkpoint", 'model.prompt="One day"'),
    "serve": Command(
        "a page to play with a checkpoint, and OpenAI's Completions API", "serve.port=8000"
    ),
    "evaluate": Command("measure a checkpoint over every validation token", "format=json"),
    "plan": Command(
        "say what a run will take before it starts: memory, disk, time", "model=laptop"
    ),
    "verify": Command(
        "check checkpoints, token files and run folders for damage", "checkpoints data"
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError([f"{message}; see gpt-pipeline --help"])


def main(first: Sequence[str] = ()) -> None:
    """Run the command line and exit.

    Args:
        first: words before those of the command line; src/train.py gives the command so.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # an encoding need not have what a model writes
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = run([*first, *sys.argv[1:]])
        if sys.stdout is not None:
            sys.stdout.flush()
    except UserError as error:
        from gpt_pipeline.display import visible

        for line in str(error).split("\n"):
            print(f"error: {visible(line)}", file=sys.stderr)
        status = EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone: `gpt-pipeline ... | head`
        sys.stderr.close()
        status = 0
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        with suppress(OSError):  # or Python would try once more at its end
            sys.stdout.close()
        status = EXIT_USER_ERROR
    sys.exit(status)


def run(words: Sequence[str]) -> int:
    """Run one command and give its exit code.

    Raises:
        UserError: something that the user can mend.
    """
    parser = _Parser(
        prog="gpt-pipeline",
        usage="gpt-pipeline COMMAND [key=value ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("command", nargs="?")
    parser.add_argument("words", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--cfg", action="store_true")
    known = parser.parse_intermixed_args(list(words))
    if known.version:
        print(f"gpt-pipeline {__version__}")
        return 0
    name = known.command
    if name is not None and name not in COMMANDS:
        from gpt_pipeline.config import nearest

        allowed, hint = ", ".join(COMMANDS), nearest(name, list(COMMANDS))
        raise ConfigError([f"the command must be one of {allowed}; got {name}{hint}"])
    if known.help or name is None:
        from gpt_pipeline.cli.help import help_text

        print(help_text(name))
        return 0 if known.help else EXIT_USER_ERROR
    _check_current_folder()
    if known.cfg:
        from gpt_pipeline.config.compose import as_yaml, compose

        print(as_yaml(compose(known.words).config), end="")
        return 0
    spin_briefly()
    drop_bad_bar_settings()
    status: int = _loaded(f"gpt_pipeline.cli.{name}").command(known.words)
    return status


def _check_current_folder() -> None:
    """Refuse to start in a folder that was removed: nothing relative can be found there."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib takes a fiftieth of the start-up
    except OSError as error:
        raise UserError(
            f"the current folder cannot be used: {error.strerror}; change to one that exists"
        ) from None


def _loaded(name: str) -> ModuleType:
    """Import a module without a garbage collection.

    An import leaves no garbage, but torch's makes so many objects that looking through them, again
    and again and once more at the exit, took a fifth of the time to a first token. What stands
    afterwards stays, so later collections need not look at it either.

    Ctrl-C ends the process at once meanwhile: an exception amid torch's C++ aborts it, with a dump
    of its memory, and there is nothing to lose yet.
    """
    if name in sys.modules:  # freezing would keep what has become garbage since
        return sys.modules[name]
    here = threading.current_thread() is threading.main_thread()
    usual = here and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    gc.disable()
    try:
        if usual:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return importlib.import_module(name)
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        gc.freeze()
        gc.enable()


def spin_briefly() -> None:
    """Let threads that wait for others free their core after some 50 microseconds.

    By itself GNU's OpenMP, which torch computes with on Linux, lets them spin for 14 ms: beside one
    other busy program a training step or a token then takes about twice as long. Read as torch is
    loaded; what the user says of it stands.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"


def drop_bad_bar_settings() -> None:
    """Unset TQDM_* where tqdm, which reads them as it is imported, fails over one of them."""
    names = [name for name in os.environ if name.startswith("TQDM_")]
    if not names:
        return
    try:
        importlib.import_module("tqdm")
    except Exception as error:  # noqa: BLE001 - a progress bar never ends a command
        for name in names:
            del os.environ[name]
        print(
            f"warning: ignoring {', '.join(names)} for the progress bars: {error}", file=sys.stderr
        )
