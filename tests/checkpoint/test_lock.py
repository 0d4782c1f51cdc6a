"""One run at a time writes checkpoints of a name."""

import errno
import os
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


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP])
def test_where_the_file_system_has_no_locks_a_warning_says_so(
    tmp_path, monkeypatch, caplog, number
):
    def unsupported(descriptor, operation):
        raise OSError(number, os.strerror(number))

    (tmp_path / ".small.lock").touch()  # as a killed run leaves it
    monkeypatch.setattr("fcntl.flock", unsupported)
    with run_lock(tmp_path, "small"), run_lock(tmp_path, "small"):
        pass
    assert caplog.text.count("has no file locks") == 2
    assert os.strerror(number) in caplog.text


def test_a_lock_file_that_another_user_left_does_not_refuse(tmp_path, monkeypatch, caplog):
    (tmp_path / ".small.lock").touch()

    def denied(path, flags, mode=0o777):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("os.open", denied)
    with run_lock(tmp_path, "small"):
        pass
    assert ".small.lock cannot be opened" in caplog.text


def test_a_lock_file_that_can_only_be_read_still_locks(tmp_path, holder, monkeypatch):
    """As of a run of another user in a shared folder."""
    opened = os.open

    def read_only(path, flags, mode=0o777):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr("os.open", read_only)
    with (
        pytest.raises(CheckpointError, match="another process is training small in"),
        run_lock(tmp_path, "small"),
    ):
        pass
