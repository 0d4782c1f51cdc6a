"""The validation figures do not depend on how they are computed."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from small_run import SMALL, corpus

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.cli.evaluate import describe
from gpt_pipeline.cli.main import run
from gpt_pipeline.config.compose import compose
from gpt_pipeline.dataset import ValidationSet, prepare
from gpt_pipeline.metrics import Evaluation, evaluate, scored
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Precision

WORDS = [*SMALL, "runtime.dtype=float32", "model.micro_batch_size=4"]
LENGTH = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the corpus of the small run."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "stories.txt").write_text(corpus())
    return folder


def prepared(folder, num_workers):
    words = {"dataset.path": folder / "stories.txt", "dataset.num_workers": num_workers}
    words["dataset.data_dir"] = folder / f"data-{num_workers}"
    config = compose([*WORDS, *(f"{key}={value}" for key, value in words.items())]).config
    val = prepare(config.dataset, config.tokenizer, say=lambda line: None).val
    return ValidationSet.open(val, LENGTH)


@pytest.fixture(scope="module")
def validation(folder):
    return prepared(folder, 0)


@pytest.fixture(scope="module")
def model():
    """Weights so large that the loss of a token is far from that of the next."""
    words = ["model.vocab_size=257", f"model.max_length={LENGTH}"]
    torch.manual_seed(3)
    model = GPTModel(compose([*WORDS, *words]).config.gpt_config())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model.eval()


def figures(model, validation, batch_size) -> Evaluation:
    precision = Precision(torch.device("cpu"), torch.float32)
    parts = scored(model, precision, validation.batches(batch_size))
    return evaluate(parts, bytes_per_token=validation.bytes_per_token)


def same(one: Evaluation, other: Evaluation):
    assert one.as_dict() == pytest.approx(other.as_dict(), rel=1e-6)
    for name in ("tokens", "bytes"):
        assert one.as_dict()[name] == other.as_dict()[name]


def test_every_token_and_byte_of_the_file_is_counted(model, validation):
    assert validation.windows.num_windows % 32 != 0
    assert validation.sidecar.tokens % LENGTH != 0
    result = figures(model, validation, 7).as_dict()
    assert result["tokens"] == validation.sidecar.tokens
    assert result["bytes"] == validation.sidecar.bytes


@pytest.mark.parametrize("batch_size", [1, 3, 7, 32])
def test_the_micro_batch_size_changes_nothing(model, validation, batch_size):
    same(figures(model, validation, batch_size), figures(model, validation, 5))


@pytest.mark.parametrize("rows", [1, 3, 50])
def test_an_evaluation_holds_few_logits_at_once_with_the_same_figures(
    model, validation, monkeypatch, rows
):
    monkeypatch.setattr("gpt_pipeline.metrics.evaluation._LOGITS_PER_CHUNK", {"cpu": rows * 257})
    precision = Precision(torch.device("cpu"), torch.float32)
    parts = list(scored(model, precision, validation.batches(4)))
    assert max(len(logits) for logits, _ in parts) == rows
    same(evaluate(parts, bytes_per_token=validation.bytes_per_token), figures(model, validation, 4))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_workers_that_prepared_the_data_change_nothing(model, validation, folder, num_workers):
    other = prepared(folder, num_workers)
    assert other.sidecar == validation.sidecar
    assert figures(model, other, 4) == figures(model, validation, 4)


@pytest.mark.slow
def test_a_compiled_model_has_the_same_figures(model, validation, monkeypatch):
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler on the CPU: apt-get install g++")
    plain = figures(model, validation, 4)
    monkeypatch.setattr(model, "hidden_states", torch.compile(model.hidden_states))
    for batch_size in (3, 7):  # with a shorter last batch each: other shapes, compiled again
        same(figures(model, validation, batch_size), plain)


def test_describe_says_tokens_and_bytes(model, validation):
    result = figures(model, validation, 7)
    sidecar = validation.sidecar
    line = describe(result.as_dict())
    assert line.endswith(f"over {sidecar.tokens:,} tokens ({sidecar.bytes:,} bytes)")


def command(capsys, *words):
    assert run(words) == 0
    return capsys.readouterr().out


def last_checkpoint() -> Path:
    return max(Path("checkpoints").glob("small-step-*"), key=lambda path: path.name)


def test_a_resumed_run_ends_with_the_figures_that_evaluate_finds(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "stories.txt", tmp_path)
    said = command(capsys, "train", *WORDS)
    whole = open_checkpoint(last_checkpoint()).manifest.validation
    while last_checkpoint().name > "small-step-00000006":  # as if the run had been killed after it
        shutil.rmtree(last_checkpoint())
    assert run(["train", *WORDS]) == 0
    again = capsys.readouterr()
    assert "resuming at step 6" in again.err
    checkpoint = open_checkpoint(last_checkpoint())
    assert checkpoint.manifest.step == 12
    evaluated = json.loads(command(capsys, "evaluate", "runtime.dtype=float32", "format=json"))
    line = command(capsys, "evaluate", "runtime.dtype=float32").strip()
    assert evaluated == pytest.approx(checkpoint.manifest.validation, rel=1e-6)
    assert evaluated == pytest.approx(whole, rel=1e-6)
    for name in ("tokens", "bytes"):
        assert evaluated[name] == checkpoint.manifest.validation[name] == whole[name]
    assert line in said
    assert line in again.out
    assert re.search(r"over [\d,]+ tokens \([\d,]+ bytes\)", line)
