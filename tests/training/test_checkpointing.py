"""Checkpoints that cannot be saved, checkpoints saved beside the training, and saving at the
end.
"""

import threading

import pytest
import torch

from gpt_pipeline.checkpoint import CheckpointStore, open_checkpoint
from gpt_pipeline.errors import CheckpointError

NO_EVALUATION = ("model.eval_freq=100", "checkpoint.save_every=3")


def failing(monkeypatch, when):
    """Let saves fail while `when` says so of their step; gives the steps that were tried."""
    save, tried = CheckpointStore.save, []

    def sometimes(store, weights, part):
        tried.append(part.step)
        if when(part.step, len(tried)):
            raise CheckpointError("cannot save: no space left")
        return save(store, weights, part)

    monkeypatch.setattr(CheckpointStore, "save", sometimes)
    return tried


@pytest.mark.parametrize("background", ["true", "false"])
def test_a_full_disk_in_mid_run_is_a_warning_each_time_and_tried_again(
    small_run, monkeypatch, caplog, background
):
    run = small_run(
        *NO_EVALUATION, f"checkpoint.background={background}", "checkpoint.retry_after_s=0"
    )
    tried = failing(monkeypatch, lambda step, tries: step < 6)
    assert run.go().finished
    early = [step for step in tried if step < 6]
    assert early == [3, 4, 5] or (background == "true" and len(early) > 1)
    assert caplog.text.count("no space left; training continues, retrying") == len(early)
    assert {int(p.name[-8:]) for p in run.store.root.glob("small-*")} == {6, 9, 12}


def test_a_failed_save_waits_before_it_is_tried_again(small_run, monkeypatch):
    run = small_run(*NO_EVALUATION, "checkpoint.retry_after_s=3600")
    tried = failing(monkeypatch, lambda step, tries: step == 3)
    assert run.go().finished
    assert tried == [3, 6, 9, 12]


def test_the_last_checkpoint_is_tried_three_times(small_run, monkeypatch, caplog):
    run = small_run(*NO_EVALUATION, "schedule.max_steps=2", "checkpoint.retry_after_s=0.2")
    tried = failing(monkeypatch, lambda step, tries: tries < 3)
    assert run.go().checkpoint.manifest.step == 2
    assert tried == [2, 2, 2]
    assert caplog.text.count("retrying in 0.2 s") == 2


def test_a_run_that_ends_unsaved_is_an_error_that_says_what_is_left(small_run, monkeypatch):
    run = small_run(*NO_EVALUATION, "schedule.max_steps=4", "checkpoint.retry_after_s=0")
    tried = failing(monkeypatch, lambda step, tries: step == 4)
    with pytest.raises(CheckpointError) as caught:
        run.go()
    assert tried == [3, 4, 4, 4]
    assert "no space left; the steps since" in str(caught.value)
    assert "small-step-00000003 are lost; free some space" in str(caught.value)
    open_checkpoint(run.store.root / "small-step-00000003")


def test_a_stop_tries_once_only(small_run, monkeypatch):
    run = small_run(*NO_EVALUATION)
    tried = failing(monkeypatch, lambda step, tries: True)
    with pytest.raises(CheckpointError, match="the start are lost"):
        run.go(stop_after=2)
    assert tried == [2]


def test_training_goes_on_while_a_checkpoint_is_written_and_never_two_at_once(
    small_run, monkeypatch
):
    run = small_run(*NO_EVALUATION)
    release, save = threading.Event(), CheckpointStore.save
    inside, seen_during_write, most = [], [], []

    def slow(store, weights, part):
        inside.append(part.step)
        most.append(len(inside))
        if part.step == 3:
            assert release.wait(60)
            seen_during_write.append(run.trainer.state.step)
        checkpoint = save(store, weights, part)
        inside.remove(part.step)
        return checkpoint

    batch = run.train.batch

    def releasing(position, count):
        if run.trainer.state.step == 5:  # the next save is due after this step
            threading.Timer(0.2, release.set).start()
        return batch(position, count)

    monkeypatch.setattr(CheckpointStore, "save", slow)
    run.train.batch = releasing
    assert run.go().finished
    assert seen_during_write[0] >= 5
    assert most == [1, 1, 1, 1]


def test_a_checkpoint_holds_the_step_at_which_its_writing_began(small_run, monkeypatch):
    """What training changes while the thread writes does not get into the checkpoint."""
    whole = small_run(*NO_EVALUATION, "checkpoint.background=false", name="whole")
    whole.go()
    run = small_run(*NO_EVALUATION)
    save = CheckpointStore.save

    def late(store, weights, part):
        for _ in range(1000):
            if run.trainer.state.step >= part.step + 2 or run.trainer.state.step >= 11:
                break
            threading.Event().wait(0.005)
        return save(store, weights, part)

    monkeypatch.setattr(CheckpointStore, "save", late)
    run.go()
    for step in (6, 9, 12):
        checkpoints = [
            open_checkpoint(one.store.root / f"small-step-{step:08d}") for one in (whole, run)
        ]
        for left, right in zip(*(b.weights().items() for b in checkpoints), strict=True):
            assert torch.equal(left[1], right[1])
        for left, right in zip(*(b.training()[0].items() for b in checkpoints), strict=True):
            assert torch.equal(left[1], right[1])


def test_without_background_no_thread_is_started(small_run, monkeypatch):
    threads = []
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda self: (threads.append(self.name), start(self))
    )
    small_run(*NO_EVALUATION, "checkpoint.background=false").go()
    assert threads == []
    small_run(*NO_EVALUATION, name="beside").go()
    assert [name.startswith("checkpoint-writer") for name in threads] == [True]


@pytest.mark.parametrize("steps", [4, 12])
def test_the_checkpoint_is_saved_before_the_hook_of_an_evaluation(small_run, steps):
    run = small_run(f"schedule.max_steps={steps}", "checkpoint.background=false")
    saved = []
    run.evaluated = type("Seen", (), {"append": lambda _, step: saved.append(last_step(run))})()
    run.go()
    assert saved == list(range(4, steps + 1, 4))  # each evaluation is the best so far, or the last


def last_step(run):
    return max(int(path.name[-8:]) for path in run.store.root.glob("small-step-*"))
