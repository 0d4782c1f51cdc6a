"""The plots: drawn whole, from metrics alone."""

import numpy as np
import pytest
from matplotlib.image import imread

from gpt_pipeline.tracking.plots import draw_plots


def entries(steps):
    for step in range(1, steps + 1):
        entry = {"step": step, "tokens": step * 100, "train_loss": 8 / step + 1, "lr": 1e-3 / step}
        if step % 5 == 0:
            entry["val_loss"] = 8 / step + 1.1
        yield entry


@pytest.mark.parametrize("steps", [0, 1, 60])
def test_both_plots_are_drawn_for_any_length(tmp_path, steps):
    draw_plots(list(entries(steps)), tmp_path, entropy_floor=0.5)
    assert {path.name for path in tmp_path.iterdir()} == {"loss_plot.png", "lr_plot.png"}
    assert imread(tmp_path / "loss_plot.png").shape[:2] == (540, 960)


def test_what_the_metrics_say_is_what_is_drawn(tmp_path):
    pictures = []
    for steps in (10, 60, 60):
        draw_plots(list(entries(steps)), tmp_path)
        pictures.append(imread(tmp_path / "loss_plot.png"))
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[1], pictures[2])


def test_a_skipped_step_leaves_a_gap_and_no_error(tmp_path):
    gaps = [{"step": 1, "tokens": 5, "lr": 0.1}, {"step": 2, "tokens": 10, "train_loss": 2.0}]
    draw_plots(gaps, tmp_path)
    assert (tmp_path / "loss_plot.png").stat().st_size > 1000
