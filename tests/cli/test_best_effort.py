"""Plots, samples, traces, progress and readings: whatever they raise, the run is complete."""

import sys

import pytest
from small_run import SMALL, finish, last_checkpoint, start

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.tracking.metrics_file import read_metrics


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "tkagg"])
def test_plots_are_drawn_whatever_backend_the_environment_names(folder, monkeypatch, backend):
    monkeypatch.setenv("MPLBACKEND", backend)
    code, said = finish(start("train", *SMALL, folder=folder))
    assert code == 0, said
    assert "warning" not in said
    (run,) = (folder / "outputs" / "train").iterdir()
    assert (run / "loss_plot.png").exists()
    assert open_checkpoint(last_checkpoint(folder)).manifest.step == 12


ORNAMENTS = {
    "plots": ("gpt_pipeline.tracking.run_folder.draw_plots", "cannot draw the plots in "),
    "samples": ("gpt_pipeline.cli.train.one_sample", "cannot write a sample: "),
    "progress": ("gpt_pipeline.cli.progress.TrainingProgress.show", "cannot show the progress: "),
    "memory": (
        "gpt_pipeline.training.throughput_meter.peak_memory_bytes",
        "cannot read the memory in use",
    ),
    "rate": (
        "gpt_pipeline.runtime.peak_flops.measure_flops",
        "cannot measure the peak FLOP/s",
    ),
    "profiler": ("torch.profiler.profile.start", "cannot profile the steps: "),
    "profile": ("torch.profiler.profile.export_chrome_trace", "cannot write the profile "),
}


@pytest.mark.parametrize("name", ORNAMENTS)
def test_what_an_ornament_raises_is_one_warning(gpt, folder, monkeypatch, name):
    def broken(*args, **kwargs):
        raise RuntimeError("no such luck\nand more")

    place, warning = ORNAMENTS[name]
    monkeypatch.setattr(place, broken)
    profile = f"runtime.profile={str(name.startswith('profile')).lower()}"
    code, out, err = gpt("train", *SMALL, profile, "logging.plot_every_s=0")
    assert code == 0
    assert "validation: loss" in out
    warnings = [line for line in err.splitlines() if line.startswith("warning: cannot")]
    assert len(warnings) == 1
    assert warning in warnings[0]
    assert warnings[0].endswith("RuntimeError: no such luck; continuing without it")
    assert open_checkpoint(last_checkpoint(folder)).manifest.step == 12
    (run,) = (folder / "outputs" / "train").iterdir()
    assert len(list(read_metrics(run / "metrics.jsonl"))) == 12


def test_a_failure_is_reported_again_after_a_success(gpt, folder, monkeypatch):
    calls = []

    def every_other(entries, folder, **_):
        calls.append(folder)
        if len(calls) % 2:
            raise OSError(28, "No space left on device", "lr_plot.png")

    monkeypatch.setattr("gpt_pipeline.tracking.run_folder.draw_plots", every_other)
    words = ["logging.plot_every_s=0", "model.eval_freq=3"]
    code, _, err = gpt("train", *SMALL, *words)
    assert code == 0
    assert len(calls) >= 4
    assert err.count("cannot draw the plots") == -(-len(calls) // 2)


def test_settings_that_tqdm_cannot_take_are_dropped(folder, monkeypatch):
    monkeypatch.setenv("TQDM_MININTERVAL", "soon")
    code, said = finish(start("train", *SMALL, folder=folder))
    assert code == 0, said
    assert said.startswith("warning: ignoring TQDM_MININTERVAL for the progress bars: could not")


@pytest.mark.usefixtures("real_plots")
def test_without_matplotlib_a_run_is_complete(gpt, folder, monkeypatch):
    monkeypatch.delitem(sys.modules, "gpt_pipeline.tracking.curves", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = gpt("train", *SMALL)
    assert code == 0
    assert err.count("cannot draw the plots in ") == 1
    assert open_checkpoint(last_checkpoint(folder)).manifest.step == 12
