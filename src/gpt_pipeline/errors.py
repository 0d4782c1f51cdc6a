"""The exception tree. The command line turns a UserError into one line and exit code 2.

    GptPipelineError
    +-- UserError            the user can fix it; the message says what failed and the fix
        +-- ConfigError      keys of the config, all problems of a run at once
        +-- DataError        a corpus or token file
        +-- TokenizerError   a tokenizer's files, or text that it cannot take
        +-- CheckpointError  a checkpoint that is missing, of another model, or cannot be written
            +-- DamagedError     a checkpoint that is not as it was written
        +-- TrainingError    a run that cannot continue

Anything else that is raised is a bug: a traceback and exit code 1.
"""

from collections.abc import Sequence


def how_to_install(extra: str) -> str:
    """How to install the libraries of one of the package's extras; the end of a message."""
    return f"run `make install` in a clone, or pip install 'gpt-pipeline[{extra}]'"


class GptPipelineError(Exception):
    """Base of every error that this package raises on purpose."""


class UserError(GptPipelineError):
    """An error that the user can fix; the message is one line and needs no traceback."""


class ConfigError(UserError):
    """One or more keys of the config are wrong; `problems` holds a line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(UserError):
    """A corpus or a token file cannot be used as it is."""


class TokenizerError(UserError):
    """A tokenizer cannot be loaded, or cannot take the text that it was given."""


class CheckpointError(UserError):
    """A checkpoint is missing, belongs to another model, or cannot be written or read."""


class DamagedError(CheckpointError):
    """A checkpoint is not as it was written: half, changed, or with something foreign in it."""


class TrainingError(UserError):
    """A training run cannot continue."""
