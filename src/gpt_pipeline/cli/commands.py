"""The commands of the program by name, and its exit codes."""

from dataclasses import dataclass

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True)
class Command:
    """A command's line in `--help`, and an example of its arguments."""

    doc: str
    example: str


COMMANDS = {
    "data": Command("prepare the token files, or report that they are current", "dataset=stories"),
    "train": Command("train a model, or resume an unfinished run", "model=tiny"),
    "inference": Command("generate from the newest checkpoint", 'model.prompt="One day"'),
    "serve": Command(
        "serve a checkpoint: OpenAI's Completions API and a page to try it", "serve.port=8000"
    ),
    "evaluate": Command("evaluate a checkpoint on every validation token", "format=json"),
    "plan": Command(
        "report what a run will take before it starts: memory, disk, time", "model=laptop"
    ),
    "verify": Command(
        "check checkpoints, token files and run folders for damage", "checkpoints data"
    ),
}
"""Each is a module of this package with a function `command(overrides) -> exit code`."""
