"""Checkpoints of other format versions, and of models that were compiled or wrapped."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION, upgraded_config
from gpt_pipeline.durable import sealed, unsealed
from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.training import TrainState

NEWER_KEYS = {
    "sampling": {"presence_penalty": 0.0, "frequency_penalty": 0.0, "add_bos_token": True},
    "serve": {"cors_origins": [], "log": "errors"},
}
OLD = Path(__file__).parent / "checkpoint_v1" / "small-step-00000005"


def test_a_checkpoint_of_version_1_is_read():
    checkpoint = open_checkpoint(OLD)
    assert checkpoint.manifest.format_version == 1
    model = checkpoint.load_model(torch.device("cpu"))
    assert model.num_parameters() == 2836
    config = checkpoint.config()
    assert (config.checkpoint.background, config.model.embed_dim) == (True, 8)
    tensors, values = checkpoint.training()
    state = TrainState.from_dict(values)
    assert (state.step, state.position, state.lr_scale) == (5, 40, 1.0)
    assert state.metrics_lines is None
    assert len(tensors) == 3 * len(model.state_dict())


def test_damage_of_a_checkpoint_of_version_1_is_found(tmp_path):
    path = tmp_path / "any"
    shutil.copytree(OLD, path)
    weights = bytearray((path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (path / "model.safetensors").write_bytes(weights)
    with pytest.raises(Exception, match="is damaged"):
        open_checkpoint(path)


def test_every_file_says_its_version(store, model, part):
    import json

    from safetensors import safe_open

    path = store.save(model.state_dict(), part(1)).path
    for name in ("manifest.json", "training/state.json"):
        assert json.loads((path / name).read_text())["format_version"] == FORMAT_VERSION
    assert yaml.safe_load((path / "config.yaml").read_text())["format_version"] == FORMAT_VERSION
    for name in ("model.safetensors", "training/optimizer.safetensors"):
        with safe_open(path / name, "pt") as file:
            assert file.metadata()["format_version"] == str(FORMAT_VERSION)


class Wrapped(torch.nn.Module):
    """As DistributedDataParallel does it."""

    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize(
    "wrap",
    [
        torch.compile,
        Wrapped,
        lambda m: Wrapped(torch.compile(m)),
        lambda m: torch.compile(m.eval()),
    ],
    ids=["compiled", "wrapped", "both", "compiled in evaluation"],
)
def test_compiled_and_wrapped_models_are_saved_under_plain_names(store, model, part, wrap):
    checkpoint = store.save(wrap(model).state_dict(), part(1))
    assert checkpoint.weights().keys() == model.state_dict().keys()
    loaded = checkpoint.load_model(torch.device("cpu"))
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


def test_a_config_of_version_2_saw_the_whole_window():
    values = {
        "block": {"position": "rotary"},
        "optimizer": {"name": "muon", "matrix_lr_scale": 2.0},
        "prompt_file": "x",
    }
    upgraded = upgraded_config(values, 2)
    assert upgraded["block"] == {"position": "rotary", "attention": "causal", "eot_id": None}
    assert upgraded["optimizer"] == {"name": "muon", "ns_steps": 5, "muon_lr_scale": 2.0}
    assert "prompt_file" not in upgraded


def test_manifests_from_before_an_optional_key_are_read(store, model, part):
    checkpoint = store.save(model.state_dict(), part(5))
    path = checkpoint.path / "manifest.json"
    values = unsealed(path.read_bytes())
    for name in ("val_data_fingerprint", "train_documents"):
        assert values.pop(name) is None
    path.write_bytes(sealed(values))
    assert open_checkpoint(checkpoint.path).manifest == checkpoint.manifest


@pytest.mark.parametrize(("documents", "known"), [(None, True), (1, False), (2, True)])
def test_a_model_of_one_document_has_never_seen_end_of_text_before_another(
    store, model, part, documents, known
):
    checkpoint = replace(store, train_documents=documents).save(model.state_dict(), part(5))
    assert open_checkpoint(checkpoint.path).trained_with_eot is known


def test_a_config_of_the_present_version_without_a_newer_key_means_what_it_meant(
    store, model, part
):
    checkpoint = store.save(model.state_dict(), part(1))
    path = checkpoint.path / "config.yaml"
    values = yaml.safe_load(path.read_text())
    for group, names in NEWER_KEYS.items():
        for name in names:
            del values[group][name]
    path.write_text(yaml.safe_dump(values))
    config = checkpoint.config()
    for group, names in NEWER_KEYS.items():
        for name, value in names.items():
            assert getattr(getattr(config, group), name) == value
    del values["sampling"]["min_p"]  # an older key: every config of this version has it
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(CheckpointError, match=r"sampling\.min_p is missing"):
        checkpoint.config()
