"""Files on file systems that do not have everything."""

import errno
import os
import stat

import pytest

from gpt_pipeline.durable import replacing, sync


@pytest.fixture
def fsync_of_folders(monkeypatch):
    """Lets fsync of a folder answer with an error."""
    fsync = os.fsync

    def answer(number):
        def refused(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            fsync(descriptor)

        monkeypatch.setattr("os.fsync", refused)

    return answer


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_fsync_of_folders_is_no_error(tmp_path, fsync_of_folders, number):
    fsync_of_folders(number)
    with replacing(tmp_path / "file") as file:
        file.write(b"whole")
    sync(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_a_disk_that_fails_is_an_error(tmp_path, fsync_of_folders):
    fsync_of_folders(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        sync(tmp_path)
