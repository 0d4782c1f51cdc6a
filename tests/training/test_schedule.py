"""The learning rate's course."""

import pytest
import torch

from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import CheckpointError, ConfigError
from gpt_pipeline.runtime.device import choose_device
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.training import RunLength, TrainState
from gpt_pipeline.training.schedule import learning_rate

MODEL = ["model.learning_rate=1.0", "model.min_lr=0.1", "model.warmup_steps=10"]


def course(*words):
    config = compose(
        [*MODEL, "model.micro_batch_size=2", "model.grad_accumulation=3", *words]
    ).config
    length = RunLength(config.model, config.schedule, windows_per_epoch=100)
    rates = []
    for step in range(length.num_steps):
        state = TrainState(step=step, position=step * length.windows_per_step)
        rates.append(
            learning_rate(config.model, config.schedule, step, length.progress_after_warmup(state))
        )
    return rates


def test_warm_up_is_linear_then_a_cosine_falls_to_the_minimum():
    rates = course("schedule=cosine", "schedule.max_steps=110")
    assert rates[:3] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)  # half way down
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_wsd_stays_and_then_falls_in_a_straight_line():
    rates = course("schedule=wsd", "schedule.decay_share=0.25", "schedule.max_steps=110")
    assert rates[:3] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert rates[10:86] == pytest.approx([1.0] * 76)
    assert rates[90] == pytest.approx(1 - 0.9 * 5 / 25)
    assert rates[-1] == pytest.approx(0.1 + 0.9 / 25)


def test_the_epochs_decide_the_steps_unless_max_steps_is_set():
    assert len(course("model.num_epochs=3")) == 50
    assert len(course("model.num_epochs=3", "schedule.max_steps=7")) == 7


def test_a_warm_up_longer_than_the_run_only_rises():
    rates = course("schedule.max_steps=5")
    assert rates == sorted(rates)
    assert rates[-1] < 1.0


def test_an_unknown_device_is_named():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ConfigError, match=r"runtime\.device must be .*cpu.*; got cuda"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_precision_that_is_asked_for_is_used(name):
    runtime = compose(["optimizer=adamw", f"runtime.dtype={name}"]).config.runtime
    precision = Precision.choose(runtime, torch.device("cpu"))
    assert precision.name == name
    with precision.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == getattr(torch, name)
    assert precision.scaler().is_enabled() == (name == "float16")


def test_a_state_of_other_fields_is_refused():
    values = TrainState().as_dict()
    del values["tokens"]
    with pytest.raises(CheckpointError, match="tokens"):
        TrainState.from_dict(values)
