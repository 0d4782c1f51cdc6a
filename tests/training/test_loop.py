"""The loop: its arithmetic, its evaluations, its checkpoints, and that a resume is the same run."""

import json
import math

import numpy as np
import pytest
import torch
from small_run import CLOCKED
from torch.nn import functional

from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.tracking.metrics_file import read_metrics


def weights(run):
    return {name: tensor.clone() for name, tensor in run.model.state_dict().items()}


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def lines(run):
    """metrics.jsonl without what depends on the clock."""
    entries = read_metrics(run.root / "metrics.jsonl")
    return [{k: v for k, v in e.items() if k not in CLOCKED} for e in entries]


def test_a_run_sees_every_window_in_order_and_ends_complete(small_run):
    run = small_run()
    outcome = run.go()
    assert outcome.finished
    assert run.train.asked == list(range(12 * 4))
    assert run.trainer.state.tokens == 12 * 4 * 8
    assert run.evaluated == [4, 8, 12]
    assert outcome.checkpoint.manifest.step == 12
    assert outcome.checkpoint.manifest.validation["tokens"] == 20 * 8


def test_training_lowers_the_loss(small_run):
    run = small_run("schedule.max_steps=150", "model.learning_rate=1e-2", "model.eval_freq=50")
    run.go()
    losses = [entry["train_loss"] for entry in lines(run)]
    assert losses[0] == pytest.approx(math.log(257), rel=0.02)
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("stop_after", range(1, 12))
def test_a_run_stopped_anywhere_and_resumed_is_the_same_run(small_run, stop_after):
    whole = small_run(name="whole")
    whole.go()
    first = small_run(name="parts")
    assert not first.go(stop_after=stop_after).finished
    second = small_run(name="parts")
    assert second.go().finished
    assert equal(weights(whole), weights(second))
    assert lines(whole) == lines(second)


def test_a_run_killed_between_checkpoints_and_resumed_is_the_same_run(small_run):
    whole = small_run(name="whole")
    whole.go()
    killed = small_run(name="parts")
    steps, batch = iter(range(100)), killed.train.batch

    def die(position, count):
        if next(steps) == 7:
            raise KeyboardInterrupt
        return batch(position, count)

    killed.train.batch = die
    with pytest.raises(KeyboardInterrupt):
        killed.go()
    resumed = small_run(name="parts")
    resumed.go()
    assert equal(weights(whole), weights(resumed))
    assert lines(whole) == lines(resumed)


def test_the_default_random_state_is_part_of_the_state(small_run):
    """With dropout, a resume that re-seeded would go another way."""
    whole = small_run(name="whole")
    whole.go()
    small_run(name="parts").go(stop_after=5)
    torch.manual_seed(12345)
    resumed = small_run(name="parts")
    torch.manual_seed(54321)
    resumed.go()
    assert equal(weights(whole), weights(resumed))


@pytest.mark.parametrize(("size", "accumulation"), [(8, 1), (4, 2), (2, 4), (1, 8)])
def test_accumulated_gradients_equal_the_big_batch(small_run, size, accumulation):
    off = [f"model.{part}_dropout_rate=0" for part in ("emb", "mha", "ffn")]
    words = [*off, "schedule.max_steps=3"]
    big = small_run(*words, "model.micro_batch_size=8", "model.grad_accumulation=1", name="big")
    big.go()
    split = small_run(
        *words, f"model.micro_batch_size={size}", f"model.grad_accumulation={accumulation}",
        name="split",
    )  # fmt: skip
    split.go()
    for name, tensor in weights(big).items():
        torch.testing.assert_close(weights(split)[name], tensor, rtol=0, atol=2e-5)


def test_the_mean_is_over_tokens_not_over_micro_batches(small_run):
    """One window with a single token that counts must not weigh as much as a full one."""
    run = small_run(*[f"model.{part}_dropout_rate=0" for part in ("emb", "mha", "ffn")])
    inputs, targets = run.train.batch(0, 2)
    targets[1, 1:] = -100
    together = run.trainer.step((inputs, targets), micro_batch_size=2, lr=0.0)
    apart = run.trainer.step((inputs, targets), micro_batch_size=1, lr=0.0)
    assert together.tokens == apart.tokens == 9
    assert together.loss == pytest.approx(apart.loss, rel=1e-6)
    assert together.grad_norm == pytest.approx(apart.grad_norm, rel=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 16, 1000])
def test_head_and_loss_in_parts_have_the_gradient_of_the_whole(small_run, monkeypatch, rows):
    run = small_run(*[f"model.{part}_dropout_rate=0" for part in ("emb", "mha", "ffn")])
    monkeypatch.setattr(
        "gpt_pipeline.model.linear_cross_entropy._LOGITS_PER_CHUNK", {"cpu": rows * 257}
    )
    monkeypatch.setattr(
        "gpt_pipeline.model.linear_cross_entropy._PROBABILITIES_PER_THREAD", 5 * 257
    )
    inputs, targets = run.train.batch(0, 2)
    targets[1, 3:] = -100
    tokens, loss = run.trainer.step.loss_and_gradient((inputs, targets), 2)
    found = {name: p.grad.clone() for name, p in run.model.named_parameters()}
    run.model.zero_grad()
    logits = run.model(torch.from_numpy(inputs))
    whole = functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten())
    whole.backward()
    assert tokens == 11
    torch.testing.assert_close(loss, whole.detach())
    for name, parameter in run.model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-6)


def test_an_epoch_that_does_not_divide_ends_with_a_smaller_step(small_run):
    run = small_run("schedule.max_steps=null", "model.grad_accumulation=3", "model.num_epochs=2")
    run.go()
    assert run.trainer.length.num_steps == 7  # 40 windows, 6 a step
    assert run.train.asked == list(range(40))


def test_the_last_three_checkpoints_and_the_best_are_kept(small_run, monkeypatch):
    run = small_run("schedule.max_steps=30", "model.learning_rate=0.3", "model.min_lr=0.3")
    saved, save = {}, type(run.store).save

    def recorded(store, state, part):
        saved[part.step] = part.val_loss
        return save(store, state, part)

    monkeypatch.setattr(type(run.store), "save", recorded)
    run.go()
    looked = {step: loss for step, loss in saved.items() if loss is not None}
    kept = {int(path.name[-8:]) for path in run.store.root.glob("small-step-*")}
    assert kept == {*sorted(saved)[-3:], min(looked, key=looked.get)}
    assert len(saved) > 8


def test_a_step_that_is_not_finite_never_reaches_the_weights(small_run):
    run = small_run("schedule.max_steps=4", "model.eval_freq=100")
    batch, before = run.train.batch, None

    def poisoned(position, count):
        nonlocal before
        if position == 8:
            before = weights(run)
            run.model.embedding.token.weight.data[5, 3] = float("inf")
        if position == 12:
            run.model.embedding.token.weight.data[5, 3] = before["embedding.token.weight"][5, 3]
            assert equal(weights(run), before)
        return batch(position, count)

    run.train.batch = poisoned
    assert run.go().finished
    assert run.trainer.state.skipped_steps == 1
    assert all(tensor.isfinite().all() for tensor in weights(run).values())
    for line in (run.root / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # no NaN in JSON


def test_without_validation_data_a_run_completes(small_run):
    run = small_run(val=False)
    outcome = run.go()
    assert outcome.finished
    assert outcome.checkpoint.manifest.val_loss is None
    assert not any("val_loss" in entry for entry in lines(run))


def test_max_minutes_ends_the_run_with_its_schedule_complete(small_run, monkeypatch):
    clock = iter(np.arange(0, 1e6, 0.5))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    run = small_run("schedule.max_steps=100000", "schedule.max_minutes=1", "model.eval_freq=1000")
    outcome = run.go()
    assert outcome.finished
    assert 60 <= run.trainer.state.elapsed_s < 65
    assert run.trainer.state.validation is not None
    assert lines(run)[-1]["lr"] == pytest.approx(run.config.model.min_lr, rel=0.2)


def test_a_resumed_optimizer_refuses_foreign_tensors(small_run):
    run = small_run()
    with pytest.raises(CheckpointError, match=r"unknown parameter: nothing\.exp_avg"):
        run.trainer.step.optimizer.load_state_tensors(
            run.model, {"nothing.exp_avg": torch.zeros(1)}
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("final_norm.weight.exp_avg_sq"),
            "final_norm.weight only exp_avg, step",
        ),
        (lambda t: t.update({"final_norm.weight.exp_avg": torch.zeros(3)}), "unusable final_norm"),
        (
            lambda t: t.update({"final_norm.weight.momentum": torch.zeros(16)}),
            "unusable final_norm",
        ),
    ],
    ids=["missing", "shape", "name"],
)
def test_a_resumed_optimizer_refuses_moments_that_do_not_fit(small_run, change, message):
    run = small_run("schedule.max_steps=1")
    run.go()
    optimizer = run.trainer.step.optimizer
    tensors = optimizer.state_tensors(run.model)
    optimizer.load_state_tensors(run.model, tensors)
    change(tensors)
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_tensors(run.model, tensors)


def test_only_matrices_decay(small_run):
    groups = small_run().trainer.step.optimizer.param_groups
    decayed, plain = groups
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0.0
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in plain["params"]} == {1}
