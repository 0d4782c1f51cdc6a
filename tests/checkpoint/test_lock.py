"""One run at a time writes bundles of a name."""

import subprocess
import sys
import time

import pytest

from gpt_pipeline.checkpoint.lock import run_lock
from gpt_pipeline.errors import CheckpointError

HOLD = """
import sys, time
from pathlib import Path
from gpt_pipeline.checkpoint.lock import run_lock
with run_lock(Path(sys.argv[1]), "small"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path, holder):
    with (
        pytest.raises(CheckpointError, match="another process is training small in"),
        run_lock(tmp_path, "small"),
    ):
        pass
    with run_lock(tmp_path, "other"):  # another run may use the folder
        pass
    holder.kill()
    holder.wait()
    deadline = time.monotonic() + 10
    with run_lock(tmp_path, "small"):  # at once: the system dropped the lock with the process
        assert time.monotonic() < deadline


def test_the_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path, "small"):
        1 / 0  # noqa: B018
    with run_lock(tmp_path, "small"):
        pass


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(CheckpointError, match=r"cannot write in .*choose another model\.checkpoint"),
        run_lock(tmp_path / "file" / "below", "small"),
    ):
        pass
