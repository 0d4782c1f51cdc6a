"""Schedule-free AdamW: equal to the authors' library; its averaged weights are what is saved."""

import pytest
import torch
from test_loop import equal, lines, weights
from torch import nn

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError

FREE = ("optimizer=schedulefree", "schedule=constant")


def own(module, **options):
    config = compose(["model=tiny", *FREE]).config.optimizer
    return config.build(module, **options)


def test_steps_and_averages_are_those_of_the_library():
    library = pytest.importorskip("schedulefree", reason="needs schedulefree: make install-dev")
    torch.manual_seed(0)
    modules = [nn.Linear(5, 3), nn.Linear(5, 3)]
    modules[1].load_state_dict(modules[0].state_dict())
    ours = own(modules[0], learning_rate=0.1, weight_decay=0.2)
    groups = [
        {"params": [modules[1].weight], "weight_decay": 0.2},
        {"params": [modules[1].bias], "weight_decay": 0.0},
    ]
    theirs = library.AdamWScheduleFree(groups, betas=(0.9, 0.99), eps=1e-8)
    theirs.train()
    for step in range(20):
        lr = 0.1 * min(1.0, (step + 1) / 5)
        ours.set_learning_rate(lr)
        for group in theirs.param_groups:
            group["lr"] = lr
        for left, right in zip(*(m.parameters() for m in modules), strict=True):
            left.grad = torch.randn_like(left)
            right.grad = left.grad.clone()
        ours.step()
        theirs.step()
        for left, right in zip(*(m.parameters() for m in modules), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    theirs.eval()
    with ours.evaluation_weights():
        for left, right in zip(*(m.parameters() for m in modules), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_evaluation_weights_are_exchanged_and_restored_exactly(small_run):
    run = small_run(*FREE)
    run.go(stop_after=5)
    optimizer, before = run.trainer.step.optimizer, weights(run)
    with optimizer.evaluation_weights():
        averaged = weights(run)
    assert equal(weights(run), before)
    assert not equal(averaged, before)
    with pytest.raises(KeyError), optimizer.evaluation_weights():
        raise KeyError
    assert equal(weights(run), before)


def test_checkpoints_hold_the_averaged_weights_that_were_evaluated(small_run):
    run = small_run(*FREE)
    seen = {}
    seen_at = type("Seen", (), {"append": lambda _, step: seen.update({step: weights(run)})})
    run.evaluated = seen_at()
    run.go(stop_after=4)
    saved = open_checkpoint(run.store.root / "small-step-00000004")
    assert equal(saved.weights(), seen[4])
    with run.trainer.step.optimizer.evaluation_weights():
        assert equal(saved.weights(), weights(run))
    names = {key.rpartition(".")[2] for key in saved.training()[0]}
    assert names == {"z", "exp_avg_sq", "step", "weight_sum"}


def test_it_lowers_the_loss(small_run):
    run = small_run(
        *FREE, "schedule.max_steps=60", "model.learning_rate=2e-2", "model.eval_freq=50"
    )
    run.go()
    losses = [entry["train_loss"] for entry in lines(run)]
    assert losses[-1] < 0.8 * losses[0]


def test_another_schedule_is_refused():
    with pytest.raises(ConfigError) as caught:
        compose(["optimizer=schedulefree", "schedule=cosine"])
    assert str(caught.value) == (
        "optimizer=schedulefree needs schedule=constant; got cosine; add schedule=constant"
    )
