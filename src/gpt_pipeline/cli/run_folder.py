"""The folder of one training run: metrics, plots, samples, log, and Hydra's files."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import yaml

from gpt_pipeline.best_effort import BestEffort
from gpt_pipeline.cli.compose import HYDRA
from gpt_pipeline.cli.console import log_to_file
from gpt_pipeline.config import Config
from gpt_pipeline.durable import read_limited, replacing
from gpt_pipeline.errors import UserError
from gpt_pipeline.metrics import METRICS, MetricsFile, read_metrics
from gpt_pipeline.plotting import draw_plots
from gpt_pipeline.training import TrainState

SAMPLES = "samples.md"
_HEADING = re.compile(r"^## Step (\d+)$", re.MULTILINE)


def is_run_of(path: Path, config: Config) -> bool:
    """Whether a folder is that of an earlier session of this run.

    The path comes from a bundle, which may be a stranger's: nothing is written where no run has
    been, nor into another's folder.
    """
    if not (path / METRICS).is_file():
        return False
    try:
        there = yaml.safe_load(read_limited(path / HYDRA / "config.yaml"))
        name: object = there["model"]["checkpoint_name"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return False
    return name == config.model.checkpoint_name


class RunFolder:
    """Writes what a run leaves beside its bundles. A disk that is full stops none of the training.

    Args:
        path: the folder; made if it is not there.
        floor_loss: loss in nats a token that no model can beat, where it is known.
        plot_every_s: seconds between two drawings, at least.

    Raises:
        UserError: the folder cannot be made.
    """

    def __init__(self, path: Path, *, floor_loss: float | None, plot_every_s: float) -> None:
        self.path = path
        self.floor_loss, self._plot_every_s = floor_loss, plot_every_s
        self.best_effort = BestEffort()
        self._drawn_at = float("-inf")
        with self._must_be_writable():
            path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def log(self) -> Iterator[None]:
        """While open, what the run says goes to train.log too."""
        with ExitStack() as stack:
            with self._must_be_writable():
                stack.enter_context(log_to_file(self.path / "train.log"))
            yield

    def metrics(self, state: TrainState) -> MetricsFile:
        """metrics.jsonl, open to go on after a state."""
        with self._must_be_writable():
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

    @contextmanager
    def _must_be_writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write in the run folder {self.path}: {error.strerror or error}; choose "
                "another with hydra.run.dir"
            ) from error
