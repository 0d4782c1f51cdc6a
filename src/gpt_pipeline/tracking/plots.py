"""Plots of a run, drawn from metrics.jsonl."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["draw_plots"]

_BACKEND = "MPLBACKEND"


def draw_plots(
    entries: Sequence[dict[str, Any]], folder: Path, *, floor_loss: float | None = None
) -> None:
    """Draw loss_plot.png and lr_plot.png into a folder; each is replaced in one rename.

    Matplotlib is imported by the first call, which takes a second. It draws with Agg, whatever
    backend the environment names.

    Args:
        entries: lines of metrics.jsonl.
        folder: the run folder.
        floor_loss: loss in nats per token that no model can beat, drawn as a line where known.
    """
    with _agg():
        from gpt_pipeline.tracking.curves import draw_loss_plot, draw_lr_plot
    draw_loss_plot(entries, folder / "loss_plot.png", floor_loss)
    draw_lr_plot(entries, folder / "lr_plot.png")


@contextmanager
def _agg() -> Iterator[None]:
    """The import of matplotlib fails where MPLBACKEND names a backend that is not installed."""
    before = os.environ.get(_BACKEND)
    os.environ[_BACKEND] = "agg"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_BACKEND]
        else:
            os.environ[_BACKEND] = before
