"""A device that is not waited for: the same run as one whose every step is looked at."""

import math

import numpy as np
import pytest
import torch
from test_optimizers import OPTIMIZERS
from test_rollback import equal, poison, weights

from gpt_pipeline.dataset.windows import TrainingOrder, Windows
from gpt_pipeline.tracking.metrics_file import read_metrics
from gpt_pipeline.training import ResidentWindows

WORDS = ("runtime.max_bad_steps=3", "schedule.max_steps=20", "checkpoint.background=false",
         "logging.log_every=5", "model.eval_freq=10", "checkpoint.save_every=6")  # fmt: skip
TIMED = ("tokens_per_s", "mfu", "data_wait_share", "memory_bytes")


def both(small_run, *words, bad=(), times=10**9):
    """The run that waits and the one that does not, both at their end."""
    runs = []
    for name, waits in (("waiting", True), ("ahead", False)):
        run = poison(small_run(*WORDS, *words, name=name), bad, math.nan, times)
        run.trainer.step.waits = waits
        assert run.go().finished
        runs.append(run)
    return runs


def lines(run):
    found = read_metrics(run.root / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in TIMED} for line in found]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bad", [(), (1,), (7, 8), (20,)], ids=str)
def test_steps_are_skipped_on_the_device(small_run, caplog, optimizer, bad):
    waiting, ahead = both(small_run, *OPTIMIZERS[optimizer], bad=bad)
    assert equal(weights(ahead), weights(waiting))
    assert lines(ahead) == lines(waiting)
    assert ahead.trainer.state.skipped_steps == waiting.trainer.state.skipped_steps == len(bad)
    assert caplog.text.count("skipped step") == 2 * len(bad)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_row_of_bad_steps_leads_back_as_far(small_run, caplog, optimizer):
    waiting, ahead = both(small_run, *OPTIMIZERS[optimizer], bad=(7, 8, 9), times=1)
    assert caplog.text.count("rolled back to") == 2
    assert equal(weights(ahead), weights(waiting))
    assert lines(ahead) == lines(waiting)


def test_the_host_looks_only_where_something_is_due(small_run, monkeypatch):
    run = small_run(*WORDS)
    run.trainer.step.waits = False
    looks, check = [], run.trainer.rollbacks.check

    def seen(metrics):
        looks.append(run.trainer.state.step)
        check(metrics)

    monkeypatch.setattr(run.trainer.rollbacks, "check", seen)
    run.go()
    assert looks == [1, 5, 6, 10, 12, 15, 18, 20, 20]  # the last at the end of the run


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_windows_gathered_on_the_device_are_those_of_the_file(dtype):
    high = np.iinfo(np.uint16).max
    tokens = np.random.default_rng(0).integers(high - 99, high + 1, 61).astype(dtype)

    class File:
        windows = Windows(tokens, 8, eot_id=3)
        num_windows = windows.num_windows
        order = TrainingOrder(num_windows, seed=1, shuffle=True)

        def spans(self, position, count):
            return self.windows.spans(self.order.indices(position, count))

    held = ResidentWindows(File(), tokens, max_length=8, eot_id=3, device=torch.device("cpu"))
    for position in range(0, 2 * File.num_windows, 5):
        wanted = File.windows.batch(File.order.indices(position, 5))
        inputs, targets = held.batch(position, 5)
        np.testing.assert_array_equal(inputs.numpy(), wanted[0])
        np.testing.assert_array_equal(targets.numpy(), wanted[1])
