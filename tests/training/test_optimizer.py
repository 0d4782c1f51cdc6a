"""Muon with AdamW as one optimizer: who moves what, and that a resume is the same run."""

import pytest
import torch
from test_trainer import equal, lines, weights
from torch import nn

from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import CheckpointError, ConfigError
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.training.optimizer import (
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_learning_rate,
    training_bytes,
)
from gpt_pipeline.training.step import OptimizerStep

MUON = ("optimizer=muon", "schedule=wsd")


@pytest.mark.parametrize("blocks", ["gpt2", "qwen3"])
def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest(small_run, blocks):
    run = small_run(*MUON, f"block={blocks}")
    run.go(stop_after=1)
    held = optimizer_tensors(run.model, run.trainer.step.optimizer)
    for name, parameter in run.model.named_parameters():
        matrix = name.startswith("blocks.") and parameter.dim() == 2
        moments = {"momentum_buffer"} if matrix else {"exp_avg", "exp_avg_sq", "step"}
        assert {k.rpartition(".")[2] for k in held if k.startswith(f"{name}.")} == moments


@pytest.mark.parametrize("stop_after", [1, 4, 7, 11])
def test_a_run_with_muon_stopped_and_resumed_is_the_same_run(small_run, stop_after):
    words = (*MUON, "block=qwen3", "block.num_kv_heads=1")
    whole = small_run(*words, name="whole")
    whole.go()
    small_run(*words, name="parts").go(stop_after=stop_after)
    second = small_run(*words, name="parts")
    assert second.go().finished
    assert equal(weights(whole), weights(second))
    assert lines(whole) == lines(second)


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
    set_learning_rate(optimizer, 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.03, 0.01, 0.01]


def test_weights_move_by_the_learning_rate_of_their_group(small_run):
    """A step of Muon is a matrix of root mean square 0.2 times the rate, as AdamW's steps are."""
    run = small_run(*MUON, "model.weight_decay=0", "optimizer.muon_lr_scale=2.0")
    optimizer = run.trainer.step.optimizer
    matrix = run.model.blocks[0].feed_forward.up.weight  # 24 x 16
    before = matrix.detach().clone()
    for parameter in run.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    set_learning_rate(optimizer, 0.01)
    optimizer.step()
    moved = (matrix.detach() - before).pow(2).mean().sqrt().item()
    largest = 0.2 * 0.01 * 2.0  # of a 24 x 16 matrix with 16 singular values of 1
    assert 0.6 * largest < moved < 1.3 * largest


def test_the_state_of_another_optimizer_is_refused(small_run):
    adamw = small_run(name="adamw")
    adamw.go(stop_after=1)
    tensors = optimizer_tensors(adamw.model, adamw.trainer.step.optimizer)
    muon = small_run(*MUON, name="muon")
    with pytest.raises(CheckpointError, match=r"unusable blocks\.0\.attention\.qkv\.weight\."):
        load_optimizer_tensors(muon.model, muon.trainer.step.optimizer, tensors)


def test_muon_without_matrices_in_blocks_is_refused():
    config = compose(["optimizer=muon"]).config
    with pytest.raises(ConfigError, match="matrices in its blocks; got none; use optimizer=adamw"):
        make_optimizer(nn.Linear(3, 2), config.model, config.optimizer)


def test_muon_with_float16_is_refused():
    with pytest.raises(ConfigError, match=r"runtime\.dtype=bfloat16 or float32; got float16"):
        compose(["optimizer=muon", "runtime.dtype=float16"])


def test_muon_where_the_hardware_chose_float16_is_refused():
    config = compose(["model=tiny", "optimizer=muon", "model.vocab_size=257"]).config
    half = Precision(torch.device("cpu"), torch.float16)
    with pytest.raises(ConfigError, match=r"runtime\.dtype=bfloat16 or float32; got float16"):
        OptimizerStep(GPTModel(config.gpt_config()), config, half)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_memory_said_is_that_of_the_tensors(small_run, name):
    run = small_run(f"optimizer={name}")
    run.go(stop_after=1)
    step = run.trainer.step
    moments = optimizer_tensors(run.model, step.optimizer).values()
    held = [
        *moments,
        *(p for p in run.model.parameters()),
        *(p.grad for p in run.model.parameters()),
    ]
    real = sum(t.numel() * t.element_size() for t in held if t.dim() > 0)  # a step has none
    assert training_bytes(run.model, run.config.optimizer) == real
