"""The folder of a training run: metrics, plots, samples, log, and Hydra's files."""

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

import yaml

from gpt_pipeline.best_effort import BestEffort
from gpt_pipeline.checkpoint import checkpoint_folders
from gpt_pipeline.checkpoint.store import EARLIER
from gpt_pipeline.config import Config
from gpt_pipeline.config.compose import HYDRA, RUN_DIR, Composed
from gpt_pipeline.display import OneLineFormatter
from gpt_pipeline.durable import make_free_folder, read_limited, replacing
from gpt_pipeline.errors import UserError
from gpt_pipeline.locking import LocksUnsupported, open_folder, try_lock
from gpt_pipeline.tracking.metrics_file import METRICS, MetricsFile, read_metrics
from gpt_pipeline.tracking.plots import draw_plots
from gpt_pipeline.tracking.tracker import Tracker

log = logging.getLogger(__name__)

SAMPLES, LOG, PROFILE = "samples.md", "train.log", "profile"
ENTRIES = (HYDRA, LOG, METRICS, SAMPLES, "loss_plot.png", "lr_plot.png", PROFILE)
"""The entries that a run writes into its folder."""
_HEADING = re.compile(r"^## Step (\d+)$", re.MULTILINE)


@contextmanager
def own_folder(composed: Composed, config: Config, recorded: str) -> Iterator[Path]:
    """Lock and yield the folder of a run.

    A resumed run continues in its own folder: the recorded one, or hydra.run.dir if that belongs
    to the run. A new run gets the next free default name, or hydra.run.dir if no run has written
    there. Files of an earlier attempt that left no checkpoint are moved aside.

    Args:
        composed: for hydra.run.dir.
        config: the run's.
        recorded: the run folder that the checkpoint names; empty for a new run.

    Raises:
        UserError: the folder is not writable, is locked, or has files of another run or of the
            user.
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
                    f"another run is writing to {path}; wait for it, stop it, or choose another "
                    f"folder for a new run with {RUN_DIR}"
                )
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _clear(path: Path, config: Config) -> None:
    """Move files of an earlier attempt of this run aside.

    Raises:
        UserError: the files are of another run or of the user.
    """
    there = [name for name in ENTRIES if _holds_something(path / name)]
    if not there:
        return
    if not is_run_of(path, config):
        raise UserError(
            f"{RUN_DIR} must name a new folder or this run's own; {path} has {', '.join(there)} "
            "of another run; choose another folder"
        )
    place = path.absolute()
    aside = make_free_folder(
        place.with_name(f"{place.name}{EARLIER}{datetime.now():%Y-%m-%d_%H-%M-%S}")
    )
    for name in there:
        (path / name).rename(aside / name)
    log.info("moved the files of an earlier attempt of this run from %s to %s", path, aside)


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else os.path.lexists(path)


def is_run_of(path: Path, config: Config) -> bool:
    """Whether a folder belongs to an earlier session of this run, according to its config.

    A checkpoint may be untrusted, so the path in it is used only if a run of the same name has
    written there. If checkpoints were copied, the folder belongs to the run whose config names
    their original location, unless no checkpoint is left there.
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
            f"cannot write to the run folder {path}: {error.strerror or error}; choose another "
            f"with {RUN_DIR}"
        ) from error


class _LogFile(logging.FileHandler):
    """Ignores a full disk: the messages are on standard error too."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Inside the block, also write the package's log to a file, with times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler, package = _LogFile(path, encoding="utf-8"), logging.getLogger("gpt_pipeline")
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(message)s"))
    package.addHandler(handler)
    level = package.level
    if package.getEffectiveLevel() > logging.INFO:  # called from Python, not by a command
        package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
        with suppress(OSError):
            handler.close()


class RunFolder:
    """Writes metrics, samples, plots and the log of a run. A full disk does not stop the run.

    Args:
        path: the folder, from `own_folder`.
        entropy_floor: entropy of the corpus in nats per token, for the loss plot; None if it is
            not known.
        plot_every_s: least number of seconds between two drawings.
    """

    def __init__(self, path: Path, *, entropy_floor: float | None, plot_every_s: float) -> None:
        self.path = path
        self._entropy_floor, self._plot_every_s = entropy_floor, plot_every_s
        self.best_effort = BestEffort()
        self._drawn_at = float("-inf")

    @contextmanager
    def log(self) -> Iterator[None]:
        """Inside the block, also write the log to train.log."""
        with ExitStack() as stack:
            with _must_be_writable(self.path):
                stack.enter_context(log_to_file(self.path / LOG))
            yield

    def metrics(
        self, *, step: int, lines: int | None, trackers: Sequence[Tracker] = ()
    ) -> MetricsFile:
        """Open metrics.jsonl to continue after a step; arguments as of `MetricsFile`."""
        with _must_be_writable(self.path):
            return MetricsFile(self.path / METRICS, lines=lines, step=step, trackers=trackers)

    def add_sample(self, step: int, text: str) -> None:
        """Append a sample text to samples.md."""
        path = self.path / SAMPLES
        with self.best_effort.to(f"write {path}"), path.open("a", encoding="utf-8") as file:
            file.write(f"## Step {step}\n\n{text}\n\n")

    def drop_samples_beyond(self, step: int) -> None:
        """Drop samples of later steps, which a resumed run repeats."""
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
        """Draw the plots.

        Args:
            at_once: whether to draw even if the last drawing is newer than `plot_every_s`.
        """
        now = time.monotonic()
        if at_once or now - self._drawn_at >= self._plot_every_s:
            with self.best_effort.to(f"draw the plots in {self.path}"):
                entries = list(read_metrics(self.path / METRICS))
                draw_plots(entries, self.path, entropy_floor=self._entropy_floor)
            self._drawn_at = now
