"""Memory that runs out in mid-run: the last whole step is saved, and a resumed run is the same."""

import pytest
import torch

from gpt_pipeline.metrics.evaluator import Evaluator
from gpt_pipeline.tracking.metrics_file import read_metrics
from gpt_pipeline.training import ran_out_of_memory
from gpt_pipeline.training.step import OptimizerStep

SAYINGS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 100 bytes. Error code 12 (Cannot allocate memory)"
    ),
    MemoryError(),
    RuntimeError("std::bad_alloc"),
]


def weights(run):
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def lines(run):
    kept = ("step", "train_loss", "val_loss")
    entries = read_metrics(run.root / "metrics.jsonl")
    return [{key: entry.get(key) for key in kept} for entry in entries]


@pytest.fixture
def whole(small_run):
    run = small_run(name="whole")
    run.go()
    return run


@pytest.mark.parametrize("error", SAYINGS, ids=lambda error: type(error).__name__)
def test_every_way_of_saying_it_is_understood(error):
    assert ran_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory")])
def test_other_errors_are_not_taken_for_it(error):
    assert not ran_out_of_memory(error)


@pytest.mark.parametrize("error", SAYINGS, ids=lambda error: type(error).__name__)
def test_the_last_whole_step_is_saved_and_a_resumed_run_is_the_same(
    small_run, whole, monkeypatch, error
):
    run, gradient = small_run(), OptimizerStep.loss_and_gradient
    calls = []

    def short(self, *given):
        calls.append(1)
        result = gradient(self, *given)  # draws the dropout, fills the gradients
        if len(calls) == 7:
            raise error
        return result

    with monkeypatch.context() as patched:
        patched.setattr(OptimizerStep, "loss_and_gradient", short)
        outcome = run.go()
    assert not outcome.finished
    assert outcome.out_of_memory == (str(error) or "MemoryError")
    assert outcome.checkpoint.manifest.step == run.trainer.state.step == 6
    again = small_run()
    assert again.go().finished
    assert equal(weights(again), weights(whole))
    assert lines(again) == lines(whole)


def test_an_evaluation_without_memory_is_done_on_resume(small_run, whole, monkeypatch):
    def short(self, val, limit=None):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    run = small_run()
    with monkeypatch.context() as patched:
        patched.setattr(Evaluator, "__call__", short)
        outcome = run.go()
    assert (outcome.checkpoint.manifest.step, run.evaluated) == (4, [])
    again = small_run()
    assert again.go().finished
    assert again.evaluated == whole.evaluated
    assert equal(weights(again), weights(whole))
    assert lines(again) == lines(whole)


def test_weights_that_the_optimizer_left_half_way_are_not_saved(small_run, whole, monkeypatch):
    run = small_run()
    adamw, calls = type(run.trainer.step.optimizer), []
    step = adamw.step

    def short(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            with torch.no_grad():
                self.param_groups[0]["params"][0].zero_()
            raise MemoryError
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(adamw, "step", short)
        outcome = run.go()
    assert outcome.out_of_memory == "MemoryError"
    assert outcome.checkpoint.manifest.step == 4
    again = small_run()
    assert again.go().finished
    assert equal(weights(again), weights(whole))


def test_an_error_that_is_not_about_memory_is_a_bug_as_before(small_run, monkeypatch):
    def broken(self, *given):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(OptimizerStep, "loss_and_gradient", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        small_run().go()


def test_nothing_is_saved_where_no_step_was_done(small_run, monkeypatch):
    def short(self, *given):
        raise MemoryError

    monkeypatch.setattr(OptimizerStep, "loss_and_gradient", short)
    outcome = small_run().go()
    assert (outcome.finished, outcome.checkpoint) == (False, None)
