"""Runs that are killed again and again: does what comes out equal the run that never was?"""

import json
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from announced import DATA, EVALUATION, TRAINING, WRITE
from small_run import LONG, corpus, digest, finish, history, last_checkpoint, start

BETWEEN = "between these"
"""Start-up, resuming, samples, plots."""
PLACES = (DATA, TRAINING, EVALUATION, WRITE, BETWEEN)

WORDS = [*LONG, "model.eval_freq=5", "model.eval_iter=8", "checkpoint.save_every=10"]
_PROGRAM = str(Path(__file__).with_name("announced.py"))
_STORIES = 30_000  # their preparation takes some tenths of a second
_LIMIT_S = 240.0
_ABOUT_S = {DATA: 0.25, TRAINING: 0.005, EVALUATION: 0.02, WRITE: 0.012}
"""How long a process is in a place, about: a kill comes at a random moment of that."""
_MOST_TIMES = {DATA: 2, TRAINING: 12, EVALUATION: 6, WRITE: 3}
"""How often a process may enter a place before it is killed there. Four kills after another get no
further than 120 of the run's 150 steps, so that none of them comes too late, however fast it is."""


@dataclass
class Listener:
    """Where a process says that it is: places that it has entered and not left."""

    pipe: int
    inside: list[str] = field(default_factory=list)
    entered: dict[str, int] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: bool = False

    def listen(self) -> None:
        """Until the process has ended."""
        with os.fdopen(self.pipe) as lines:
            for line in lines:
                sign, place = line[0], line[1:].strip()
                with self.changed:
                    if sign == "+":
                        self.inside.append(place)
                        self.entered[place] = self.entered.get(place, 0) + 1
                    elif place in self.inside:
                        self.inside.remove(place)
                    self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, place: str, times: int, timeout_s: float = _LIMIT_S) -> bool:
        """Until the process is there, not for the first times; False when it ended before."""

        def there() -> bool:
            return self.place == place and self.entered.get(place, 0) >= times

        with self.changed:
            self.changed.wait_for(lambda: self.ended or there(), timeout=timeout_s)
            return there()

    @property
    def place(self) -> str:
        """Where the process is; a checkpoint is written beside other things."""
        return next((p for p in (WRITE, EVALUATION, DATA, TRAINING) if p in self.inside), BETWEEN)


@dataclass(frozen=True)
class Result:
    """What a run left behind, without what depends on the clock."""

    weights: str
    optimizer: str
    metrics: list[dict[str, Any]]
    order: dict[int, list[int]]


def prepare_folder(folder: Path) -> None:
    """A working folder with the corpus."""
    folder.mkdir(parents=True)
    (folder / "stories.txt").write_text(corpus(_STORIES), encoding="utf-8")


def result_of(folder: Path) -> Result:
    """Read what a finished run left; a position that was given out twice must be equal twice."""
    checkpoint = last_checkpoint(folder)
    order: dict[int, list[int]] = {}
    for line in (folder / "order.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if order.setdefault(entry["position"], entry["windows"]) != entry["windows"]:
            order[-1] = entry["windows"]  # equal to nothing
    weights, optimizer = (
        checkpoint / "model.safetensors",
        checkpoint / "training/optimizer.safetensors",
    )
    return Result(digest(weights), digest(optimizer), history(folder), order)


def some_targets(rng: random.Random) -> list[str]:
    """Places to kill a run in, one after the other: preparation is through after its first time."""
    later = [TRAINING, EVALUATION, WRITE, rng.choice((EVALUATION, WRITE, BETWEEN))]
    return [DATA, *rng.sample(later, len(later))]


def run_whole(folder: Path) -> Result:
    """The run that nothing happens to."""
    prepare_folder(folder)
    code, text = finish(start("train", *WORDS, folder=folder, program=_program({})))
    if code != 0:
        raise RuntimeError(text)
    return result_of(folder)


def kill(folder: Path, target: str, rng: random.Random) -> str | None:
    """Start or resume the run, and kill it at a random moment of a place.

    Returns:
        Where it was in truth; None when it ended before it could be killed.
    """
    pipe, theirs = os.pipe()
    program = _program({"pipe": theirs})
    process = start("train", *WORDS, folder=folder, program=program, pass_fds=(theirs,))
    os.close(theirs)
    listener = Listener(pipe)
    thread = threading.Thread(target=listener.listen)
    thread.start()
    if target == BETWEEN:  # or in a step, where start-up is over by then
        listener.wait_for(TRAINING, _MOST_TIMES[TRAINING], timeout_s=rng.uniform(0.5, 6.0))
    elif listener.wait_for(target, rng.randint(1, _MOST_TIMES[target])):
        time.sleep(rng.uniform(0.0, _ABOUT_S[target]))
    process.send_signal(signal.SIGKILL)
    code, text = finish(process)
    thread.join()
    if code == 0:
        return None
    if code != -signal.SIGKILL:
        raise RuntimeError(text)
    return listener.place


def run_killed(folder: Path, rng: random.Random) -> tuple[list[str], str]:
    """A run that is killed five times, and then let go to its end.

    Returns:
        Where the kills were, and what the last session printed if it failed.
    """
    prepare_folder(folder)
    places = [place for target in some_targets(rng) if (place := kill(folder, target, rng))]
    code, text = finish(start("train", *WORDS, folder=folder, program=_program({})))
    return places, "" if code == 0 else text


def differences(whole: Result, folder: Path) -> list[str]:
    """In what a run that was killed differs from the whole one; nothing is right."""
    found = result_of(folder)
    names = ("weights", "optimizer", "metrics", "order")
    odd = [name for name in names if getattr(found, name) != getattr(whole, name)]
    hidden = [p.name for p in folder.rglob(".*") if p.name.startswith((".unfinished", ".replaced"))]
    code, text = finish(start("verify", "checkpoints", "data", folder=folder))
    return odd + hidden + ([text] if code != 0 else [])


def _program(asked: dict[str, Any]) -> tuple[str, str]:
    return _PROGRAM, json.dumps({"order": "order.jsonl", **asked})
