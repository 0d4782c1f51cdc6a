"""Steps that are not finite: skipped, then back to the last good checkpoint, then the end."""

import contextlib
import logging
import math
from dataclasses import replace

import pytest
import torch

from gpt_pipeline.errors import TrainingError
from gpt_pipeline.metrics.evaluator import Evaluator
from gpt_pipeline.tracking.metrics_file import read_metrics

BAD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def poison(run, steps, value=math.nan, times=10**9):
    """Make the loss of the steps so-and-so bad, the first `times` times."""
    left = dict.fromkeys(steps, times)
    compute, state = run.model, run.trainer.state

    def network(*args):
        found = compute(*args)
        if left.get(state.step + 1, 0) > 0:
            left[state.step + 1] -= 0.5  # two micro-batches a step
            found = found * value
        return found

    run.trainer.step.network = network
    return run


def weights(run):
    return run.model.state_dict()


def equal(left, right):
    return all(torch.equal(left[key], right[key]) for key in left)


def steps_of(run):
    return [e["step"] for e in read_metrics(run.root / "metrics.jsonl") if "train_loss" in e]


WORDS = ("runtime.max_bad_steps=3", "schedule.max_steps=20", "checkpoint.background=false")


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_a_lone_bad_step_is_skipped_counted_and_said(small_run, caplog, value):
    run = poison(small_run(*WORDS), [5], value)
    assert run.go().finished
    assert (run.trainer.state.skipped_steps, run.trainer.state.rollbacks) == (1, 0)
    assert "skipped step 5: loss" in caplog.text
    assert all(tensor.isfinite().all() for tensor in weights(run).values())


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_an_accident_leads_back_to_the_last_checkpoint_and_leaves_no_trace(
    small_run, caplog, value
):
    whole = small_run(*WORDS, name="whole")
    whole.go()
    run = poison(small_run(*WORDS), [8, 9, 10], value, times=1)
    assert run.go().finished
    assert "3 consecutive steps were not finite: rolled back to" in caplog.text
    assert "small-step-00000006, learning rate times 1 from there" in caplog.text
    assert equal(weights(run), weights(whole))
    assert steps_of(run) == list(range(1, 21))
    assert run.trainer.state.skipped_steps == 3
    assert run.trainer.state.rollbacks == 0  # it got past


def test_the_second_time_halves_the_learning_rate(small_run):
    whole = small_run(*WORDS, name="whole")
    whole.go()
    run = poison(small_run(*WORDS), [8, 9, 10], times=2)
    assert run.go().finished
    assert run.trainer.state.lr_scale == 0.5
    rates = {
        run.root.name: [e["lr"] for e in read_metrics(run.root / "metrics.jsonl") if "lr" in e]
        for run in (run, whole)
    }
    halves = [a / b for a, b in zip(rates["run"], rates["whole"], strict=True)]
    assert halves == pytest.approx([1.0] * 6 + [0.5] * 14)


def test_a_run_with_half_the_learning_rate_keeps_it_when_it_is_resumed(small_run):
    whole = poison(small_run(*WORDS, name="whole"), [8, 9, 10], times=2)
    whole.go()
    poison(small_run(*WORDS, name="parts"), [8, 9, 10], times=2).go(stop_after=14)
    rest = small_run(*WORDS, name="parts")
    assert rest.go().finished
    assert rest.trainer.state.lr_scale == 0.5
    assert equal(weights(rest), weights(whole))


def test_the_third_time_stops_with_a_report_of_where_it_began(small_run):
    run = poison(small_run(*WORDS), [8, 9, 10])
    with pytest.raises(TrainingError) as caught:
        run.go()
    first, began, where, good, advice = str(caught.value).splitlines()
    assert first.startswith(
        "training stops at step 10: 3 consecutive steps were not finite, for the"
    )
    assert began.startswith("the first was step 8: loss nan, gradient norm nan, lr ")
    assert "on training windows 28 to 31" in where
    assert good.startswith("the last good step was step 7: loss 5.")
    assert "small-step-00000006 was saved before" in advice
    assert "model.learning_rate" in advice
    checkpoint = run.store.newest_good()
    assert checkpoint.manifest.step == 6
    assert all(tensor.isfinite().all() for tensor in checkpoint.weights().values())


def test_without_a_checkpoint_the_run_goes_back_to_its_start(small_run, caplog):
    whole = small_run(*WORDS, "checkpoint.save_every=100", "model.eval_freq=100", name="whole")
    whole.go()
    run = small_run(*WORDS, "checkpoint.save_every=100", "model.eval_freq=100")
    poison(run, [3, 4, 5], times=1)
    assert run.go().finished
    assert "rolled back to the start" in caplog.text
    assert equal(weights(run), weights(whole))
    assert steps_of(run) == list(range(1, 21))


def test_a_trouble_that_was_passed_is_forgotten(small_run):
    """Three accidents far apart are not one that repeats itself."""
    run = poison(small_run(*WORDS), [4, 5, 6, 10, 11, 12, 16, 17, 18], times=1)
    assert run.go().finished
    assert run.trainer.state.lr_scale == 1.0


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        (
            lambda m: m.blocks[0].feed_forward.up.weight.data.fill_(3e38),
            "the output of blocks.0.feed_",
        ),
        (lambda m: m.final_norm.weight.data.fill_(math.nan), "the weights final_norm.weight"),
    ],
    ids=["overflow", "weights"],
)
def test_the_report_names_the_first_part_that_is_not_finite(small_run, damage, where):
    run = small_run(*WORDS, "checkpoint.save_every=100", "model.eval_freq=100")
    batch = run.train.batch

    def damaging(position, count):
        if position >= 12:
            damage(run.model)
        return batch(position, count)

    run.train.batch = damaging
    with pytest.raises(TrainingError) as caught:
        run.go()
    assert where in str(caught.value)
    assert run.trainer.step.network is run.model
    assert not any(module._forward_hooks for module in run.model.modules())


def test_weights_that_are_not_finite_never_become_a_checkpoint(small_run, caplog, monkeypatch):
    """The last checkpoint must be a good one, even if the damage comes between two steps."""
    run = small_run("schedule.max_steps=6", "checkpoint.retry_after_s=0", "model.eval_freq=100")
    checkpointer = run.trainer.checkpointer
    save, bias = checkpointer.save_if_due, run.model.final_norm.bias.data

    def damaged(*args, **kwargs):
        if run.trainer.state.step == 3:
            kept = bias.clone()
            bias[1] = math.nan
            save(*args, **kwargs)
            checkpointer.poll(wait=True)
            bias.copy_(kept)
        else:
            save(*args, **kwargs)

    monkeypatch.setattr(checkpointer, "save_if_due", damaged)
    assert run.go().finished
    assert "final_norm.bias has a value that is not finite" in caplog.text
    assert {p.name for p in run.store.root.glob("small-*")} >= {"small-step-00000004"}
    assert not (run.store.root / "small-step-00000003").exists()


@pytest.mark.parametrize("rate", ["1e3", "1e30"])
def test_a_mad_learning_rate_leaves_only_finite_checkpoints(small_run, caplog, rate):
    caplog.set_level(logging.INFO)
    run = small_run(*WORDS, f"model.learning_rate={rate}", f"model.min_lr={rate}")
    with contextlib.suppress(TrainingError):
        run.go()
    checkpoint = run.store.newest_good()
    if checkpoint is not None:
        assert all(tensor.isfinite().all() for tensor in checkpoint.weights().values())


def test_a_save_that_falls_on_a_skipped_step_is_made_up_at_the_next_good_one(small_run):
    run = poison(small_run(*WORDS, "model.eval_freq=100"), [6])
    run.go()
    kept = {int(path.name[-8:]) for path in run.store.root.glob("small-*")}
    assert kept == {15, 18, 20}
    run = poison(
        small_run(*WORDS, "model.eval_freq=100", "checkpoint.keep_last=9", name="all"), [6]
    )
    run.go()
    assert {int(path.name[-8:]) for path in run.store.root.glob("small-*")} >= {3, 7, 9}


def test_a_stop_at_a_skipped_step_saves_it_and_the_run_stays_the_same(small_run):
    words = (*WORDS, "model.eval_freq=4")
    whole = poison(small_run(*words, name="whole"), [8])
    whole.go()
    poison(small_run(*words, name="parts"), [8]).go(stop_after=8)
    rest = small_run(*words, name="parts")
    assert rest.store.newest_good().manifest.step == 8
    assert rest.go().finished
    assert equal(weights(rest), weights(whole))
    assert rest.trainer.state.skipped_steps == 1


def test_a_run_whose_last_figures_are_not_finite_still_ends_saved(small_run, monkeypatch):
    run = small_run(*WORDS, "schedule.max_steps=3")
    evaluate = Evaluator.__call__
    not_finite = lambda *args: replace(evaluate(*args), loss=math.nan)  # noqa: E731
    monkeypatch.setattr(Evaluator, "__call__", not_finite)
    assert run.go().checkpoint.manifest.validation is None
    assert run.store.newest_good().manifest.step == 3
