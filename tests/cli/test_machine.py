"""Whether generation's forward pass is compiled, and the line that is logged."""

import logging

import pytest
import torch

from gpt_pipeline.cli.machine import compiled_decoder
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.inference.native import CompilerMissing

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def _no_compiler():
    raise CompilerMissing("as there is none")


def decoder(caplog, device, *words):
    caplog.set_level(logging.INFO, logger="gpt_pipeline")
    return compiled_decoder(compose(words).config.runtime, device)


def test_generation_without_a_compiler_goes_on_and_says_so(caplog, monkeypatch):
    monkeypatch.setattr("gpt_pipeline.cli.machine.load_library", _no_compiler)
    assert decoder(caplog, CPU) is None
    assert "compile: off as there is none" in caplog.text


def test_generation_compiled_by_all_means_needs_a_compiler(caplog, monkeypatch):
    monkeypatch.setattr("gpt_pipeline.cli.machine.load_library", _no_compiler)
    with pytest.raises(ConfigError, match="cannot compile generation's forward pass, as there"):
        decoder(caplog, CPU, "runtime.compile=true")


@pytest.mark.parametrize(("device", "words"), [(CUDA, ()), (CPU, ("runtime.compile=false",))])
def test_generation_is_compiled_on_a_cpu_where_it_may_be(caplog, monkeypatch, device, words):
    monkeypatch.setattr("gpt_pipeline.cli.machine.load_library", _no_compiler)
    assert decoder(caplog, device, *words) is None
    assert caplog.text == ""
