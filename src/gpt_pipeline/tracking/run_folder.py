"""The folder of one training run: metrics, plots, samples, log, and Hydra's files."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import yaml

from gpt_pipeline.best_effort import BestEffort
from gpt_pipeline.checkpoint import checkpoint_folders
from gpt_pipeline.checkpoint.store import EARLIER
from gpt_pipeline.cli.console import log, log_to_file
from gpt_pipeline.config import Config
from gpt_pipeline.config.compose import HYDRA, RUN_DIR, Composed
from gpt_pipeline.durable import make_free_folder, read_limited, replacing
from gpt_pipeline.errors import UserError
from gpt_pipeline.locking import LocksUnsupported, open_folder, try_lock
from gpt_pipeline.tracking.metrics_file import METRICS, MetricsFile, read_metrics
from gpt_pipeline.tracking.plots import draw_plots
from gpt_pipeline.training import TrainState

SAMPLES, LOG, PROFILE = "samples.md", "train.log", "profile"
ENTRIES = (HYDRA, LOG, METRICS, SAMPLES, "loss_plot.png", "lr_plot.png", PROFILE)
"""What a run writes into its folder."""
_HEADING = re.compile(r"^## Step (\d+)$", re.MULTILINE)


@contextmanager
def own_folder(composed: Composed, config: Config, recorded: str) -> Iterator[Path]:
    """The folder of a run, which no other run writes to while the block lasts.

    A resumed run continues in its own folder: the recorded one, or hydra.run.dir where that is it.
    Else the folder is new, or has nothing in it that a run writes. The default name is the next
    free one. Files that an earlier try of the run left, without a checkpoint to resume from, are
    moved aside.

    Args:
        composed: for hydra.run.dir.
        config: of the run.
        recorded: the run folder that the checkpoint names; empty for a run that starts.

    Raises:
        UserError: the folder cannot be written, or has the files of another run or of the user.
    """
    with ExitStack() as stack:
        with _must_be_writable(composed.run_dir):
            path = _chosen(composed, config, recorded)
            stack.enter_context(_alone_in(path))
            if not (recorded and is_run_of(path, config)):
                _clear(path, config)
        yield path


def _chosen(composed: Composed, config: Config, recorded: str) -> Path:
    own, asked = Path(recorded), composed.run_dir
    if recorded and (own / METRICS).is_file() and is_run_of(own, config):
        if RUN_DIR in composed.overridden and not _same_place(str(own), str(asked)):
            log.warning("the run continues in its own folder %s; %s=%s is not used",
                        own, RUN_DIR, asked)  # fmt: skip
        return own
    if RUN_DIR in composed.overridden:
        asked.mkdir(parents=True, exist_ok=True)
    else:
        asked = make_free_folder(asked)
    if recorded and not is_run_of(asked, config):
        log.warning("the run's own folder %s is not there, or is of other checkpoints; metrics and "
                    "samples continue in %s", own, asked)  # fmt: skip
    return asked


@contextmanager
def _alone_in(path: Path) -> Iterator[None]:
    descriptor = open_folder(path)
    try:
        with suppress(LocksUnsupported):
            if descriptor is not None and not try_lock(descriptor):
                raise UserError(
                    f"another run writes in {path}; wait for it, or stop it; a new run may choose "
                    f"another folder with {RUN_DIR}"
                )
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _clear(path: Path, config: Config) -> None:
    """Move what an earlier try of this run left aside; refuse what is another's.

    Raises:
        UserError: it is of another run, or of the user.
    """
    there = [name for name in ENTRIES if _holds_something(path / name)]
    if not there:
        return
    if not is_run_of(path, config):
        raise UserError(
            f"{RUN_DIR} must name a new folder, or that of this run; {path} has "
            f"{', '.join(there)} of another; choose another folder"
        )
    place = path.absolute()
    aside = make_free_folder(
        place.with_name(f"{place.name}{EARLIER}{datetime.now():%Y-%m-%d_%H-%M-%S}")
    )
    for name in there:
        (path / name).rename(aside / name)
    log.info("what an earlier try of this run left in %s is now in %s", path, aside)


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else os.path.lexists(path)


def is_run_of(path: Path, config: Config) -> bool:
    """Whether a folder is that of an earlier session of this run, by the config in it.

    A path that comes from a checkpoint may be a stranger's: nothing is written where no run has
    been, nor into another's folder. Nor is it where checkpoints were copied: the folder is that of
    the run that has them where its config says, unless there are none any more.
    """
    try:
        there = yaml.safe_load(read_limited(path / HYDRA / "config.yaml"))["model"]
        name, root = there["checkpoint_name"], there["checkpoint_path"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return False
    if not (isinstance(root, str) and name == config.model.checkpoint_name):
        return False
    return _same_place(root, config.model.checkpoint_path) or not checkpoint_folders(
        Path(root), name
    )


def _same_place(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


@contextmanager
def _must_be_writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write in the run folder {path}: {error.strerror or error}; choose another "
            f"with {RUN_DIR}"
        ) from error


class RunFolder:
    """Writes what a run leaves beside its checkpoints. A disk that is full stops none of the
    training.

    Args:
        path: the folder, as `own_folder` gives it.
        floor_loss: loss in nats a token that no model can beat, where it is known.
        plot_every_s: seconds between two drawings, at least.
    """

    def __init__(self, path: Path, *, floor_loss: float | None, plot_every_s: float) -> None:
        self.path = path
        self.floor_loss, self._plot_every_s = floor_loss, plot_every_s
        self.best_effort = BestEffort()
        self._drawn_at = float("-inf")

    @contextmanager
    def log(self) -> Iterator[None]:
        """While open, what the run says goes to train.log too."""
        with ExitStack() as stack:
            with _must_be_writable(self.path):
                stack.enter_context(log_to_file(self.path / LOG))
            yield

    def metrics(self, state: TrainState) -> MetricsFile:
        """metrics.jsonl, open to go on after a state."""
        with _must_be_writable(self.path):
            return MetricsFile(self.path / METRICS, lines=state.metrics_lines, step=state.step)

    def add_sample(self, step: int, text: str) -> None:
        """Add a sample text to samples.md."""
        path = self.path / SAMPLES
        with self.best_effort.to(f"write {path}"), path.open("a", encoding="utf-8") as file:
            file.write(f"## Step {step}\n\n{text}\n\n")

    def drop_samples_beyond(self, step: int) -> None:
        """Drop samples of steps that a resumed run will do again, so that each stands once."""
        path = self.path / SAMPLES
        with self.best_effort.to(f"rewrite {path}"):
            if not path.exists():
                return
            text = path.read_text(encoding="utf-8")
            beyond = (m.start() for m in _HEADING.finditer(text) if int(m[1]) > step)
            if (end := next(beyond, None)) is not None:
                with replacing(path) as file:
                    file.write(text[:end].encode())

    def draw(self, *, at_once: bool = True) -> None:
        """Draw the plots; without `at_once` only where the last drawing is old enough."""
        now = time.monotonic()
        if at_once or now - self._drawn_at >= self._plot_every_s:
            with self.best_effort.to(f"draw the plots in {self.path}"):
                entries = list(read_metrics(self.path / METRICS))
                draw_plots(entries, self.path, floor_loss=self.floor_loss)
            self._drawn_at = now
