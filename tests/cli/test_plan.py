"""`gpt-pipeline plan`, and micro-batches that are found or refused."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from small_run import SMALL, last_checkpoint

from gpt_pipeline.planning import (
    MemoryBaseline,
    MemoryModel,
    MemoryReading,
    StepTiming,
    micro_batch,
    run_plan,
)
from gpt_pipeline.training.step import OptimizerStep

MB = 1_000_000


def memory_model(per_window=10 * MB, available=200 * MB):
    """A run that takes 100 MB and some for each window."""
    baseline = MemoryBaseline(
        device="cpu",
        dtype="float32",
        parameters=10_000,
        program_bytes=90 * MB,
        weights_bytes=2 * MB,
        gradients_bytes=2 * MB,
        optimizer_bytes=6 * MB,
        snapshot_bytes=0,
        available_bytes=available,
    )
    readings = [MemoryReading(n, 100 * MB + n * per_window, 0, 0.1 * n, 0.05 * n) for n in (1, 2)]
    return MemoryModel(baseline, readings, StepTiming(10, 2, 2, 2.0, 0.01))


@pytest.fixture
def measures(monkeypatch):
    """Replaces the measurement by a memory model; gives the questions that were asked."""
    asked = []

    def put(answer):
        def measured(question, set_up):
            asked.append(question)
            return answer

        for module in (run_plan, micro_batch):
            monkeypatch.setattr(module, "measured", measured)
        return asked

    return put


def split_of(checkpoint):
    model = yaml.safe_load((checkpoint / "config.yaml").read_text())["model"]
    return model["micro_batch_size"], model["grad_accumulation"]


def refused(result, *expected):
    code, _, err = result
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert len(errors) == 1
    assert "Traceback" not in err
    for text in expected:
        assert text in errors[0]


def test_plan_measures_a_run_and_writes_nothing(gpt, folder):
    code, out, err = gpt("plan", *SMALL, "format=json")
    figures = json.loads(out)
    assert code == 0, err
    assert [path.name for path in folder.iterdir()] == ["stories.txt"]
    assert figures["tokens_per_step"] == 8 * 32
    assert figures["weights_bytes"] == 4 * figures["parameters"]
    assert figures["weights_bytes"] < figures["peak_bytes"] < figures["available_bytes"]
    assert (figures["steps"], figures["timed_steps"], figures["fits"]) == (12, 10, True)
    assert (figures["peak_measured"], figures["largest_micro_batch_size"]) == (True, 8)
    assert min(figures["tokens_per_s"], figures["hours"]) > 0
    assert figures["disk"]["token_files"]["bytes"] is None
    assert figures["disk"]["checkpoints"]["bytes"] > 5 * 3 * figures["weights_bytes"]
    assert figures["disk"]["checkpoints"]["free_bytes"] > 0


def test_plan_is_a_table_of_names_and_figures(gpt, measures):
    measures(memory_model())
    code, out, err = gpt("plan", *SMALL, "schedule.max_steps=100")
    assert (code, "warning" in err) == (0, False)
    lines = dict(line.strip().split("  ", 1) for line in out.splitlines())
    assert lines["batch"].strip() == "8 windows x 32 tokens x 1 accumulated = 256 tokens per step"
    assert lines["weights"].split() == ["2.0", "MB"]
    assert lines["activations and other"].split() == ["80.0", "MB"]
    assert "180.0 MB of 200.0 MB free (extrapolated from 2 windows)" in out
    assert "320 tokens/s (10 steps of 2 windows, 2 per micro-batch)" in out
    assert "100 steps, 25,600 tokens" in out
    assert "1 min 2" in out  # 800 windows at 10 a second, and evaluations


def test_tokens_and_vocabulary_come_from_data_that_are_prepared(trained, measures):
    measures(memory_model())
    words = [word for word in SMALL if not word.startswith("schedule")]
    _, out, _ = trained("plan", *words, "format=json")
    figures = json.loads(out)
    sidecar = json.loads(Path("data/text/dataset_train.json").read_text())
    windows = -(-sidecar["tokens"] // 32)
    assert figures["steps"] == -(-windows // 8)
    assert figures["disk"]["token_files"]["bytes"] == 0


def test_data_of_another_source_or_none_leave_the_length_unknown(trained, measures):
    asked = measures(memory_model())
    words = [word for word in SMALL if not word.startswith("schedule")]
    with Path("stories.txt").open("a") as file:
        file.write("<|endoftext|>\nOne more.\n")
    _, out, _ = trained("plan", *words, "tokenizer=bpe", "tokenizer.vocab_size=300")
    assert out.count("unknown until the data are prepared (gpt-pipeline data)") == 2
    assert asked[0].config.model.vocab_size == 300
    _, out, _ = trained("plan", *words, "schedule.max_minutes=90", "format=json")
    assert json.loads(out)["hours"] == 1.5


def test_a_vocabulary_that_train_will_refuse_is_said(gpt, measures):
    measures(memory_model())
    code, _, err = gpt("plan", *SMALL, "model.vocab_size=300")
    assert "warning: model.vocab_size=300 differs from the 257 entries of tokenizer=bytes" in err
    assert code == 0


def test_plan_names_the_largest_micro_batch_that_fits(gpt, measures):
    measures(memory_model())
    words = ("model.micro_batch_size=12", "model.grad_accumulation=2")
    result = gpt("plan", *SMALL, *words)
    refused(
        result, "model.micro_batch_size must fit into memory: 12 takes about 220.0 MB",
        "200.0 MB are free", "model.micro_batch_size=8 model.grad_accumulation=3",
    )  # fmt: skip
    assert "peak memory" in result[1]


def test_plan_where_not_one_window_fits(gpt, measures):
    measures(memory_model(available=50 * MB))
    refused(gpt("plan", *SMALL), "not even 1 window of 32 tokens", "smaller model.max_length")
    measures(None)
    refused(gpt("plan", *SMALL), "not even 1 window of 32 tokens", "smaller model.max_length")


def test_plan_for_a_model_larger_than_the_memory(gpt):
    refused(gpt("plan", *SMALL, "model.embed_dim=400000"), "weights, gradients and moments")


def test_plan_for_a_device_that_is_not_there(gpt):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    refused(gpt("plan", *SMALL, "runtime.device=cuda"), "runtime.device", "got cuda", "cpu")


def test_plan_for_a_text_that_is_not_there(gpt):
    refused(gpt("plan", *SMALL, "dataset.path=none.txt"), "none.txt")


def test_a_disk_with_too_little_room_is_a_warning(gpt, measures, monkeypatch):
    from gpt_pipeline.planning import disk

    measures(memory_model())
    usage = disk.shutil.disk_usage(".")._replace(free=1000)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage)
    code, _, err = gpt("plan", *SMALL)
    assert code == 0
    assert "warning: not enough disk space for checkpoints: checkpoints has 1,000B free" in err


@pytest.mark.parametrize(
    ("words", "most", "split"),
    [
        ((), 8, (8, 1)),
        (("model.grad_accumulation=5",), 40, (8, 5)),
        (("model=gpt_30m",), 128, (8, 16)),
    ],
)
def test_auto_takes_the_largest_split_of_the_same_step(gpt, measures, words, most, split):
    asked = measures(memory_model())
    _, out, _ = gpt("plan", *SMALL, "model.micro_batch_size=auto", *words, "format=json")
    figures = json.loads(out)
    assert asked[0].max_micro_batch_size == most
    assert (figures["micro_batch_size"], figures["grad_accumulation"]) == split


def test_train_stores_what_auto_chose_and_keeps_it_on_resume(gpt, folder, measures):
    auto = [*SMALL, "model.micro_batch_size=auto", "model.grad_accumulation=2"]
    asked = measures(memory_model(per_window=15 * MB))  # 5 windows fit, 4 divide 16
    code, _, err = gpt("train", *auto, "schedule.max_steps=5")
    assert code == 0
    assert "auto: 4 sequences per micro-batch, 4 micro-batches per step" in err
    assert split_of(last_checkpoint(folder)) == (4, 4)
    measures(memory_model())  # more is free now
    code, _, err = gpt("train", *auto, "schedule.max_steps=7")
    assert (code, len(asked)) == (0, 1)
    assert "another model." not in err
    assert split_of(last_checkpoint(folder)) == (4, 4)


def test_a_micro_batch_that_cannot_fit_is_refused_before_training(gpt, folder, measures):
    measures(memory_model())
    result = gpt("train", *SMALL, "model.micro_batch_size=300000")
    refused(result, "300000 takes about", "the largest that fits is 8")
    assert not list(folder.glob("outputs/*"))


def test_nothing_is_measured_where_memory_is_plenty(gpt, measures):
    asked = measures(memory_model())
    assert gpt("train", *SMALL, "schedule.max_steps=1")[0] == 0
    assert asked == []


def test_memory_that_runs_out_saves_and_names_what_fits(gpt, folder, measures, monkeypatch):
    asked = measures(memory_model(per_window=40 * MB))
    gradient, calls = OptimizerStep.loss_and_gradient, []

    def short(self, *given):
        calls.append(1)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.")
        return gradient(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(OptimizerStep, "loss_and_gradient", short)
        result = gpt("train", *SMALL)
    refused(
        result, "model.micro_batch_size=8 (CUDA out of memory. Tried 2 GiB.)",
        "checkpoints/small-step-00000003", "model.micro_batch_size=2 model.grad_accumulation=4",
    )  # fmt: skip
    assert asked[0].max_micro_batch_size == 4
    words = ("model.micro_batch_size=2", "model.grad_accumulation=4")
    code, _, err = gpt("train", *SMALL, *words)
    assert (code, "resuming at step 3" in err) == (0, True)


def test_memory_that_runs_out_before_the_first_step_is_a_line_too(gpt, monkeypatch):
    from gpt_pipeline.cli import train

    def short(config, device):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")

    monkeypatch.setattr(train, "new_model", short)
    refused(gpt("train", *SMALL), "memory ran out", "can't allocate memory", "gpt-pipeline plan")
