import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing import popen_spawn_posix
from pathlib import Path

import pytest

from gpt_pipeline.dataset import open_tokens, prepare, verify_token_file, verify_tokenizer_file
from gpt_pipeline.dataset.corpus import TextBatch
from gpt_pipeline.dataset.encoding import SMALL, encode_all
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import byte_tokenizer

PIECES = [TextBatch((f"piece {number}", "\u00e9 " * number)) for number in range(40)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A text of some 15 pieces of work."""
    path = tmp_path_factory.mktemp("corpus") / "long.txt"
    story = "Once upon a time there was a cat, and number {} was its name. It slept well.\n" * 40
    path.write_text("\n".join(story.format(*[i] * 40) + "\n" for i in range(1300)))
    return path


@dataclass(frozen=True)
class Failing:
    """Work that fails where it is encoded."""

    way: str

    def texts(self):
        return ()

    def encode(self, tokenizer):
        if self.way == "error":
            raise DataError("piece 20 is bad")
        if multiprocessing.parent_process() is not None:
            os._exit(9)
        return PIECES[0].encode(tokenizer)


def test_pieces_come_in_order_for_any_number_of_processes(byte_level):
    found = [list(encode_all(iter(PIECES), byte_level, number)) for number in (0, 1, 2)]
    for encoded in found:
        assert [byte_level.decode(piece.ids[:-1]) for piece in encoded] == [
            f"piece {number}<|endoftext|>" + "\u00e9 " * number for number in range(40)
        ]
        assert [piece.num_bytes for piece in encoded] == [piece.num_bytes for piece in found[0]]


def test_work_is_read_only_a_little_ahead(byte_level):
    taken = []

    def work():
        for piece in PIECES:
            taken.append(piece)
            yield piece

    encoded = encode_all(work(), byte_level, 2)
    next(encoded)
    assert len(taken) <= SMALL + 2
    encoded.close()


def test_small_work_starts_no_process(byte_level, monkeypatch):
    monkeypatch.setattr("gpt_pipeline.dataset.encoding.ProcessPoolExecutor", None)
    assert len(list(encode_all(iter(PIECES[:SMALL]), byte_level, 2))) == SMALL


def test_error_in_a_worker_reaches_the_caller(byte_level):
    work = [*PIECES[:20], Failing("error"), *PIECES]
    with pytest.raises(DataError, match="piece 20 is bad"):
        list(encode_all(iter(work), byte_level, 2))


def no_children_within(seconds):
    """A thread of the pool may still be collecting the end of one."""
    deadline = time.monotonic() + seconds
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    return multiprocessing.active_children() == []


def ids_of(pieces):
    return [piece.ids.tolist() for piece in pieces]


def test_where_a_worker_dies_this_process_does_the_rest(byte_level, caplog):
    work = [*PIECES[:20], Failing("exit"), *PIECES]
    wanted = ids_of(encode_all(iter([*PIECES[:20], PIECES[0], *PIECES]), byte_level, 0))
    assert ids_of(encode_all(iter(work), byte_level, 2)) == wanted
    assert caplog.text.count("cannot use 2 processes to prepare token files (one was ended") == 1
    assert no_children_within(10)


def no_semaphores(monkeypatch, byte_level):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("_multiprocessing.SemLock", refused)
    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", refused)
    return "Read-only file system"


def no_second_process(monkeypatch, byte_level):
    launch, started = popen_spawn_posix.Popen._launch, []

    def limited(self, process):
        started.append(process)
        if len(started) > 1:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        launch(self, process)

    monkeypatch.setattr(popen_spawn_posix.Popen, "_launch", limited)
    return "temporarily unavailable"


def no_process(monkeypatch, byte_level):
    def refused(self, process):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(popen_spawn_posix.Popen, "_launch", refused)
    return "temporarily unavailable"


def no_thread(monkeypatch, byte_level):
    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    return "can't start new thread"


@pytest.mark.skipif(os.name != "posix", reason="what Linux and macOS answer")
@pytest.mark.parametrize("lacking", [no_semaphores, no_second_process, no_process, no_thread])
def test_where_processes_cannot_be_had_this_one_does_the_work(
    byte_level, monkeypatch, caplog, lacking
):
    wanted = ids_of(encode_all(iter(PIECES), byte_level, 0))
    reason = lacking(monkeypatch, byte_level)
    assert ids_of(encode_all(iter(PIECES), byte_level, 2)) == wanted
    (record,) = caplog.records
    assert record.getMessage().startswith("cannot use 2 processes to prepare token files (")
    assert reason in record.getMessage()
    assert no_children_within(10)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_workers_are_as_many_as_the_cores_that_the_process_may_use(byte_level, monkeypatch):
    monkeypatch.setattr("gpt_pipeline.dataset.encoding.ProcessPoolExecutor", None)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert len(list(encode_all(iter(PIECES), byte_level, None))) == len(PIECES)
    finally:
        os.sched_setaffinity(0, allowed)


def test_files_are_identical_for_any_number_of_processes(
    corpus, dataset_config, tokenizer_config, tmp_path
):
    found = set()
    for number in (0, 1, 2):
        config = dataset_config(path=corpus, num_workers=number, data_dir=tmp_path / str(number))
        prepared = prepare(config, tokenizer_config("bpe", 300), say=lambda line: None)
        found.add((prepared.train.read_bytes(), prepared.train.with_suffix(".json").read_bytes()))
    assert len(found) == 1


SCRIPT = """
import json, sys, time
from gpt_pipeline.config import TextConfig, TokenizerConfig
from gpt_pipeline.dataset import prepare

def progress(name, done, total):
    print(name, done, flush=True)
    time.sleep(pause_s)

if __name__ == "__main__":
    dataset, tokenizer, pause_s = json.loads(sys.argv[1])
    prepare(
        TextConfig(**dataset),
        TokenizerConfig(**tokenizer),
        say=lambda line: None,
        progress=progress,
    )
"""


@pytest.fixture
def start(tmp_path, corpus, dataset_config, tokenizer_config):
    """Starts a preparation as a process of its own, in a group of its own.

    `pause_s` seconds after each of some 15 pieces are there for what a test does to it meanwhile.
    """

    def start(num_workers, pause_s=0.0):
        (tmp_path / "script.py").write_text(SCRIPT)
        given = dataset_config(path=corpus, num_workers=num_workers, train_ratio=1.0)
        values = [given.model_dump(), tokenizer_config().model_dump(), pause_s]
        return subprocess.Popen(
            [sys.executable, str(tmp_path / "script.py"), json.dumps(values)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return start


def fields(path):
    """State, parent, process group, ... of a process; empty when it has ended by now."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def group_is_gone(process, within_s=10):
    """Whether no process of the group is left; a zombie that nobody waits for counts as gone."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        stats = [stat for path in Path("/proc").glob("[0-9]*/stat") if (stat := fields(path))]
        if not any(stat[2] == str(process.pid) and stat[0] != "Z" for stat in stats):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_killed_preparation_leaves_nothing_that_counts(
    start, tmp_path, num_workers, corpus, dataset_config, tokenizer_config
):
    process = start(num_workers, pause_s=1.0)
    assert process.stdout.readline().startswith("dataset_train.bin")
    process.kill()
    process.wait()
    folder = tmp_path / "prepared" / "data"
    left = {path.name for path in folder.iterdir()}
    assert f".dataset_train.bin.{process.pid}.tmp" in left
    assert not left & {"dataset_train.bin", "dataset_train.json"}
    assert group_is_gone(process)
    process.stdout.close()
    process.stderr.close()
    config = dataset_config(path=corpus, train_ratio=1.0)
    prepare(config, tokenizer_config(), say=lambda line: None)
    assert {path.name for path in folder.iterdir()} == {
        "dataset_train.bin",
        "dataset_train.json",
        "tokenizer.json",
        "tokenizer_record.json",
    }


def end_of(process):
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_two_preparations_at_once_end_with_whole_files(start, tmp_path):
    for process in [start(0), start(0)]:
        end_of(process)
    folder = tmp_path / "prepared" / "data"
    assert verify_token_file(folder / "dataset_train.bin").documents == 1300
    assert verify_tokenizer_file(folder / "tokenizer.json")
    assert {path.name for path in folder.iterdir()} == {
        "dataset_train.bin",
        "dataset_train.json",
        "tokenizer.json",
        "tokenizer_record.json",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="needs a lock on a folder")
def test_second_preparation_waits_for_the_first_and_finds_its_files(
    start, corpus, dataset_config, tokenizer_config
):
    first = start(0, pause_s=0.2)
    assert first.stdout.readline().startswith("dataset_train.bin")
    said = []
    config = dataset_config(path=corpus, train_ratio=1.0)
    prepared = prepare(config, tokenizer_config(), say=said.append)
    end_of(first)
    assert said[0].endswith("data: waiting for another process that prepares it")
    assert said[1] == "dataset_train.bin: current"
    assert verify_token_file(prepared.train)


def test_system_without_locks_ends_with_whole_files_too(
    monkeypatch, tmp_path, corpus, start, dataset_config, tokenizer_config
):
    def without(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("gpt_pipeline.locking.fcntl.flock", without)
    other = start(0)
    config = dataset_config(path=corpus, train_ratio=1.0)
    prepared = prepare(config, tokenizer_config(), say=str)
    end_of(other)
    assert verify_token_file(prepared.train).documents == 1300


@pytest.mark.parametrize("moment", range(1, 9))
def test_death_at_any_step_of_the_replacement_is_mended(
    tmp_path, moment, dataset_config, tokenizer_config
):
    def config(text):
        (tmp_path / "a.txt").write_text(text)
        return dataset_config(path=tmp_path / "a.txt", train_ratio=1.0)

    prepared = prepare(config("a first text"), tokenizer_config(), say=str)
    values = [config("another one.").model_dump(), tokenizer_config().model_dump()]
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(moment), json.dumps(values)], check=False
    )
    assert done.returncode == 9
    said = []
    prepare(config("another one."), tokenizer_config(), say=said.append)
    assert verify_token_file(prepared.train)
    assert byte_tokenizer().decode(open_tokens(prepared.train)[0][:-1].tolist()) == "another one."
    assert not list(prepared.train.parent.glob(".*"))


DYING = """
import json, os, sys
from pathlib import Path
from gpt_pipeline.config import TextConfig, TokenizerConfig
from gpt_pipeline.dataset import prepare

left = int(sys.argv[1])

def counted(function):
    def call(*given, **named):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
        return function(*given, **named)
    return call

for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
    setattr(owner, name, counted(getattr(owner, name)))
dataset, tokenizer = json.loads(sys.argv[2])
prepare(TextConfig(**dataset), TokenizerConfig(**tokenizer), say=str)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_interrupt_ends_all_processes_quietly(start, tmp_path):
    process = start(2, pause_s=1.0)
    assert process.stdout.readline().startswith("dataset_train.bin")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C: to every process
    _, errors = process.communicate(timeout=20)
    assert errors.count("Traceback") == 1  # the parent's own; the command line turns it into a line
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert group_is_gone(process)
    left = {path.name for path in (tmp_path / "prepared" / "data").iterdir()}
    assert left == {"tokenizer.json", "tokenizer_record.json"}
