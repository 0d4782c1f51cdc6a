"""A stop that cannot wait: the step or evaluation at hand is given up, and done again on resume."""

import torch
from small_run import CLOCKED

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.tracking.metrics_file import MetricsFile, read_metrics
from gpt_pipeline.training import Hooks


def lines(run):
    entries = read_metrics(run.root / "metrics.jsonl")
    return [{k: v for k, v in e.items() if k not in CLOCKED} for e in entries]


def weights(run):
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def equal(left, right):
    return all(torch.equal(left[key], right[key]) for key in left)


def go_until(run, checks):
    """Run until `interrupt` has been asked so many times, then stop; the outcome."""
    checkpoint = run.store.newest_good()
    if checkpoint is not None:
        run.trainer.resume(checkpoint)
    asked = 0

    def interrupt():
        nonlocal asked
        asked += 1
        return asked > checks

    hooks = Hooks(
        stepped=lambda report: None,
        evaluated=lambda step, model: None,
        stop=lambda: asked > checks,
        interrupt=interrupt,
    )
    with MetricsFile(run.root / "metrics.jsonl", lines=run.trainer.state.metrics_lines) as metrics:
        return run.trainer.run(metrics, hooks), asked


def test_a_run_given_up_at_any_moment_and_resumed_is_the_same_run(small_run):
    """At every place where a step or an evaluation can be given up, one after the other."""
    words = ("schedule.max_steps=5", "model.eval_freq=2", "checkpoint.save_every=2")
    whole = small_run(*words, name="whole")
    outcome, places = go_until(whole, 10**9)
    assert outcome.finished
    assert places > 100
    for place in range(1, places, 3):
        name = f"given up at {place}"
        outcome, _ = go_until(small_run(*words, name=name), place)
        assert not outcome.finished
        rest = small_run(*words, name=name)
        assert rest.go().finished
        assert equal(weights(rest), weights(whole)), place
        assert lines(rest) == lines(whole), place
        assert (
            rest.trainer.checkpoint.manifest.validation
            == whole.trainer.checkpoint.manifest.validation
        )


def test_many_stops_in_one_run_are_still_the_same_run(small_run):
    words = ("schedule.max_steps=5", "model.eval_freq=2", "checkpoint.save_every=2")
    whole = small_run(*words, name="whole")
    whole.go()
    for _ in range(40):  # each session comes a little further
        run = small_run(*words, name="parts")
        outcome, _ = go_until(run, 60)
        if outcome.finished:
            break
    assert outcome.finished
    assert equal(weights(run), weights(whole))
    assert lines(run) == lines(whole)


def test_a_step_given_up_leaves_the_last_whole_step_saved(small_run):
    run = small_run("checkpoint.save_every=100", "model.eval_freq=100")
    outcome, _ = go_until(run, 45)
    assert 1 <= outcome.checkpoint.manifest.step == run.trainer.state.step
    assert not any(p.grad is not None and p.grad.any() for p in run.model.parameters())


def test_an_evaluation_given_up_is_done_when_the_run_goes_on(small_run):
    run = small_run("schedule.max_steps=1")
    inside = []
    batches = type(run.trainer.val).batches

    def stopping(self, size, limit=None):
        for batch in batches(self, size, limit):
            inside.append(1)
            yield batch

    type(run.trainer.val).batches = stopping
    try:
        hooks = Hooks(lambda r: None, lambda s, m: None, lambda: bool(inside), lambda: bool(inside))
        with MetricsFile(run.root / "metrics.jsonl") as metrics:
            outcome = run.trainer.run(metrics, hooks)
    finally:
        type(run.trainer.val).batches = batches
    assert not outcome.finished
    assert outcome.checkpoint.manifest.validation is None
    rest = small_run("schedule.max_steps=1")
    assert rest.go().finished
    checkpoint = open_checkpoint(
        rest.store.root / "small-step-00000001"
    )  # written again in its place
    assert checkpoint.manifest.validation["tokens"] == 160
    assert [set(line) >= {"train_loss", "val_loss"} for line in lines(rest)] == [True]


def test_a_signal_during_a_sample_or_after_the_run_abandons_nothing(small_run):
    """The last evaluation is done, its sample is being made: the run is finished and saved."""
    run = small_run("schedule.max_steps=4")
    asked = []

    def evaluated(step, model):
        asked.append(step)
        model(torch.zeros(1, 2, dtype=torch.int64))  # as a sample does

    hooks = Hooks(lambda r: None, evaluated, lambda: False, lambda: bool(asked))
    with MetricsFile(run.root / "metrics.jsonl") as metrics:
        outcome = run.trainer.run(metrics, hooks)
    assert outcome.finished
    assert outcome.checkpoint.manifest.step == 4
    assert outcome.checkpoint.manifest.validation is not None
    run.model(torch.zeros(1, 2, dtype=torch.int64))
