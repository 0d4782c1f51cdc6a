"""What runtime.compile=auto decides, and the line that it logs."""

import logging

import pytest
import torch

from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.runtime.device import should_compile

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def decide(caplog, device, *words, flops=1e18, minutes=None):
    caplog.set_level(logging.INFO, logger="gpt_pipeline")
    runtime = compose(words).config.runtime
    return should_compile(runtime, device, flops=flops, minutes=minutes)


@pytest.mark.parametrize(
    ("device", "case", "decision"),
    [
        (CPU, {}, False),
        (CUDA, {}, True),
        (CUDA, {"flops": 1e15}, False),
        (CUDA, {"minutes": 2.0}, False),
        (CUDA, {"minutes": 60.0}, True),
    ],
    ids=["cpu", "cuda", "short", "two minutes", "an hour"],
)
def test_auto_compiles_long_runs_on_a_gpu(caplog, device, case, decision):
    assert decide(caplog, device, **case) is decision
    assert caplog.text.count("compile: on" if decision else "compile: off") == 1


@pytest.mark.parametrize("asked", [True, False])
def test_what_was_asked_for_is_done_without_a_word(caplog, monkeypatch, asked):
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/" + name)
    assert decide(caplog, CPU, f"runtime.compile={str(asked).lower()}") is asked
    assert "compile" not in caplog.text


def test_compile_without_a_compiler_is_an_error(caplog, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"runtime\.compile=true needs a C\+\+ compiler"):
        decide(caplog, CPU, "runtime.compile=true")
