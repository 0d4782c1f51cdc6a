"""What a command sets up before its modules: threads that free their core, no collections."""

import gc
import importlib
import os
import signal
import subprocess
import sys

import pytest

from gpt_pipeline.cli.main import run
from gpt_pipeline.errors import UserError

IGNORED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
USUAL = IGNORED.replace("SIG_IGN", "default_int_handler")  # whatever runs the tests ignores it
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


@pytest.mark.skipif(os.name != "posix", reason="another Ctrl-C")
@pytest.mark.parametrize(
    ("before", "code"), [(USUAL, -signal.SIGINT), (IGNORED, 0)], ids=["usual", "nohup"]
)
def test_ctrl_c_while_modules_are_loaded_ends_it_at_once(tmp_path, before, code):
    """Whatever a module makes of an exception in its middle."""
    (tmp_path / "slow.py").write_text(
        "import os, signal\n"
        "try: os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException: pass\n"
        "print('loaded')\n"
    )
    load = "from gpt_pipeline.cli.main import _loaded; _loaded('slow')"
    done = subprocess.run(
        [sys.executable, "-c", before + load],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stdout == ("" if code else "loaded\n")


def test_ctrl_c_is_an_exception_again_when_they_are_loaded():
    load = USUAL + (
        "import os; from gpt_pipeline.cli.main import _loaded; _loaded('wave')\n"
        "try: os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True)
    assert done.stdout == "interrupted\n"


@pytest.mark.parametrize("fails", [False, True])
def test_modules_are_loaded_without_garbage_collections(monkeypatch, tmp_path, fails):
    seen = []

    def load(name):
        if name == "gpt_pipeline.cli.verify":
            seen.append(gc.isenabled())
            if fails:
                raise KeyboardInterrupt
        return real(name)

    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", load)
    monkeypatch.delitem(sys.modules, "gpt_pipeline.cli.verify", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt if fails else UserError):
        run(["verify"])
    assert seen == [False]
    assert gc.isenabled()
