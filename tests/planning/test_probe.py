"""The probe: the run's own step and evaluation, on random tokens."""

import pytest
import torch

from gpt_pipeline.config.compose import compose
from gpt_pipeline.metrics.evaluator import Evaluator
from gpt_pipeline.planning import MemoryModel
from gpt_pipeline.planning import probe as module
from gpt_pipeline.planning.micro_batch import at_least_bytes, rough_bytes
from gpt_pipeline.planning.probe import Probe
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.training import new_model
from gpt_pipeline.training.step import OptimizerStep

SMALL = """
model=tiny model.vocab_size=257 model.embed_dim=16 model.ff_hidden_dim=24 model.num_layers=1
model.max_length=8 model.micro_batch_size=4 model.grad_accumulation=2 runtime.dtype=float32
""".split()


@pytest.fixture
def config(tmp_path):
    return compose([*SMALL, f"model.checkpoint_path={tmp_path}/checkpoints"]).config


@pytest.fixture
def running(config):
    precision = Precision.choose(config.runtime, torch.device("cpu"))
    return Probe(config, precision, compiled=False).start()


def test_the_basis_counts_the_real_tensors(config, running):
    parameters = new_model(config, torch.device("cpu")).num_parameters()
    baseline = running.baseline
    assert baseline.parameters == parameters
    assert baseline.weights_bytes == baseline.gradients_bytes == 4 * parameters
    assert 8 * parameters < baseline.optimizer_bytes < 8.1 * parameters
    assert baseline.snapshot_bytes == baseline.weights_bytes + baseline.optimizer_bytes
    assert baseline.program_bytes > 50e6
    assert baseline.available_bytes > 100e6


def test_sizes_double_up_to_the_most(running):
    readings = list(running.readings(6))
    assert [reading.windows for reading in readings] == [1, 2, 4, 6]
    for reading in readings:
        assert min(reading.step_bytes, reading.evaluation_bytes) > running.baseline.weights_bytes
        assert min(reading.step_s, reading.evaluation_s) > 0


def test_the_most_is_read_itself_where_time_allows(running, monkeypatch):
    assert [reading.windows for reading in running.readings(64)] == [1, 2, 4, 64]
    monkeypatch.setattr(module, "LAST_SIZE_S", 0.0)
    assert [reading.windows for reading in running.readings(20)] == [1, 2, 4, 8, 16, 20]


def test_no_size_is_tried_that_will_not_fit(config):
    precision = Precision.choose(config.runtime, torch.device("cpu"))
    running = Probe(config, precision, compiled=False, available=1).start()
    assert [reading.windows for reading in running.readings(64)] == [1]


def test_a_size_without_memory_ends_the_readings(running, monkeypatch):
    step = running.step

    def short(windows, size):
        if windows > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(windows, size)

    monkeypatch.setattr(running, "step", short)
    assert [reading.windows for reading in running.readings(8)] == [1, 2]


def test_another_error_is_not_taken_for_missing_memory(running, monkeypatch):
    def broken(windows, size):
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr(running, "step", broken)
    with pytest.raises(RuntimeError, match="shape"):
        list(running.readings(8))


def test_time_ends_the_readings_but_not_before_the_third(running, monkeypatch):
    monkeypatch.setattr(module, "SIZES_S", 0.0)
    monkeypatch.setattr(module, "LAST_SIZE_S", 0.0)
    assert [reading.windows for reading in running.readings(64)] == [1, 2, 4]


def test_ten_whole_steps_are_timed_where_they_are_short(running):
    last = list(running.readings(4))[-1]
    timing = running.timing(last, windows_per_step=8, micro_batch_size=4)
    assert (timing.steps, timing.windows, timing.micro_batch_size) == (10, 8, 4)
    assert timing.windows_per_s == pytest.approx(80 / timing.seconds)


def test_long_steps_are_timed_in_parts(running, monkeypatch):
    last = list(running.readings(4))[-1]
    monkeypatch.setattr(module, "TIMING_S", 0.0)
    timing = running.timing(last, windows_per_step=8, micro_batch_size=4)
    assert (timing.windows, timing.micro_batch_size) == (1, 1)


def test_measuring_does_the_runs_own_steps_and_evaluations_and_writes_nothing(
    config, tmp_path, monkeypatch
):
    steps, evaluated = [], []
    step, evaluate = OptimizerStep.__call__, Evaluator.__call__
    monkeypatch.setattr(OptimizerStep, "__call__", lambda *a, **k: steps.append(1) or step(*a, **k))
    monkeypatch.setattr(Evaluator, "__call__", lambda *a: evaluated.append(1) or evaluate(*a))
    precision = Precision.choose(config.runtime, torch.device("cpu"))
    running = Probe(config, precision, compiled=False).start()
    assert len(list(running.readings(2))) == len(evaluated) == 2
    assert len(steps) == 3  # and the first one, of the baseline
    assert list(tmp_path.iterdir()) == []


def test_the_rough_figure_is_no_less_than_what_was_measured(config):
    large = config.replace({"model.embed_dim": 128, "model.ff_hidden_dim": 512,
                            "model.max_length": 128, "model.micro_batch_size": 32})  # fmt: skip
    precision = Precision.choose(large.runtime, torch.device("cpu"))
    running = Probe(large, precision, compiled=False).start()
    memory_model = MemoryModel(running.baseline, list(running.readings(32)))
    taken = memory_model.peak_bytes(32) - running.baseline.program_bytes
    assert at_least_bytes(large) < taken < rough_bytes(large)
