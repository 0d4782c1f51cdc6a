"""metrics.jsonl: each line once, whatever happens; and the trackers that get the same entries."""

import json
import math

import pytest

from gpt_pipeline.tracking.metrics_file import MetricsFile, read_metrics


def test_what_is_not_finite_is_null_in_the_file(tmp_path):
    with MetricsFile(tmp_path / "m.jsonl") as metrics:
        metrics.log({"step": 1, "train_loss": math.nan, "grad_norm": math.inf, "lr": 0.5})
    (line,) = (tmp_path / "m.jsonl").read_text().splitlines()
    assert line == '{"step": 1, "train_loss": null, "grad_norm": null, "lr": 0.5}'


def test_metrics_survive_a_torn_line_and_a_resume_writes_none_twice(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with MetricsFile(path) as first:
        for step in (10, 20, 30):
            first.log({"step": step, "tokens": step * 5})
        assert len(path.read_text().splitlines()) == 3  # each line is there at once
    with path.open("a") as file:
        file.write('{"step": 40, "tok')
    assert [entry["step"] for entry in read_metrics(path)] == [10, 20, 30]
    with MetricsFile(path, step=20) as resumed:
        resumed.log({"step": 30, "tokens": 150})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20, 30]


def test_a_missing_file_has_no_metrics(tmp_path):
    assert list(read_metrics(tmp_path / "none.jsonl")) == []


class FullDisk:
    """A file that takes nothing while `full`."""

    def __init__(self, file):
        self.file, self.full = file, False

    def write(self, data):
        if self.full:
            self.file.write(data[:5])
            raise OSError(28, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_lines_wait_for_a_full_disk_and_none_is_lost_or_torn(tmp_path, caplog):
    path = tmp_path / "m.jsonl"
    with MetricsFile(path) as metrics:
        metrics._file = disk = FullDisk(metrics._file)
        for step in range(1, 9):
            disk.full = 3 <= step <= 6
            metrics.log({"step": step})
            on_disk = [entry["step"] for entry in read_metrics(path)]
            assert on_disk == list(range(1, 3 if disk.full else step + 1))
            assert metrics.lines == step
    assert caplog.text.count("its lines are kept in memory") == 1


def test_going_back_keeps_the_lines_that_wait(tmp_path):
    path = tmp_path / "m.jsonl"
    with MetricsFile(path) as metrics:
        metrics._file = disk = FullDisk(metrics._file)
        for step in range(1, 11):
            disk.full = step > 3
            metrics.log({"step": step})
        metrics.rewind(step=7, lines=7)
        disk.full = False
        metrics.log({"step": 8})
    assert [entry["step"] for entry in read_metrics(path)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_file_without_a_count_is_cut_by_its_steps(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4')
    with MetricsFile(path, lines=None, step=2) as metrics:
        assert metrics.lines == 2
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'


class Recorder:
    """A tracker that cannot delete: it keeps all that it is given."""

    def __init__(self):
        self.calls = []

    def log(self, entry):
        self.calls.append(("log", entry["step"], entry["loss"]))

    def rewind(self, *, step):
        self.calls.append(("rewind", step))

    def close(self):
        self.calls.append("close")


def test_a_tracker_gets_every_entry_and_is_told_to_rewind(tmp_path):
    tracker = Recorder()
    with MetricsFile(tmp_path / "m.jsonl", step=3, trackers=[tracker]) as metrics:
        metrics.log({"step": 4, "loss": 2.0})
        metrics.log({"step": 5, "loss": math.nan})
        metrics.rewind(step=4, lines=1)
        metrics.log({"step": 5, "loss": 1.5})
    assert [call for call in tracker.calls if call[0] == "rewind"] == [("rewind", 3), ("rewind", 4)]
    logged = [call for call in tracker.calls if call[0] == "log"]
    assert [call[1] for call in logged] == [4, 5, 5]
    assert logged[-1] == ("log", 5, 1.5)
    assert tracker.calls[-1] == "close"
    assert [entry["step"] for entry in read_metrics(tmp_path / "m.jsonl")] == [4, 5]


@pytest.mark.parametrize("method", ["log", "rewind", "close"])
def test_what_a_tracker_raises_is_one_warning(tmp_path, caplog, monkeypatch, method):
    def broken(self, *args, **kwargs):
        raise ConnectionError("no route to the server")

    monkeypatch.setattr(Recorder, method, broken)
    tracker = Recorder()
    with MetricsFile(tmp_path / "m.jsonl", trackers=[tracker]) as metrics:
        for step in (1, 2):
            metrics.log({"step": step, "loss": 1.0})
    assert caplog.text.count("no route to the server") == 1
    assert "Recorder" in caplog.text
    assert [entry["step"] for entry in read_metrics(tmp_path / "m.jsonl")] == [1, 2]
