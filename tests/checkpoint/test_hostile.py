"""A checkpoint from a stranger: whole by its own manifest, and made to do harm."""

import json
import os
import re
import resource
import struct
import time

import pytest
import torch
import yaml

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.checkpoint.manifest import record
from gpt_pipeline.durable import sealed, unsealed
from gpt_pipeline.errors import CheckpointError, UserError
from gpt_pipeline.training import TrainState
from gpt_pipeline.verification.inventory import Item
from gpt_pipeline.verification.verdict import verify

CPU = torch.device("cpu")


@pytest.fixture
def checkpoint(store, model, part):
    return store.save(model.state_dict(), part(1)).path


def put(checkpoint, name, content):
    """Change a file, and the manifest with it."""
    (checkpoint / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    manifest = unsealed((checkpoint / "manifest.json").read_bytes())
    manifest["files"][name] = vars(record(checkpoint / name))
    (checkpoint / "manifest.json").write_bytes(sealed(manifest))
    return open_checkpoint(checkpoint)


def config_with(checkpoint, **model):
    values = yaml.safe_load((checkpoint / "config.yaml").read_text())
    values["model"] |= model
    return yaml.safe_dump(values)


def header(shape, *, offsets=(0, 4), length=None):
    text = json.dumps({"x": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    return struct.pack("<Q", length or len(text)) + text + b"\0\0\0\0"


@pytest.mark.parametrize(
    "content",
    [
        header([1 << 40]),
        header([1], offsets=(0, 1 << 50)),
        header([1 << 30], offsets=(0, 1 << 32)),
        header([1], offsets=(8, 4)),
        header([1], length=1 << 62),
        header([1], length=99_000_000),
        struct.pack("<Q", 2) + b"[]",
        b"",
        b"\x80\x04\x95 a pickle",
    ],
    ids=["shape", "offsets", "both", "backwards", "length", "long", "list", "empty", "pickle"],
)
def test_sizes_in_a_header_that_the_file_does_not_have_take_no_memory(checkpoint, content):
    opened = put(checkpoint, "model.safetensors", content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        opened.load_model(CPU)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize(
    "change",
    [
        {"num_layers": 10**9},
        {"embed_dim": 10**6, "num_heads": 1},
        {"ff_hidden_dim": 10**11},
        {"max_length": 10**12},
        {"vocab_size": 10**12},
    ],
    ids=lambda change: next(iter(change)),
)
def test_sizes_in_a_config_that_the_weights_do_not_have_take_no_memory(checkpoint, change):
    opened = put(checkpoint, "config.yaml", config_with(checkpoint, **change))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(CheckpointError, match=r"another architecture|not of one run"):
        opened.load_model(CPU)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
    assert time.monotonic() - start < 20  # and not a layer after the other


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("!!python/object/apply:os.system ['touch harmed']", "could not determine a constructor"),
        ("a: &a [x]\nb: [*a, *a]\n", "alias"),
        ("model: [" * 5000, "is not a config"),
        ("just text", "is not a config"),
        ("model: 3\ncheckpoint: {}\n", "is not a config"),
        ("#" * (1 << 20) + "#", "at most"),
        (b"\xff\xfe\0", "is not a config"),
        ("", "is not a config"),
    ],
    ids=["code", "alias", "deep", "text", "number", "large", "binary", "empty"],
)
def test_a_config_that_is_none_runs_nothing(checkpoint, content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened = put(checkpoint, "config.yaml", content)
    with pytest.raises(CheckpointError, match=message) as caught:
        opened.config()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "training", "training/state.json"])
def test_a_link_in_a_checkpoint_is_refused(checkpoint, tmp_path, name):
    elsewhere = tmp_path / "elsewhere"
    (checkpoint / name).rename(elsewhere)
    (checkpoint / name).symlink_to(elsewhere)
    with pytest.raises(CheckpointError, match="must hold files, not links"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["../stolen", "/etc/passwd", "training/../../stolen"])
def test_a_path_in_a_manifest_cannot_leave_the_folder(checkpoint, name):
    manifest = unsealed((checkpoint / "manifest.json").read_bytes())
    manifest["files"][name] = manifest["files"].pop("config.yaml")
    (checkpoint / "manifest.json").write_bytes(sealed(manifest))
    with pytest.raises(CheckpointError, match="must list"):
        open_checkpoint(checkpoint)


def test_a_pipe_in_place_of_a_file_does_not_hang(checkpoint):
    (checkpoint / "config.yaml").unlink()
    os.mkfifo(checkpoint / "config.yaml")
    with pytest.raises(CheckpointError, match=r"config\.yaml is missing"):
        open_checkpoint(checkpoint)


def test_a_pipe_in_place_of_the_manifest_does_not_hang(checkpoint):
    (checkpoint / "manifest.json").unlink()
    os.mkfifo(checkpoint / "manifest.json")
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged: it must be a file"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"format_version": 2' + b" " * (2 << 20), b"\xff", b"null"]
)
def test_a_manifest_without_end_or_sense_is_refused(checkpoint, content):
    (checkpoint / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "cannot be read: it must hold a JSON object"),
        (b"{" + b" " * (2 << 20) + b"}", "cannot be read: it must have at most"),
    ],
)
def test_a_state_without_end_or_sense_is_refused(checkpoint, content, message):
    with pytest.raises(CheckpointError, match=message):
        put(checkpoint, "training/state.json", content).training()


@pytest.mark.parametrize(
    "change",
    [
        {"step": -1}, {"step": "7"}, {"step": 1.5}, {"step": True}, {"position": None},
        {"elapsed_s": float("nan")}, {"elapsed_s": float("inf")}, {"run_dir": 7},
        {"scaler": []}, {"lr_scale": "1"}, {"best_val_loss": "low"}, {"random": "x"},
        {"metrics_lines": -3}, {"validation": [1]},
    ],
    ids=str,
)  # fmt: skip
def test_a_state_with_impossible_values_is_refused(change):
    with pytest.raises(CheckpointError, match=f"impossible {next(iter(change))}"):
        TrainState.from_dict(TrainState().as_dict() | change)


def test_a_tokenizer_of_another_model_is_refused(checkpoint, shared_data):
    from gpt_pipeline.tokenizer import gpt2

    gpt2(str(shared_data / "gpt2")).save(checkpoint / "tokenizer.json")
    content = (checkpoint / "tokenizer.json").read_bytes()
    with pytest.raises(CheckpointError, match="tokenizer of 50257 entries for a model of 257"):
        put(checkpoint, "tokenizer.json", content).load_model(CPU)


def test_a_tokenizer_that_is_none_is_one_line(checkpoint):
    with pytest.raises(UserError, match=r"tokenizer\.json is not a whole tokenizer") as caught:
        put(checkpoint, "tokenizer.json", '{"version": "1.0"}').tokenizer()
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_no_number_is_refused_in_a_manifest_without_a_seal(checkpoint):
    """Version 1 had no seal; NaN would be the best and the worst at once."""
    manifest = unsealed((checkpoint / "manifest.json").read_bytes())
    text = json.dumps(manifest | {"format_version": 1, "val_loss": float("nan")})
    (checkpoint / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="val_loss cannot be"):
        open_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["config.yaml", "generation.json", "training/state.json"])
def test_a_file_of_another_version_than_the_manifest_is_refused(checkpoint, name):
    text = (checkpoint / name).read_text()
    changed = re.sub(r'(format_version"?: )\d+', r"\g<1>99", text)
    assert changed != text
    opened = put(checkpoint, name, changed)
    with pytest.raises(CheckpointError, match=r"format_version must be \d, as in manifest\.json"):
        (opened.config(), opened.generation(), opened.training())


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON", '{"sampling": 3}'])
def test_a_generation_that_is_none_is_one_line_and_damage_for_verify(checkpoint, content):
    opened = put(checkpoint, "generation.json", content)
    with pytest.raises(CheckpointError, match=r"generation\.json is not a config") as caught:
        opened.generation()
    assert "\n" not in str(caught.value)
    verdict = verify(Item(checkpoint, "checkpoint"))
    assert verdict.status == "damaged"
