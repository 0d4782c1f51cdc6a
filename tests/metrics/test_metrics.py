"""Figures: one definition, the same however the windows are batched."""

import json
import math

import pytest
import torch

from gpt_pipeline.metrics import Evaluation, Throughput, evaluate
from gpt_pipeline.runtime.memory import peak_memory_bytes
from gpt_pipeline.tracking.metrics_file import MetricsFile, read_metrics

V = 7


def windows(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(V, (count, 5), generator=generator)
    targets = torch.randint(V, (count, 5), generator=generator)
    targets[-1, 3:] = -100
    return inputs, targets


def table_model(inputs):
    table = torch.randn(V, V, generator=torch.Generator().manual_seed(1))
    return table[inputs]


def test_the_figures_are_the_written_out_means():
    inputs, targets = windows(3)
    result = evaluate([(table_model(inputs), targets)], bytes_per_token=2.0)
    logs = table_model(inputs).log_softmax(-1)
    counted = [(b, t) for b in range(3) for t in range(5) if targets[b, t] >= 0]
    losses = [-logs[b, t, targets[b, t]].item() for b, t in counted]
    right = [logs[b, t].argmax() == targets[b, t] for b, t in counted]
    assert result.tokens == len(counted) == 13
    assert result.loss == pytest.approx(sum(losses) / 13, rel=1e-6)
    assert result.accuracy == pytest.approx(sum(right) / 13)
    assert result.perplexity == pytest.approx(math.exp(result.loss))
    assert result.bits_per_byte == pytest.approx(sum(losses) / math.log(2) / 26)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_figure_does_not_depend_on_the_batch_size(size):
    inputs, targets = windows(7)
    parts = list(zip(inputs.split(size), targets.split(size), strict=True))
    whole = evaluate([(table_model(inputs), targets)], bytes_per_token=1.0)
    result = evaluate(((table_model(x), y) for x, y in parts), bytes_per_token=1.0)
    assert result.loss == pytest.approx(whole.loss, rel=1e-12)


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary():
    inputs, targets = windows(2)
    result = evaluate([(torch.zeros(*inputs.shape, V), targets)], bytes_per_token=1.0)
    assert result.loss == pytest.approx(math.log(V))
    assert result.bits_per_byte == pytest.approx(math.log2(V))


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="at least one batch"):
        evaluate([], bytes_per_token=1.0)


def test_a_huge_loss_has_a_finite_perplexity():
    assert 1e300 < Evaluation(1000.0, 0.0, 1, 1.0).perplexity < math.inf


def test_what_is_not_finite_is_null_in_the_file(tmp_path):
    with MetricsFile(tmp_path / "m.jsonl") as metrics:
        metrics.append({"step": 1, "train_loss": math.nan, "grad_norm": math.inf, "lr": 0.5})
    (line,) = (tmp_path / "m.jsonl").read_text().splitlines()
    assert line == '{"step": 1, "train_loss": null, "grad_norm": null, "lr": 0.5}'


def test_metrics_survive_a_torn_line_and_a_resume_writes_none_twice(tmp_path):
    path = tmp_path / "run" / "metrics.jsonl"
    with MetricsFile(path) as first:
        for step in (10, 20, 30):
            first.append({"step": step, "tokens": step * 5})
        assert len(path.read_text().splitlines()) == 3  # each line is there at once
    with path.open("a") as file:
        file.write('{"step": 40, "tok')
    assert [entry["step"] for entry in read_metrics(path)] == [10, 20, 30]
    with MetricsFile(path, step=20) as resumed:
        resumed.append({"step": 30, "tokens": 150})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20, 30]


def test_a_missing_file_has_no_metrics(tmp_path):
    assert list(read_metrics(tmp_path / "none.jsonl")) == []


def test_throughput_counts_steps_and_not_what_lies_between(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 10.0, 12.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    meter = Throughput()
    assert meter.tokens_per_s == 0.0
    meter.start()
    meter.stop(100)  # 1.0 to 3.0
    meter.start()
    meter.stop(300)  # 10.0 to 12.0
    assert meter.tokens_per_s == pytest.approx(100.0)


def test_waiting_for_data_is_a_share_of_the_steps_alone(monkeypatch):
    clock = iter([0.0, 1.0, 1.0, 1.5, 2.0, 2.25, 3.0, 10.0, 12.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    meter = Throughput()
    assert meter.data_wait_share == 0.0
    meter.start()
    with meter.waiting():
        pass  # 1.0 to 1.5
    with meter.waiting():
        pass  # 2.0 to 2.25
    meter.stop(100)  # 1.0 to 3.0
    assert meter.data_wait_share == pytest.approx(0.375)
    meter.start()
    meter.stop(100)  # 10.0 to 12.0, and nothing is left of the wait before
    assert meter.data_wait_share == pytest.approx(0.1875)


def test_peak_memory_is_that_of_a_process_with_torch():
    assert 50e6 < peak_memory_bytes(torch.device("cpu")) < 1e12


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
            metrics.append({"step": step})
            on_disk = [entry["step"] for entry in read_metrics(path)]
            assert on_disk == list(range(1, 3 if disk.full else step + 1))
            assert metrics.lines == step
    assert caplog.text.count("its lines wait in memory") == 1


def test_going_back_keeps_the_lines_that_wait(tmp_path):
    path = tmp_path / "m.jsonl"
    with MetricsFile(path) as metrics:
        metrics._file = disk = FullDisk(metrics._file)
        for step in range(1, 11):
            disk.full = step > 3
            metrics.append({"step": step})
        metrics.rewind(lines=7, step=7)
        disk.full = False
        metrics.append({"step": 8})
    assert [entry["step"] for entry in read_metrics(path)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_file_without_a_count_is_cut_by_its_steps(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"step": 4')
    with MetricsFile(path, lines=None, step=2) as metrics:
        assert metrics.lines == 2
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
