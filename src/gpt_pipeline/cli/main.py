"""`gpt-pipeline COMMAND key=value ...`: runs a command and turns errors into exit codes."""

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
from io import TextIOWrapper
from types import ModuleType
from typing import NoReturn

from gpt_pipeline import __version__
from gpt_pipeline.cli.commands import COMMANDS, EXIT_INTERRUPTED, EXIT_USER_ERROR
from gpt_pipeline.errors import ConfigError, UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError([f"{message}; see gpt-pipeline --help"])


def main(first: Sequence[str] = ()) -> None:
    """Run the command line and exit.

    Args:
        first: arguments to put before those of the command line, for src/train.py and the like.
    """
    if isinstance(sys.stdout, TextIOWrapper):  # it may lack characters of a text
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


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    Raises:
        UserError: an error that the user can fix.
    """
    parser = _Parser(
        prog="gpt-pipeline",
        usage="gpt-pipeline COMMAND [key=value ...]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("command", nargs="?")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--cfg", action="store_true")
    known = parser.parse_intermixed_args(list(arguments))
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

        print(as_yaml(compose(known.overrides).config), end="")
        return 0
    spin_briefly()
    drop_bad_bar_settings()
    status: int = _loaded(f"gpt_pipeline.cli.{name}").command(known.overrides)
    return status


def _check_current_folder() -> None:
    """Refuse to start in a folder that was removed, where no relative path works."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib takes a fiftieth of the start-up
    except OSError as error:
        raise UserError(
            f"the current folder cannot be used: {error.strerror}; change to one that exists"
        ) from None


def _loaded(name: str) -> ModuleType:
    """Import a module without garbage collections.

    Importing torch creates so many objects that collections during the import and at the exit took
    a fifth of the time to a first token. They all stay alive, so later collections skip them too.

    Ctrl-C ends the process at once meanwhile: an exception inside torch's C++ would abort it with a
    core dump, and there is nothing to lose yet.
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
    """Make OpenMP threads that wait for others free their core after about 50 microseconds.

    GNU's OpenMP, which torch uses on Linux, spins for 14 ms by default. If one other program is
    busy, a training step or a token then takes about twice as long. Must be called before torch is
    imported; a setting of the user is kept.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"


def drop_bad_bar_settings() -> None:
    """Unset TQDM_* variables if tqdm, which reads them at its import, fails because of one."""
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
