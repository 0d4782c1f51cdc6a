"""The folder of one training run: metrics, plots, samples, log, and Hydra's files."""

import time
from contextlib import AbstractContextManager
from pathlib import Path

from gpt_pipeline.cli.console import log_to_file
from gpt_pipeline.metrics import MetricsFile, read_metrics
from gpt_pipeline.plotting import draw_plots


class RunFolder:
    """Writes what a run leaves beside its bundles.

    Args:
        path: the folder; made if it is not there.
        floor_loss: loss in nats a token that no model can beat, where it is known.
        plot_every_s: seconds between two drawings, at least.
    """

    def __init__(self, path: Path, *, floor_loss: float | None, plot_every_s: float) -> None:
        self.path = path
        self.floor_loss, self._plot_every_s = floor_loss, plot_every_s
        self._drawn_at = float("-inf")
        path.mkdir(parents=True, exist_ok=True)

    def log(self) -> AbstractContextManager[None]:
        """While open, what the run says goes to train.log too."""
        return log_to_file(self.path / "train.log")

    def metrics(self, step: int) -> MetricsFile:
        """metrics.jsonl, open to go on after a step."""
        return MetricsFile(self.path / "metrics.jsonl", step=step)

    def add_sample(self, step: int, text: str) -> None:
        """Add a sample text to samples.md."""
        with (self.path / "samples.md").open("a", encoding="utf-8") as file:
            file.write(f"## Step {step}\n\n{text}\n\n")

    def draw(self, *, at_once: bool = True) -> None:
        """Draw the plots; without `at_once` only where the last drawing is old enough."""
        now = time.monotonic()
        if at_once or now - self._drawn_at >= self._plot_every_s:
            entries = list(read_metrics(self.path / "metrics.jsonl"))
            draw_plots(entries, self.path, floor_loss=self.floor_loss)
            self._drawn_at = now
