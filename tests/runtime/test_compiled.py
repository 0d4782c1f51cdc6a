"""Compiled steps: one compilation, and what happens when it fails."""

import pytest
import torch

from gpt_pipeline.errors import TrainingError
from gpt_pipeline.runtime.compiled import Compiled


class Failing:
    """In place of torch.compile: gives a function that cannot be compiled."""

    def __init__(self, plain, **options):
        self.calls = 0

    def __call__(self, *tensors):
        self.calls += 1
        raise torch._dynamo.exc.BackendCompilerFailed(self, RuntimeError("no linker"), None)


def test_a_compilation_that_fails_is_one_warning_and_the_run_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(torch, "compile", Failing)
    double = Compiled(lambda x: 2 * x, required=False)
    for _ in range(3):
        assert torch.equal(double(torch.ones(2)), torch.full((2,), 2.0))
    assert caplog.text.count("compile: failed, so the run continues without it") == 1
    assert "no linker" in caplog.text


def test_a_compilation_that_was_asked_for_and_fails_is_an_error(monkeypatch):
    monkeypatch.setattr(torch, "compile", Failing)
    double = Compiled(lambda x: 2 * x, required=True)
    with pytest.raises(TrainingError, match=r"runtime\.compile=true, and torch.compile failed"):
        double(torch.ones(2))


def test_what_the_machine_lacks_for_a_compilation_is_one_warning(monkeypatch, caplog):
    def no_user(*tensors):
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(torch, "compile", lambda plain, **options: no_user)
    double = Compiled(lambda x: 2 * x, required=False)
    for _ in range(2):
        assert torch.equal(double(torch.ones(2)), torch.full((2,), 2.0))
    assert caplog.text.count("compile: failed, so the run continues without it") == 1


def test_an_error_after_a_compilation_that_worked_is_no_failed_compilation(monkeypatch, caplog):
    calls = []

    def breaks_later(x):
        calls.append(x)
        if len(calls) == 2:
            raise KeyError("a bug")
        return x

    monkeypatch.setattr(torch, "compile", lambda plain, **options: breaks_later)
    same = Compiled(lambda x: x, required=False)
    same(torch.ones(1))
    with pytest.raises(KeyError, match="a bug"):
        same(torch.ones(1))
    assert caplog.text == ""


@pytest.mark.parametrize("required", [True, False])
def test_an_error_of_the_function_itself_is_no_failed_compilation(monkeypatch, caplog, required):
    def wrong(x):
        raise ValueError("too long")

    monkeypatch.setattr(torch, "compile", lambda plain, **options: plain)
    with pytest.raises(ValueError, match="too long"):
        Compiled(wrong, required=required)(torch.ones(1))
    assert caplog.text == ""


def test_only_the_first_shape_is_compiled(monkeypatch):
    seen = []

    def spy(plain, **options):
        return lambda x: seen.append(x.shape) or plain(x)

    monkeypatch.setattr(torch, "compile", spy)
    double = Compiled(lambda x: 2 * x, required=False)
    for size in (4, 3, 4, 2):
        assert len(double(torch.ones(size))) == size
    assert [list(shape) for shape in seen] == [[4], [4]]
