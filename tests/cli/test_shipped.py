"""The model that ships with the project: what a clone without a checkpoint generates with."""

import json
import re
from pathlib import Path, PureWindowsPath

import pytest
import yaml

from gpt_pipeline.checkpoint import newest, open_checkpoint, release
from gpt_pipeline.cli import checkpoint as checkpoint_module

MODELS = Path(__file__).parents[2] / "models"
SHIPPED = MODELS / "laptop-tinystories"
SAID = "no checkpoint in checkpoints yet: this is the model that ships with the project"


@pytest.fixture
def shipped(trained, folder, monkeypatch):
    """The command in a folder without checkpoints, with a released model beside it."""
    release(newest(Path("checkpoints"), None), folder / "models" / "small")
    Path("checkpoints").rename("own")
    monkeypatch.setattr(checkpoint_module, "SHIPPED", folder / "models" / "small")
    return trained


def test_without_a_checkpoint_the_shipped_model_generates_and_says_so(shipped):
    code, out, err = shipped("inference", "model.max_new_tokens=4", "format=json")
    assert code == 0
    assert SAID in err
    assert len(json.loads(out)["tokens"]) == 4


def test_a_checkpoint_of_ones_own_comes_first(shipped):
    Path("own").rename("checkpoints")
    _, _, err = shipped("inference", "model.max_new_tokens=4")
    assert SAID not in err
    assert "checkpoint: checkpoints/small-step-00000012" in err


@pytest.mark.parametrize(
    "word", ["model.checkpoint_name=mine", "checkpoint.load=best", "checkpoint.load=models/none"]
)
def test_what_was_asked_for_by_name_is_not_replaced_by_it(shipped, word):
    code, _, err = shipped("inference", word)
    assert code == 2
    assert SAID not in err


def test_a_released_model_is_evaluated_to_the_figures_of_its_run(shipped):
    code, out, _ = shipped("evaluate", "format=json")
    assert code == 0
    before = open_checkpoint(Path("own/small-step-00000012")).manifest.validation
    assert json.loads(out)["loss"] == pytest.approx(before["loss"], rel=1e-3)


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no model ships with this tree")
def test_the_model_that_ships_is_whole_small_and_as_its_card_says():
    checkpoint = open_checkpoint(SHIPPED, training=False)
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) <= 8_000_000
    figures = checkpoint.manifest.validation
    card = (MODELS / "README.md").read_text(encoding="utf-8")
    assert f"{figures['bits_per_byte']:.4f} bits per byte" in card
    assert "CDLA-Sharing-1.0" in card
    assert re.search(rf"\b{checkpoint.manifest.step:,}\b steps", card)
    assert checkpoint.manifest.val_data_fingerprint is not None


@pytest.mark.skipif(not SHIPPED.is_dir(), reason="no model ships with this tree")
def test_the_model_that_ships_names_no_path_outside_its_folder():
    values = yaml.safe_load((SHIPPED / "config.yaml").read_text(encoding="utf-8"))
    texts = [
        value
        for group in values.values()
        for value in (group.values() if isinstance(group, dict) else [group])
        if isinstance(value, str)
    ]
    assert "tinystories-train.txt" in texts
    for text in texts:
        assert not text.startswith(("/", "~", "\\")), text
        assert ".." not in re.split(r"[/\\]", text), text
        assert not PureWindowsPath(text).drive, text


def test_the_model_that_ships_is_measured_on_a_text_that_is_named(gpt, folder):
    (folder / "valid.txt").write_text("Once upon a time there was a dog.\n<|endoftext|>\n" * 3)
    words = (f"checkpoint.load={SHIPPED}", "dataset.val_path=valid.txt", "format=json")
    code, out, err = gpt("evaluate", *words)
    assert code == 0, err
    figures = json.loads(out)
    assert figures["bytes"] == 3 * len("Once upon a time there was a dog.") + 3
    assert figures["bits_per_byte"] < 1.5
    assert "this is not the validation text of the run" in err


def test_float16_is_for_every_model_where_nothing_is_trained(gpt, folder):
    code, _, err = gpt("inference", "runtime.dtype=float16", "model.max_new_tokens=2")
    assert code == 0, err
    for command in ("train", "plan"):
        code, _, err = gpt(command, "model=laptop", "runtime.dtype=float16")
        assert code == 2
        assert "optimizer=muon needs runtime.dtype=bfloat16 or float32; got float16" in err
    assert not (folder / "data").exists()  # refused before anything was made
