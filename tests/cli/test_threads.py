"""Threads that wait free their core, which OpenMP reads from the environment as torch is loaded."""

import os
import subprocess
import sys

import pytest

from gpt_pipeline.cli.main import run
from gpt_pipeline.errors import UserError

NAMES = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}


def after_a_command(monkeypatch, folder, said):
    """The environment, after a command that finds nothing to do."""
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    monkeypatch.setattr(os, "environ", kept | said)
    monkeypatch.chdir(folder)
    with pytest.raises(UserError):
        run(["verify"])
    return {name: value for name, value in os.environ.items() if name in NAMES}


def test_a_command_lets_them_spin_briefly(monkeypatch, tmp_path):
    assert after_a_command(monkeypatch, tmp_path, {}) == {"GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize("said", [{"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "active"}])
def test_what_the_user_says_stands(monkeypatch, tmp_path, said):
    assert after_a_command(monkeypatch, tmp_path, said) == said


def test_it_is_said_before_torch_is_loaded():
    looks = (
        "import sys, os\n"
        "class Look:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': print(os.environ.get('GOMP_SPINCOUNT')); sys.exit()\n"
        "sys.meta_path.insert(0, Look())\n"
        "from gpt_pipeline.cli.main import run\n"
        "run(['inference'])\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", looks], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "1000"
