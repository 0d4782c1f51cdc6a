"""Checkpoints: whole or absent, found, verified, pruned."""

import json
import shutil
from datetime import datetime, timezone

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from gpt_pipeline.checkpoint import best_of, newest, open_checkpoint
from gpt_pipeline.checkpoint import store as store_module
from gpt_pipeline.checkpoint.checkpoint import FILES, load_weights
from gpt_pipeline.durable import sealed, unsealed
from gpt_pipeline.errors import CheckpointError
from gpt_pipeline.tokenizer import byte_tokenizer


def test_a_checkpoint_holds_what_the_format_says(store, model, part):
    path = store.save(model.state_dict(), part(7, 1.5)).path
    assert path.name == "run-step-00000007"
    found = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert found == {*FILES, "manifest.json"}
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["format_version"], manifest["step"], manifest["tokens_seen"]) == (4, 7, 70)
    assert manifest["val_loss"] == 1.5
    assert manifest["data_fingerprint"] == "f" * 64
    assert set(manifest["versions"]) == {"gpt_pipeline", "torch", "python"}
    assert set(manifest["files"]) == set(FILES)


def test_what_was_saved_is_what_is_loaded(store, model, part, config):
    store.save(model.state_dict(), part(7))
    checkpoint = open_checkpoint(store.root / "run-step-00000007")
    loaded = checkpoint.load_model(torch.device("cpu"))
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    assert checkpoint.config() == config.trained()
    assert checkpoint.generation() == config.generation()
    assert checkpoint.tokenizer().sha256 == byte_tokenizer().sha256
    tensors, state = checkpoint.training()
    assert torch.equal(tensors["final_norm.weight.exp_avg"], torch.arange(4.0))
    assert state == {"step": 7}


def test_a_checkpoint_needs_nothing_but_itself(store, model, tmp_path, part):
    store.save(model.state_dict(), part(7))
    moved = tmp_path / "elsewhere" / "any name"
    moved.parent.mkdir()
    shutil.move(store.root / "run-step-00000007", moved)
    assert open_checkpoint(moved).load_model(torch.device("cpu")).num_parameters() > 0


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_every_missing_file_is_named(store, model, name, part):
    path = store.save(model.state_dict(), part(1)).path
    (path / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty"])
def test_every_damage_is_found_and_named(store, model, name, damage, part):
    path = store.save(model.state_dict(), part(1)).path / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(
        {"flip": content, "cut": content[:-1], "grow": content + b" ", "empty": b""}[damage]
    )
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(path.parents[1] if "training" in name else path.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: m | {"format_version": 99},
            "format_version from 1 to 4; got '99'; use the version",
        ),
        (lambda m: m | {"format_version": 0}, "format_version from 1 to 4; got '0'"),
        (lambda m: m | {"format_version": "4"}, "format_version from 1 to 4; got '4'"),
        (lambda m: m | {"step": "1"}, "is damaged: step cannot be"),
        (lambda m: m | {"step": True}, "is damaged: step cannot be"),
        (lambda m: m | {"step": -1}, "is damaged: step or tokens_seen cannot be"),
        (lambda m: m | {"val_loss": "low"}, "is damaged: val_loss cannot be"),
        (lambda m: {k: v for k, v in m.items() if k != "step"}, r"\['step'\] missing or unknown"),
        (lambda m: m | {"extra": 1}, r"\['extra'\] missing or unknown"),
        (lambda m: m | {"files": {}}, "must list model.safetensors"),
        (lambda m: m | {"files": {"../x": {"bytes": 1, "sha256": ""}}}, r"differs in \['\.\./x'"),
        (lambda m: m | {"files": {"config.yaml": 3}}, "is damaged: files cannot be"),
        (lambda m: [m], "is damaged"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(store, model, change, message, part):
    path = store.save(model.state_dict(), part(1)).path
    manifest = path / "manifest.json"
    changed = change(unsealed(manifest.read_bytes()))  # as a stranger would write it: sealed
    manifest.write_bytes(sealed(changed) if isinstance(changed, dict) else b"[1]")
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


STRAYS = [
    ".ipynb_checkpoints/x.json", "desktop.ini", "README.md", ".cache/huggingface/x", "notes.txt",
    ".gitattributes", "evil.pkl", "training/notes.txt", ".fuse_hidden01", "__pycache__/x.pyc",
]  # fmt: skip


@pytest.mark.parametrize("name", STRAYS)
def test_a_stray_file_is_named_and_is_no_damage(store, model, part, caplog, name):
    path = store.save(model.state_dict(), part(1)).path
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text("x")
    for _ in range(2):
        assert store.newest_good().path == path
    shown = name if name.startswith("training") else name.split("/")[0]
    line = f"{path} has files that its manifest does not list, which are not used: {shown}"
    assert caplog.messages == [line]


def test_many_stray_files_are_named_in_one_line(store, model, part, caplog):
    path = store.save(model.state_dict(), part(1)).path
    for number in range(8):
        (path / f"note-{number}").write_text("x")
    (path / "link").symlink_to("/etc/passwd")
    open_checkpoint(path)
    assert caplog.text.count("\n") == 1
    assert caplog.messages[0].endswith(": link, note-0, note-1, note-2, note-3 and 4 more")


def test_a_checkpoint_with_a_file_of_the_user_is_not_pruned(store, model, part, caplog):
    for step in range(1, 7):
        path = store.save(model.state_dict(), part(step, 1 + step)).path
        (path / "desktop.ini").write_text("x")
        if step == 2:
            (path / "notes.md").write_text("mine")
    store.prune()
    left = sorted(path.name[-1] for path in store.root.glob("run-step-*"))
    assert left == ["1", "2", "4", "5", "6"]  # the best, the user's, the last three
    assert "keeping the old checkpoint" in caplog.text
    assert "as notes.md is in it" in caplog.text


def test_a_checkpoint_that_was_moved_to_another_disk_keeps_its_link(store, model, part, caplog):
    for step in (1, 2, 3, 4, 5):
        path = store.save(model.state_dict(), part(step)).path
        if step == 1:
            path.rename(store.root.parent / "moved")
            path.symlink_to(store.root.parent / "moved")
    for _ in range(2):
        store.prune()
    left = sorted(path.name for path in store.root.glob("*run-step-*"))
    assert [name[-1] for name in left] == ["1", "3", "4", "5"]
    assert caplog.text.count("keeping the old checkpoint") == 1
    assert "as it is a link" in caplog.text
    store.save(model.state_dict(), part(1))  # as a run that is rolled back does
    assert not path.with_name("run-step-00000001").is_symlink()
    assert (store.root.parent / "moved" / "manifest.json").exists()
    assert not list(store.root.glob(".*run*"))


def test_a_file_with_the_name_of_a_checkpoint_is_none(store, model, part):
    path = store.save(model.state_dict(), part(1)).path
    path.with_name("run-step-00000002").write_text("x")
    assert store.newest_good().path == path


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nothing is not a folder"):
        open_checkpoint(tmp_path / "nothing")


def test_inference_does_not_read_the_training_state(store, model, part):
    path = store.save(model.state_dict(), part(1)).path
    (path / "training" / "state.json").write_text("{}")
    open_checkpoint(path, training=False)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        open_checkpoint(path)


def test_resume_sets_damaged_checkpoints_aside_and_takes_the_next_good_one(
    store, model, caplog, part
):
    for step in (1, 2, 3):
        store.save(model.state_dict(), part(step))
    (store.root / "run-step-00000003" / "config.yaml").write_text("cut")
    shutil.rmtree(store.root / "run-step-00000002" / "training")
    assert store.newest_good().manifest.step == 1
    assert sorted(path.name for path in store.root.iterdir()) == [
        "run-step-00000001", "run-step-00000002.damaged", "run-step-00000003.damaged",
    ]  # fmt: skip
    assert "config.yaml" in caplog.text
    assert "set aside as" in caplog.text


def test_inference_passes_over_a_damaged_checkpoint_and_leaves_it(store, model, caplog, part):
    for step in (1, 2):
        store.save(model.state_dict(), part(step))
    (store.root / "run-step-00000002" / "model.safetensors").write_bytes(b"no")
    assert newest(store.root, None).manifest.step == 1
    assert "trying the one before" in caplog.text
    assert (store.root / "run-step-00000002").exists()


def test_newest_is_the_one_saved_last_of_any_run(store, model, part, make_store):
    store.save(model.state_dict(), part(500))
    make_store(store.root, "other").save(model.state_dict(), part(20))
    assert newest(store.root, None).manifest.name == "other"
    assert newest(store.root, "run").manifest.step == 500


def test_the_newest_of_a_run_is_the_highest_step_even_if_the_clock_went_back(
    store, model, part, make_store, monkeypatch
):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return next(times)

    days = (5, 4, 2, 1)  # of other-1, run-1, run-2, other-2
    times = iter([datetime(2026, 1, day, tzinfo=timezone.utc) for day in days])
    monkeypatch.setattr("gpt_pipeline.checkpoint.store.datetime", Clock)
    other = make_store(store.root, "other")
    other.save(model.state_dict(), part(1))
    store.save(model.state_dict(), part(1))
    store.save(model.state_dict(), part(2))
    other.save(model.state_dict(), part(2))
    assert newest(store.root, "run").manifest.step == 2
    found = newest(store.root, None).manifest
    assert (found.name, found.step) == ("other", 2)


def test_best_is_the_lowest_validation_loss(store, model, part, make_store):
    for step, loss in ((1, 2.0), (2, 1.0), (3, None), (4, 1.5)):
        store.save(model.state_dict(), part(step, loss))
    assert best_of(store.root, "run").manifest.step == 2
    make_store(store.root, "other").save(model.state_dict(), part(1))
    with pytest.raises(CheckpointError, match=r"no checkpoint of other .* has a validation loss"):
        best_of(store.root, "other")


def test_no_checkpoint_at_all_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*make train.*checkpoint\.load"):
        newest(tmp_path, None)


def test_prune_keeps_the_last_three_and_the_best(store, model, part, make_store):
    for step, loss in enumerate((3.0, 1.0, 2.0, 2.5, 2.6, 2.7), start=1):
        store.save(model.state_dict(), part(step, loss))
    make_store(store.root, "run-2").save(model.state_dict(), part(1))
    store.prune()
    left = sorted(path.name[-1] for path in store.root.glob("run-step-*"))
    assert left == ["2", "4", "5", "6"]
    assert (store.root / "run-2-step-00000001").exists()


@pytest.mark.parametrize("moment", ["_write", "sync", "put", "record"])
def test_a_save_that_fails_leaves_what_was_there(store, model, monkeypatch, moment, part):
    store.save(model.state_dict(), part(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, moment, full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*untouched"):
        store.save(model.state_dict(), part(2))
    assert [path.name for path in store.root.iterdir()] == ["run-step-00000001"]
    open_checkpoint(store.root / "run-step-00000001")


def test_a_tensor_file_on_a_full_disk_is_one_line(store, model, monkeypatch, part):
    def full(tensors, path, metadata):
        raise SafetensorError("Error while serializing: I/O error: No space left on device")

    monkeypatch.setattr(store_module, "save_file", full)
    with pytest.raises(
        CheckpointError, match=r"cannot save .*: No space left on device.*untouched"
    ):
        store.save(model.state_dict(), part(1))
    assert list(store.root.iterdir()) == []


def test_a_half_written_save_of_a_killed_process_does_not_count_and_is_removed(store, model, part):
    store.save(model.state_dict(), part(1))
    half = store.root / ".unfinished-run-step-00000002-4194305"
    shutil.copytree(store.root / "run-step-00000001", half)
    assert store.newest_good().manifest.step == 1
    assert not half.exists()


def test_saving_a_step_again_replaces_it(store, model, part):
    store.save(model.state_dict(), part(1, 2.0))
    store.save(model.state_dict(), part(1, 1.0))
    assert open_checkpoint(store.root / "run-step-00000001").manifest.val_loss == 1.0
    assert len(list(store.root.iterdir())) == 1


def test_starting_anew_keeps_the_old_checkpoints(store, model, part):
    assert store.set_aside() is None
    store.save(model.state_dict(), part(1))
    aside = store.set_aside()
    assert store.newest_good() is None
    open_checkpoint(aside / "run-step-00000001")


def test_weights_of_another_model_are_refused_with_the_keys(model, tmp_path):
    weights = dict(model.state_dict())
    weights["embedding.position.weight"] = torch.zeros(9, 16)
    del weights["final_norm.bias"]
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, weights, tmp_path)
    assert "embedding.position.weight (9x16 in the checkpoint, 8x16 in the model)" in str(
        caught.value
    )
    assert "final_norm.bias (absent in the checkpoint, 16 in the model)" in str(caught.value)


def test_the_tied_head_is_stored_once(store, model, part):
    path = store.save(model.state_dict(), part(1)).path
    stored = load_file(path / "model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == model.num_parameters()


def test_a_tensor_file_has_one_key_of_metadata(store, model, part):
    """safetensors writes several in an order that differs from process to process."""
    path = store.save(model.state_dict(), part(1)).path
    with safe_open(path / "model.safetensors", "pt") as file:
        assert len(file.metadata()) == 1
