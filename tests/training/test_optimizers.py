"""The optimizers: which parameters they update, their state, and resuming with them."""

from typing import get_args

import pytest
import torch
from test_loop import equal, lines, weights
from torch import nn

from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import CheckpointError, ConfigError
from gpt_pipeline.model import GPTModel
from gpt_pipeline.optimizers import OptimizerConfig
from gpt_pipeline.optimizers.adamw import adamw
from gpt_pipeline.optimizers.muon import _muon
from gpt_pipeline.optimizers.optimizer import unwrapped
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.training.step import OptimizerStep

TAGS = {
    tag: section
    for section in get_args(get_args(OptimizerConfig)[0])
    for tag in get_args(section.model_fields["name"].annotation)
}
OPTIMIZERS = {
    tag: (f"optimizer={tag}", *([f"schedule={s.needs_schedule}"] if s.needs_schedule else []))
    for tag, s in TAGS.items()
}
"""Overrides of every optimizer: a new one is tested without a change here."""
each_optimizer = pytest.mark.parametrize("words", OPTIMIZERS.values(), ids=OPTIMIZERS)
MUON = ("optimizer=muon", "schedule=wsd")


@pytest.mark.parametrize("blocks", ["gpt2", "qwen3"])
def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest(small_run, blocks):
    run = small_run(*MUON, f"block={blocks}")
    run.go(stop_after=1)
    held = run.trainer.step.optimizer.state_tensors(run.model)
    for name, parameter in run.model.named_parameters():
        matrix = name.startswith("blocks.") and parameter.dim() == 2
        moments = {"momentum_buffer"} if matrix else {"exp_avg", "exp_avg_sq", "step"}
        assert {k.rpartition(".")[2] for k in held if k.startswith(f"{name}.")} == moments


@pytest.mark.parametrize("stop_after", [1, 4, 7, 11])
@each_optimizer
def test_a_run_stopped_and_resumed_is_the_same_run(small_run, words, stop_after):
    words = (*words, "block=qwen3", "block.num_kv_heads=1")
    whole = small_run(*words, name="whole")
    whole.go()
    small_run(*words, name="parts").go(stop_after=stop_after)
    second = small_run(*words, name="parts")
    assert second.go().finished
    assert equal(weights(whole), weights(second))
    assert lines(whole) == lines(second)


@each_optimizer
def test_the_update_is_exact_where_evaluations_and_saves_come_between(small_run, words):
    often = ("model.eval_freq=1", "checkpoint.save_every=1", "schedule.max_steps=6")
    seldom = ("model.eval_freq=100", "checkpoint.save_every=100", "schedule.max_steps=6")
    runs = [small_run(*words, *often, name="often"), small_run(*words, *seldom, name="seldom")]
    for run in runs:
        run.go()
    assert equal(weights(runs[0]), weights(runs[1]))


def test_muon_lowers_the_loss(small_run):
    run = small_run(
        *MUON, "schedule.max_steps=60", "model.learning_rate=1e-2", "model.eval_freq=50"
    )
    run.go()
    losses = [entry["train_loss"] for entry in lines(run)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_learning_rate_of_matrices_is_scaled(small_run):
    run = small_run(*MUON, "optimizer.muon_lr_scale=3.0")
    optimizer = run.trainer.step.optimizer
    optimizer.set_learning_rate(0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.03, 0.01, 0.01]


def test_weights_move_by_the_learning_rate_of_their_group(small_run):
    """A step of Muon is a matrix of root mean square 0.2 times the rate, as AdamW's steps are."""
    run = small_run(*MUON, "model.weight_decay=0", "optimizer.muon_lr_scale=2.0")
    optimizer = run.trainer.step.optimizer
    matrix = run.model.blocks[0].feed_forward.up.weight  # 24 x 16
    before = matrix.detach().clone()
    for parameter in run.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.set_learning_rate(0.01)
    optimizer.step()
    moved = (matrix.detach() - before).pow(2).mean().sqrt().item()
    largest = 0.2 * 0.01 * 2.0  # of a 24 x 16 matrix with 16 singular values of 1
    assert 0.6 * largest < moved < 1.3 * largest


def test_the_state_of_another_optimizer_is_refused(small_run):
    adamw = small_run(name="adamw")
    adamw.go(stop_after=1)
    tensors = adamw.trainer.step.optimizer.state_tensors(adamw.model)
    muon = small_run(*MUON, name="muon")
    with pytest.raises(CheckpointError, match=r"unusable blocks\.0\.attention\.qkv\.weight\."):
        muon.trainer.step.optimizer.load_state_tensors(muon.model, tensors)


def test_muon_without_matrices_in_blocks_is_refused():
    config = compose(["optimizer=muon"]).config
    with pytest.raises(ConfigError, match="matrices in its blocks; got none; use optimizer=adamw"):
        config.optimizer.build(nn.Linear(3, 2), learning_rate=1.0, weight_decay=0.0)


def test_muon_with_float16_is_refused():
    with pytest.raises(ConfigError, match=r"runtime\.dtype=bfloat16 or float32; got float16"):
        compose(["optimizer=muon", "runtime.dtype=float16"]).config.check_trainable()


def test_muon_where_the_hardware_chose_float16_is_refused():
    config = compose(["model=tiny", "optimizer=muon", "model.vocab_size=257"]).config
    half = Precision(torch.device("cpu"), torch.float16)
    with pytest.raises(ConfigError, match=r"runtime\.dtype=bfloat16 or float32; got float16"):
        OptimizerStep(GPTModel(config.gpt_config()), config, half)


@each_optimizer
def test_training_bytes_are_those_of_the_tensors(small_run, words):
    run = small_run(*words)
    run.go(stop_after=1)
    step = run.trainer.step
    held = [
        *(tensor for state in step.optimizer.state.values() for tensor in state.values()),
        *(p for p in run.model.parameters()),
        *(p for p in run.model.parameters()),  # the gradients have the same shapes
    ]
    real = sum(t.numel() * t.element_size() for t in held if t.dim() > 0)  # a step has none
    assert run.config.optimizer.training_bytes(run.model) == real


@each_optimizer
def test_frozen_parameters_have_no_state_and_resume(small_run, words):
    def frozen(run):
        for parameter in (*run.model.embedding.parameters(), *run.model.blocks[0].parameters()):
            parameter.requires_grad = parameter.dim() == 2 and parameter.shape[0] != 257
        return run.config.optimizer.build(run.model, learning_rate=0.1, weight_decay=0.1)

    run = small_run(*words)
    optimizer = frozen(run)
    for parameter in run.model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    tensors = optimizer.state_tensors(run.model)
    held = {key.rpartition(".")[0] for key in tensors}
    assert held == {n for n, p in run.model.named_parameters() if p.requires_grad}
    assert "embedding.token.weight" not in held
    again = frozen(run)
    again.load_state_tensors(run.model, tensors)
    assert equal(again.state_tensors(run.model), tensors)
    whole = run.config.optimizer.training_bytes(small_run(*words, name="whole").model)
    frozen_numel = sum(p.numel() for p in run.model.parameters() if not p.requires_grad)
    saved = whole - run.config.optimizer.training_bytes(run.model)
    copies = {"schedulefree": 4}.get(run.config.optimizer.name, 3)  # with the gradient
    assert saved == 4 * copies * frozen_numel


def test_state_of_a_parameter_that_is_frozen_now_is_refused(small_run):
    run = small_run()
    run.go(stop_after=1)
    tensors = run.trainer.step.optimizer.state_tensors(run.model)
    run.model.embedding.token.weight.requires_grad = False
    optimizer = run.config.optimizer.build(run.model, learning_rate=0.1, weight_decay=0.1)
    with pytest.raises(CheckpointError, match=r"embedding\.token\.weight\..*frozen now"):
        optimizer.load_state_tensors(run.model, tensors)


def random_gradients(parameters, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def own_adamw(parameters):
    return adamw(parameters, 0.1, 0.2, (0.9, 0.99), 1e-8)


def own_muon(parameters):
    return _muon(
        [{"params": parameters, "lr_scale": 1.0, "state_names": ()}], lr=0.1, weight_decay=0.2
    )


def torch_adamw(parameters):
    return torch.optim.AdamW(parameters, 0.1, (0.9, 0.99), weight_decay=0.2, fused=True)


def torch_muon(parameters):
    return torch.optim.Muon(parameters, lr=0.1, weight_decay=0.2)


@pytest.mark.parametrize(
    "kinds", [(own_adamw, torch_adamw), (own_muon, torch_muon)], ids=["adamw", "muon"]
)
def test_without_the_wrappers_of_torch_steps_are_those_of_torch(kinds):
    """Guards `unwrapped`: each version of torch in _UNWRAPPED_ON must pass this."""
    ends = []
    for kind in kinds:
        start = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
        weights = [nn.Parameter(start.clone()), nn.Parameter(2 * start)]
        optimizer = kind(weights[:1])
        optimizer.add_param_group({"params": weights[1:], "lr": 0.01, "weight_decay": 0.3})
        for seed in range(5):
            random_gradients(weights, seed)
            optimizer.step()
            optimizer.zero_grad(set_to_none=seed % 2 == 0)
            assert all(w.grad is None if seed % 2 == 0 else not w.grad.any() for w in weights)
        assert all(weight.requires_grad and weight.grad_fn is None for weight in weights)
        state = [tensor for weight in weights for tensor in optimizer.state[weight].values()]
        ends.append([*(weight.detach() for weight in weights), *state])
    assert len(ends[0]) > 3
    assert all(torch.equal(left, right) for left, right in zip(*ends, strict=True))


def test_a_version_of_torch_that_was_not_compared_keeps_its_wrappers(monkeypatch):
    wrapped = torch.optim.Optimizer.zero_grad
    assert unwrapped(wrapped) is not wrapped
    monkeypatch.setattr(torch, "__version__", "99.0.1+cpu")
    assert unwrapped(wrapped) is wrapped
