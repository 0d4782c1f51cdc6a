"""The command as a process: killed, stopped by signals, and started again; disks that go bad."""

import fcntl
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import fault_disk
import pytest
from fault_damage import damage_many, resume_after
from fault_kills import differences, run_killed, run_whole
from small_run import (
    LONG,
    SMALL,
    corpus,
    digest,
    finish,
    history,
    last_checkpoint,
    start,
    steps_done,
)

from gpt_pipeline.checkpoint import open_checkpoint

HERE = Path()


def wait_for_step(step, process, said=finish, folder=HERE):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if steps_done(folder) >= step:
            return
        time.sleep(0.02)
    pytest.fail(f"step {step} was not reached: {said(process)}")


def result(folder=HERE):
    return digest(last_checkpoint(folder) / "model.safetensors"), history(folder)


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    """A folder with an uninterrupted run; never written to again."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "stories.txt").write_text(corpus())
    code, text = finish(start("train", *LONG, folder=folder))
    assert code == 0, text
    return folder


@pytest.fixture(scope="module")
def whole(whole_folder):
    """Weights and metrics of the uninterrupted run."""
    return result(whole_folder)


@pytest.mark.slow
def test_runs_killed_ten_times_in_all_places_come_out_the_same(tmp_path):
    """The short form of `make bench ARGS="faults kills"`."""
    with ThreadPoolExecutor(3) as pool:  # processes of one thread each
        uninterrupted = pool.submit(run_whole, tmp_path / "whole")

        def killed(name):
            places, failed = run_killed(tmp_path / name, random.Random(name))
            assert failed == ""
            assert differences(uninterrupted.result(), tmp_path / name) == [], places
            return places

        places = [place for found in pool.map(killed, ("first", "second")) for place in found]
    assert len(places) == 10
    assert len(set(places)) >= 3


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.fixture(scope="module")
def signalled(tmp_path_factory):
    """Runs that got a signal each, two at a time.

    Gives exit code and output of the stopped session and of the next, and the run's result.
    """

    def run(number):
        folder = tmp_path_factory.mktemp(number.name)
        (folder / "stories.txt").write_text(corpus())
        process = start("train", *LONG, folder=folder)
        wait_for_step(33, process, folder=folder)
        process.send_signal(number)
        stopped, resumed = finish(process), finish(start("train", *LONG, folder=folder))
        return stopped, resumed, result(folder)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SIGNALS, pool.map(run, SIGNALS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_saves_says_how_to_go_on_and_the_run_stays_the_same(signalled, whole, number):
    (returned, text), (code, resumed), end = signalled[number]
    assert returned == SIGNALS[number], text
    assert "saving after this step; a second signal stops at once" in text
    assert "stopped at step" in text
    assert "to resume, run the same command" in text
    assert code == 0, resumed
    assert end == whole


@pytest.mark.slow
def test_a_second_signal_stops_at_once_and_loses_nothing_that_was_saved(folder, whole):
    slow = Path("slow.py")
    slow.write_text(
        "import time\n"
        "from gpt_pipeline.checkpoint import CheckpointStore\n"
        "from gpt_pipeline.cli.main import main\n"
        "save = CheckpointStore.save\n"
        "def late(store, weights, part):\n"
        "    if part.step > 30: print('saving', flush=True); time.sleep(60)\n"
        "    return save(store, weights, part)\n"
        "CheckpointStore.save = late\n"
        "main()\n"
    )
    process = start("train", *LONG, program=(str(slow),))
    next(line for line in process.stdout if line == "saving\n")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    code, text = finish(process)
    assert code == 130, text
    assert time.monotonic() - began < 30  # the save alone would take 60 s
    assert "stopped at once" in text
    assert last_checkpoint(HERE).name == "small-step-00000030"
    code, text = finish(start("train", *LONG))
    assert code == 0, text
    assert "resuming at step 30" in text
    assert result() == whole


@pytest.mark.slow
def test_a_second_run_of_the_same_name_is_refused(folder):
    Path("stories.txt").write_text(corpus())
    process = start("train", *LONG, "schedule.max_steps=100000")
    wait_for_step(5, process)
    code, text = finish(start("train", *LONG))
    assert code == 2
    assert "error: another process is training small in checkpoints; wait for it" in text
    process.kill()
    process.communicate()
    code, text = finish(start("train", *LONG))  # nothing of the killed one is in the way
    assert code == 0, text


BAD_DISKS = [*((name, True) for name in fault_disk.TROUBLES), ("disk full", False)]


@pytest.fixture(scope="module")
def bad_disks(tmp_path_factory):
    """The row of each disk that went bad in mid-run; two runs at a time."""
    folder = tmp_path_factory.mktemp("disks")
    if not fault_disk.can_mount(folder / "try"):
        pytest.skip("this user may not mount a file system to fill")

    def run(case):
        name, passes = case
        return fault_disk.trouble(folder / f"{name}-{passes}", name, passes=passes)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(BAD_DISKS, pool.map(run, BAD_DISKS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "passes"), BAD_DISKS)
def test_a_disk_that_goes_bad_in_mid_run(bad_disks, name, passes):
    row = bad_disks[name, passes]
    _, _, warnings, code, said, verified = row
    assert warnings >= 1
    assert code == (0 if passes else 2), row
    assert said.startswith("checkpoint:" if passes else "error: cannot save"), row
    assert verified.endswith("checkpoints good"), row


@pytest.mark.slow
def test_damage_is_found_and_a_resume_falls_back(folder, whole, whole_folder):
    shutil.copytree(whole_folder, folder, dirs_exist_ok=True)
    rows = damage_many(folder, 60, seed=1)
    assert rows[-1][-1] == 0, rows
    assert resume_after(folder, LONG, random.Random(2)) == "fell back, said so, kept it aside"
    assert result() == whole


def test_a_terminal_that_is_closed_saves_the_run(folder):
    """The system sends SIGHUP then, the shell another one, and nothing can be written any more."""
    ours, theirs = os.openpty()
    words = [sys.executable, "-m", "gpt_pipeline", "train", *LONG]
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    threading.Thread(target=read_all, args=(ours,), daemon=True).start()
    wait_for_step(15, process, said=lambda _: "")
    os.close(ours)  # SIGHUP to the whole session
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 128 + signal.SIGHUP
    assert open_checkpoint(last_checkpoint(folder)).manifest.step >= 15


def read_all(descriptor):
    with suppress(OSError):
        while os.read(descriptor, 1 << 16):
            pass


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT])
def test_what_was_ignored_at_the_start_stays_ignored(folder, ignored):
    """`nohup` ignores SIGHUP; a shell without job control ignores SIGINT behind an &."""
    program = f"import signal, sys; signal.signal({ignored:d}, signal.SIG_IGN); "
    program += "from gpt_pipeline.cli.main import main; main()"
    words = [*LONG, "schedule.max_steps=60"]
    process = start("train", *words, program=("-c", program))
    wait_for_step(5, process)
    process.send_signal(ignored)
    process.send_signal(ignored)
    code, text = finish(process)
    assert code == 0, text
    assert "validation: loss" in text


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_all_files_of_a_checkpoint_have_the_mode_of_the_umask(gpt, folder, umask):
    before = os.umask(umask)
    try:
        code, _, err = gpt("train", *SMALL)
    finally:
        os.umask(before)
    assert code == 0, err
    files = [path for path in last_checkpoint(folder).rglob("*") if path.is_file()]
    assert len(files) == 7
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


def test_a_parent_that_ignores_its_children_s_ends_can_plan(folder):
    """SIGCHLD is ignored by some supervisors, and then no exit code is known."""
    program = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    program += "from gpt_pipeline.cli.main import main\nif __name__ == '__main__': main()"
    (folder / "plan.py").write_text(program)
    code, text = finish(start("plan", *SMALL, program=("plan.py",)))
    assert code == 0, text
    assert "peak memory" in text
