"""The step: frozen parameters, and dropout that belongs to the windows."""

import pytest
import torch
from test_loop import equal, weights

from gpt_pipeline.metrics import evaluate, scored
from gpt_pipeline.training.diagnosis import first_not_finite
from gpt_pipeline.training.step import dropout_seeds

FROZEN = ["blocks.0.", "embedding.token.weight"]


def frozen_run(small_run, name, *words):
    run = small_run(*words)
    for key, parameter in run.model.named_parameters():
        if key.startswith(name):
            parameter.requires_grad_(False)
    run.trainer.step.optimizer = run.config.optimizer.build(
        run.model, learning_rate=1e-2, weight_decay=0.1
    )
    return run


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_parameters_do_not_move_and_do_not_count_for_the_norm(small_run, name):
    run = frozen_run(small_run, name)
    step, model = run.trainer.step, run.model
    step.make_interruptible()
    model.train()
    before = {key: tensor.clone() for key, tensor in weights(run).items()}
    for position in (0, 4, 8):
        batch, seeds = run.train.batch(position, 4), dropout_seeds(0, position, 4)
        step.loss_and_gradient(batch, 2, 32, seeds)
        gradients = {key: p.grad for key, p in model.named_parameters()}
        assert {key for key, gradient in gradients.items() if gradient is None} == {
            key for key in gradients if key.startswith(name)
        }
        wanted = torch.stack([g.norm() for g in gradients.values() if g is not None]).norm()
        step.optimizer.zero_grad()
        result = step(batch, micro_batch_size=2, lr=1e-2, tokens=32, seeds=seeds)
        assert result.grad_norm == pytest.approx(wanted.item(), rel=1e-5)
    for key, tensor in weights(run).items():
        assert torch.equal(tensor, before[key]) == key.startswith(name), key
    assert "not reproducible" in first_not_finite(step, batch, 2, seeds)


def test_a_step_with_dropout_does_not_depend_on_its_micro_batches(small_run):
    """The dropout belongs to the windows: other micro-batches, the same loss and norm."""
    run = small_run()
    run.model.train()
    batch, seeds = run.train.batch(0, 4), dropout_seeds(0, 0, 4)
    results = [
        run.trainer.step(batch, micro_batch_size=size, lr=0.0, seeds=seeds) for size in (1, 2, 3, 4)
    ]
    other = run.trainer.step(batch, micro_batch_size=4, lr=0.0, seeds=seeds + 1)
    for result in results:
        assert result.loss == pytest.approx(results[0].loss, rel=1e-6)
        assert result.grad_norm == pytest.approx(results[0].grad_norm, rel=1e-5)
    assert other.loss != pytest.approx(results[0].loss, rel=1e-4)


def test_seeds_differ_between_windows_epochs_and_runs():
    seeds = torch.cat([dropout_seeds(run, 0, 1000) for run in (0, 1, 2**63 - 1)])
    assert len(seeds.unique()) == 3000
    assert torch.equal(dropout_seeds(1, 400, 7), dropout_seeds(1, 0, 1000)[400:407])


def test_a_run_resumes_the_same_whatever_torch_draws_meanwhile(small_run, monkeypatch):
    """On a CPU the dropout needs no random state of the checkpoint."""
    whole = small_run(name="whole")
    whole.go()
    small_run(name="parts").go(stop_after=6)
    monkeypatch.setattr("gpt_pipeline.training.state.set_random_states", lambda *_: None)
    rest = small_run(name="parts")
    torch.manual_seed(12345)
    assert rest.go().finished
    assert equal(weights(rest), weights(whole))


def test_the_loss_of_the_model_is_the_one_of_an_evaluation(small_run):
    run = small_run()
    model, precision = run.model.eval(), run.trainer.precision
    inputs, targets = map(torch.from_numpy, run.train.batch(0, 3))
    targets[1, 4:] = -100
    found = evaluate(scored(model, precision, [(inputs, targets)]), bytes_per_token=1.0)
    assert model(inputs, targets).item() / found.tokens == pytest.approx(found.loss, rel=1e-6)
