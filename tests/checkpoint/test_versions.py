"""Checkpoints of other format versions, and what the files of the present one hold."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from gpt_pipeline.checkpoint import open_checkpoint, upgrade
from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION, upgraded_config
from gpt_pipeline.durable import sealed, unsealed
from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.training import TrainState

NEWER_KEYS = {"presence_penalty": 0.0, "frequency_penalty": 0.0, "add_bos_token": True}
WRITTEN_BY = Path(__file__).parent / "written_by"
OLD = Path(__file__).parent / "checkpoint_v1" / "small-step-00000005"


def test_a_checkpoint_of_version_1_is_read():
    checkpoint = open_checkpoint(OLD)
    assert checkpoint.manifest.format_version == 1
    model = checkpoint.load_model(torch.device("cpu"))
    assert model.num_parameters() == 2836
    config = checkpoint.config()
    assert (config.runtime.dtype, config.model.embed_dim) == ("float32", 8)
    assert checkpoint.generation().sampler().max_new_tokens == 12
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
    from safetensors import safe_open

    path = store.save(model.state_dict(), part(1)).path
    for name in ("manifest.json", "training/state.json", "generation.json"):
        assert json.loads((path / name).read_text())["format_version"] == FORMAT_VERSION
    assert yaml.safe_load((path / "config.yaml").read_text())["format_version"] == FORMAT_VERSION
    for name in ("model.safetensors", "training/optimizer.safetensors"):
        with safe_open(path / name, "pt") as file:
            assert file.metadata()["format_version"] == str(FORMAT_VERSION)


def test_a_config_of_version_2_saw_the_whole_window():
    config = open_checkpoint(WRITTEN_BY / "v2").config()
    assert (config.block.attention, config.block.eot_id) == ("causal", None)
    assert config.optimizer.model_dump() == {
        "name": "muon", "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "grad_clip": 1.0,
        "momentum": 0.95, "ns_steps": 5, "muon_lr_scale": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({"source": "stories"}, None),
        ({"source": "stories", "train_ratio": 0.8}, None),  # had no effect
        ({"source": "stories", "train_ratio": 0.8, "adopt": "a.bin"}, 0.8),
        ({}, None),  # 0.9, as null means for text
        ({"train_ratio": 0.8}, 0.8),
        ({"train_ratio": 0.8, "val_path": "v.txt"}, None),
        ({"source": "tinystories", "train_ratio": 0.5}, 0.5),
    ],
)
def test_a_split_of_version_3_stays_what_it_was(changes, now):
    values = yaml.safe_load((WRITTEN_BY / "v3_adamw" / "config.yaml").read_text())
    assert values["dataset"]["train_ratio"] == 0.9
    del values["format_version"]
    values["dataset"] |= changes
    assert upgraded_config(values, 3)["dataset"]["train_ratio"] == now


@pytest.mark.parametrize("name", ["v1", "v2", "v3_adamw", "v3_muon"])
def test_what_an_old_run_sampled_with_is_the_default_of_its_model(name):
    checkpoint = open_checkpoint(WRITTEN_BY / name)
    values = yaml.safe_load((checkpoint.path / "config.yaml").read_text())["model"]
    generation = checkpoint.generation()
    assert generation.model.max_new_tokens == values["max_new_tokens"] == 12
    assert (generation.model.prompt, generation.model.temperature) == (
        values["prompt"],
        values["temperature"],
    )
    assert generation.sampling.model_dump() == {
        "add_bos_token": True, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "logit_bias": None, "stop": [], "logprobs": None,
    }  # fmt: skip


def test_an_unknown_key_of_an_old_config_is_named(tmp_path):
    path = shutil.copytree(WRITTEN_BY / "v3_adamw", tmp_path / "any")
    checkpoint = open_checkpoint(path)
    text = (path / "config.yaml").read_text()
    (path / "config.yaml").write_text(text.replace("  embed_dim:", "  embed_dimm: 3\n  embed_dim:"))
    with pytest.raises(CheckpointError, match=r"model\.embed_dimm is not a key .*embed_dim\?"):
        checkpoint.config()


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


def test_a_checkpoint_holds_no_keys_of_commands(store, model, part):
    checkpoint = store.save(model.state_dict(), part(1))
    config = yaml.safe_load((checkpoint.path / "config.yaml").read_text())
    assert config.keys() == {
        "format_version", "dataset", "tokenizer", "model", "block", "optimizer", "schedule",
        "runtime",
    }  # fmt: skip
    generation = json.loads((checkpoint.path / "generation.json").read_text())
    assert generation.keys() == {"format_version", "model", "sampling"}
    assert not generation["model"].keys() & config["model"].keys()
    assert not {"checkpoint_name", "checkpoint_path"} & config["model"].keys()
    assert not {"weights", "profile"} & config["runtime"].keys()


def test_a_bias_of_tokens_comes_back_as_it_was(store, model, part):
    sampling = store.config.sampling.model_dump() | {"logit_bias": {11: -5.0}, "stop": ["\n"]}
    store = replace(store, config=store.config.replace({"sampling": sampling}))
    assert store.save(model.state_dict(), part(1)).generation() == store.config.generation()


def test_a_generation_without_a_newer_key_means_what_it_meant(store, model, part):
    checkpoint = store.save(model.state_dict(), part(1))
    path = checkpoint.path / "generation.json"
    values = json.loads(path.read_text())
    for name in NEWER_KEYS:
        del values["sampling"][name]
    path.write_text(json.dumps(values))
    sampling = checkpoint.generation().sampling
    assert {name: getattr(sampling, name) for name in NEWER_KEYS} == NEWER_KEYS
    del values["sampling"]["min_p"]  # an older key: each generation.json has it
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"generation\.json .* sampling\.min_p is missing"):
        checkpoint.generation()


def test_a_config_without_a_newer_key_means_what_it_meant(store, model, part, monkeypatch):
    checkpoint = store.save(model.state_dict(), part(1))
    path = checkpoint.path / "config.yaml"
    values = yaml.safe_load(path.read_text())
    del values["optimizer"]["eps"], values["schedule"]
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(CheckpointError, match=r"optimizer\.eps is missing"):
        checkpoint.config()
    group = store.config.schedule.model_dump()
    new = {"optimizer.eps": 1e-6, "optimizer.momentum": 0.5}  # the second is another optimizer's
    new |= {f"schedule.{name}": value for name, value in group.items()}
    monkeypatch.setattr(upgrade, "_NEW_KEYS", new)
    config = checkpoint.config()
    assert config.optimizer.eps == 1e-6
    assert config.schedule == store.config.schedule
