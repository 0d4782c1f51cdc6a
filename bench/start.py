"""From the start of a command to what its user waits for: make bench ARGS="start --rounds 5".

In turns, with Python's bytecode in the environment and without any (as where an installer wrote
none and Python may not): `import torch` alone, `--help`, the first token of `inference` and the
first step of the default `train`, whose data and tokenizer are there.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from small_run import table

PROMPT = b"Once upon a time"
TRAIN = ["-m", "gpt_pipeline", "train", "checkpoint.resume=never"]
COMMANDS: dict[str, tuple[list[str], bytes | None]] = {
    "`import torch` alone": (["-c", "import torch"], None),
    "`--help`": (["-m", "gpt_pipeline", "--help"], None),
    "`inference`, first token": (["-m", "gpt_pipeline", "inference"], PROMPT),
    "`train`, first step": (TRAIN, b"measured peak:"),
}
"""What is started, and after which words of its output the clock stops; None: at its end."""


def seconds(words: list[str], after: bytes | None, folder: Path, bytecode: bool) -> float:
    """Start a command and wait for its user's moment.

    What follows the prompt is the first token of `inference`. The peak FLOP/s are measured after
    the first step, so a `train` took its first step a moment before it says so.
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    if not bytecode:
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(folder / "none")}
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment, bufsize=0,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    seen = b""
    while part := process.stdout.read(4096):
        seen += part
        if after is not None and seen.partition(after)[2]:
            break
    else:  # it ended
        if process.wait() != 0 or after is not None:
            raise SystemExit(f"error: {' '.join(words)} ended with {process.wait()}")
    taken = time.monotonic() - began
    process.kill()
    process.wait()
    return taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    taken: dict[tuple[str, bool], list[float]] = {}
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        made = [sys.executable, *TRAIN, "schedule.max_steps=1", "model.max_new_tokens=1"]
        subprocess.run(made, cwd=folder, check=True, capture_output=True)
        for _ in range(rounds):
            for name, (words, after) in COMMANDS.items():
                for bytecode in (True, False):
                    time_of_one = seconds(words, after, folder, bytecode)
                    taken.setdefault((name, bytecode), []).append(time_of_one)
    rows = [
        [name, *(_said(taken[name, bytecode]) for bytecode in (True, False))] for name in COMMANDS
    ]
    table(f"seconds, median (lowest to highest) of {rounds}",
          ["", "bytecode there", "none"], rows)  # fmt: skip


def _said(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
