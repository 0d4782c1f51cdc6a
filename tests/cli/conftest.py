"""The command in this process, in a folder of its own."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from small_run import SMALL, corpus

from gpt_pipeline.cli.main import main, run
from gpt_pipeline.tracking.plots import draw_plots


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a corpus of sixty short stories."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stories.txt").write_text(corpus())
    return tmp_path


@pytest.fixture(scope="session")
def finished_plots(tmp_path_factory):
    """The two plots of a run, drawn once, as name and content."""
    folder = tmp_path_factory.mktemp("plots")
    draw_plots([{"step": 1, "tokens": 256, "train_loss": 5.0, "lr": 1e-3}], folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def real_plots():
    """For tests of plotting: a command in this process draws its own plots."""


@pytest.fixture(autouse=True)
def quick_plots(request, monkeypatch, finished_plots):
    """A command in this process writes finished plots: drawing takes two thirds of a small run.

    Processes and the run in `trained_folder` draw their own.
    """

    def write(entries, folder, **_):
        for name, content in finished_plots.items():
            (folder / name).write_bytes(content)

    if "real_plots" not in request.fixturenames:
        monkeypatch.setattr("gpt_pipeline.tracking.run_folder.draw_plots", write)


@pytest.fixture
def gpt(folder, monkeypatch, capsys):
    """Runs `gpt-pipeline` with words; gives exit code, standard output and standard error."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["gpt-pipeline", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    """A folder in which the small run was trained; never written to again."""
    folder, before = tmp_path_factory.mktemp("trained"), Path.cwd()
    os.chdir(folder)
    try:
        Path("stories.txt").write_text(corpus())
        assert run(["train", *SMALL]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def trained(gpt, folder, trained_folder):
    """The same as `gpt`, after the small run."""
    shutil.copytree(trained_folder, folder, dirs_exist_ok=True)
    return gpt
