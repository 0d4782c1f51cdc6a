"""A compiled run is the plain run, also when it is resumed."""

import shutil

import pytest
import torch

OFF = [f"model.{part}_dropout_rate=0" for part in ("emb", "mha", "ffn")]


@pytest.mark.slow
def test_a_compiled_run_is_the_plain_run_and_resumes(small_run):
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler on the CPU: apt-get install g++")
    words = [*OFF, "schedule.max_steps=null", "model.num_epochs=1", "model.grad_accumulation=3"]
    plain = small_run(*words, name="plain")  # 20 windows, 6 a step: the last step is smaller
    plain.go()
    first = small_run(*words, name="parts")
    first.trainer.compile(required=True)
    assert not first.go(stop_after=2).finished
    second = small_run(*words, name="parts")
    second.trainer.compile(required=True)
    assert second.go().finished
    assert plain.model.state_dict().keys() == second.model.state_dict().keys()
    for name, tensor in plain.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], tensor, rtol=0, atol=2e-5)
