"""Checkpoints to give away: small, whole, for inference alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gpt_pipeline.checkpoint import open_checkpoint, release, released_weights
from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION
from gpt_pipeline.config import portable_paths
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import CheckpointError


def flat(values, prefix=""):
    found = {}
    for key, value in values.items():
        inside = isinstance(value, dict)
        found |= flat(value, f"{prefix}{key}.") if inside else {prefix + key: value}
    return found


@pytest.fixture
def checkpoint(store, model, part):
    return store.save(model.state_dict(), part(7))


def test_a_released_checkpoint_holds_half_precision_weights_and_no_training_state(
    checkpoint, tmp_path
):
    folder = tmp_path / "models" / "small"
    release(checkpoint, folder, {"loss": 1.5})
    found = open_checkpoint(folder, training=False)
    names = sorted(path.name for path in folder.rglob("*"))
    assert names == [
        "config.yaml", "generation.json", "manifest.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    assert found.generation() == checkpoint.generation()
    assert found.manifest.validation == {"loss": 1.5}
    assert (found.manifest.name, found.manifest.step) == ("run", 7)
    assert {tensor.dtype for tensor in found.weights().values()} == {torch.float16}


def test_it_computes_as_the_rounded_weights_do(checkpoint, model, tmp_path):
    release(checkpoint, tmp_path / "small")
    loaded = open_checkpoint(tmp_path / "small", training=False).load_model(torch.device("cpu"))
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for name, rounded in released_weights(checkpoint).items():
        assert torch.equal(loaded.state_dict()[name], rounded.float())
        torch.testing.assert_close(rounded.float(), model.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_it_names_no_folder_of_the_machine_that_trained_it(store, model, part, tmp_path):
    text = compose(["dataset=text", "dataset.path=x"]).config.dataset.model_dump()
    paths = {
        "path": "../texts/train-*.txt", "val_path": "/home/ann/valid.txt", "data_dir": "..",
    }  # fmt: skip
    config = store.config.replace({"dataset": text | paths, "tokenizer.path": "D:\\gpt2"})
    release(replace(store, config=config).save(model.state_dict(), part(7)), tmp_path / "small")
    found = open_checkpoint(tmp_path / "small", training=False).config()
    assert (found.dataset.path, found.dataset.val_path) == ("train-*.txt", "valid.txt")
    assert (found.dataset.data_dir, found.tokenizer.path) == (".", "gpt2")
    before, after = flat(config.trained().model_dump()), flat(found.model_dump())
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {f"dataset.{name}" for name in paths} | {"tokenizer.path"}


def test_the_id_of_a_hub_data_set_is_no_folder():
    hub = compose(["dataset=tinystories", "dataset.hub_id=nobody/tales"]).config
    assert portable_paths(hub).dataset.hub_id == "nobody/tales"


def test_one_of_an_older_format_is_released_in_the_present_one(tmp_path):
    old = open_checkpoint(Path(__file__).parent / "checkpoint_v1" / "small-step-00000005")
    release(old, tmp_path / "small", old.manifest.validation)
    found = open_checkpoint(tmp_path / "small", training=False)
    assert found.manifest.format_version == FORMAT_VERSION
    assert found.config() == portable_paths(old.config())


def test_released_again_it_keeps_its_weights_byte_for_byte(checkpoint, tmp_path):
    first = release(checkpoint, tmp_path / "first", {"loss": 1.5})
    again = release(first, tmp_path / "again", first.manifest.validation)
    assert again.manifest == first.manifest
    assert open_checkpoint(tmp_path / "again", training=False).manifest == first.manifest


def test_no_run_goes_on_from_it(checkpoint, tmp_path):
    release(checkpoint, tmp_path / "small")
    with pytest.raises(CheckpointError, match="released without its training state"):
        open_checkpoint(tmp_path / "small")


def test_a_training_state_that_is_not_listed_is_not_used(checkpoint, tmp_path, caplog):
    release(checkpoint, tmp_path / "small")
    (tmp_path / "small" / "training").mkdir()
    assert open_checkpoint(tmp_path / "small", training=False).is_released
    assert "its manifest does not list, which are not used: training" in caplog.text


def test_weights_beyond_float16_are_refused_and_what_was_there_stays(store, model, part, tmp_path):
    folder = tmp_path / "small"
    release(store.save(model.state_dict(), part(7)), folder)
    with torch.no_grad():
        model.embedding.token.weight[0, 0] = 1e6
    with pytest.raises(CheckpointError, match="not finite"):
        release(store.save(model.state_dict(), part(8)), folder)
    assert open_checkpoint(folder, training=False).manifest.step == 7
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
