"""Plots of a run, drawn from metrics.jsonl."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["draw_plots"]

_BACKEND = "MPLBACKEND"


def draw_plots(
    entries: Sequence[dict[str, Any]], folder: Path, *, entropy_floor: float | None = None
) -> None:
    """Draw loss_plot.png and lr_plot.png into a folder; each file is replaced atomically.

    The first call imports matplotlib, which takes a second. The backend is Agg, whatever
    MPLBACKEND says.

    Args:
        entries: lines of metrics.jsonl.
        folder: the run folder.
        entropy_floor: entropy of the corpus in nats per token, which no model's loss can go below;
            drawn as a line. None if it is not known.
    """
    with _agg():
        from gpt_pipeline.tracking.curves import draw_loss_plot, draw_lr_plot
    draw_loss_plot(entries, folder / "loss_plot.png", entropy_floor)
    draw_lr_plot(entries, folder / "lr_plot.png")


@contextmanager
def _agg() -> Iterator[None]:
    """Set MPLBACKEND: importing matplotlib fails if it names a backend that is not installed."""
    before = os.environ.get(_BACKEND)
    os.environ[_BACKEND] = "agg"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_BACKEND]
        else:
            os.environ[_BACKEND] = before
