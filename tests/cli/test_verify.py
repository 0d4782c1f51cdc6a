"""`gpt-pipeline verify`: every kind of damage is found, named, and does not hide the rest."""

import json
import os
import shutil
from pathlib import Path

import pytest
from damage import (
    CHECKPOINT,
    EARLIER,
    TRAIN,
    VAL,
    another_version,
    cut,
    damaged,
    empty,
    flip,
    lines_of,
    run_folder,
    swap,
)
from small_run import SMALL

from gpt_pipeline.cli.checkpoint import SHIPPED


def statuses(out):
    lines = [json.loads(line) for line in out.splitlines()]
    return {line["path"]: line["status"] for line in lines}


def test_a_whole_project_is_found_from_its_working_folder_and_from_the_config(trained):
    code, out, err = trained("verify", ".")
    assert code == 0, err
    lines = out.splitlines()
    assert f"ok       {CHECKPOINT} (checkpoint, step 12)" in lines
    assert any(line.startswith(f"ok       {VAL} (") for line in lines)
    number = len(lines_of(run_folder()))
    assert f"ok       {run_folder()} (run, {number} lines of metrics)" in lines
    assert any("tokenizer.json (tokenizer, 257 entries)" in line for line in lines)
    assert lines[-1] == f"total: {len(lines) - 1} ok"
    assert sorted(trained("verify")[1].splitlines()) == sorted(lines)


def test_hidden_folders_and_environments_are_passed_over(trained):
    shutil.copytree(CHECKPOINT, Path(".cache") / CHECKPOINT.name)
    shutil.copytree(CHECKPOINT, Path("env/deep") / CHECKPOINT.name)
    Path("env/pyvenv.cfg").touch()
    _, out, _ = trained("verify", ".")
    assert ".cache" not in out
    assert "env" not in out


def test_a_folder_that_links_to_itself_ends(trained):
    Path("data/loop").symlink_to("..", target_is_directory=True)
    code, out, _ = trained("verify", ".")
    assert code == 0
    assert out.count("dataset_train.bin (") == 1


@pytest.mark.parametrize("name", ["config.yaml", "training/state.json", "training"])
def test_a_path_inside_a_checkpoint_means_the_checkpoint(trained, name):
    code, out, _ = trained("verify", CHECKPOINT / name)
    assert code == 0
    assert out.startswith(f"ok       {CHECKPOINT} (checkpoint, step 12")


@pytest.mark.parametrize("name", ["metrics.jsonl", ".hydra/config.yaml", "loss_plot.png"])
def test_a_path_inside_a_run_folder_means_the_run(trained, name):
    folder = run_folder()
    _, out, _ = trained("verify", folder / name)
    assert out.startswith(f"ok       {folder} (run, ")
    assert f"lines of metrics; holds {Path(name).name})" in out


def test_a_sidecar_means_its_token_file(trained):
    code, out, _ = trained("verify", TRAIN.with_suffix(".json"), TRAIN)
    assert code == 0
    assert out.count("dataset_train.bin (") == 1
    assert "total: 1 ok" in out


def test_a_path_that_is_missing_is_an_error_after_the_rest(trained):
    flip(TRAIN)
    code, out, err = trained("verify", "nowhere", CHECKPOINT, "no=where", TRAIN)
    assert code == 2
    assert "no=where is not" not in out
    code, out, err = trained("verify", "nowhere", CHECKPOINT, TRAIN)
    assert code == 2
    assert f"ok       {CHECKPOINT}" in out
    assert err.splitlines()[-1].startswith("error: nowhere does not exist; give checkpoints")


def test_a_file_of_another_kind_is_refused_and_the_rest_verified(trained):
    result = trained("verify", "stories.txt", CHECKPOINT)
    damaged(result, "stories.txt", "no checkpoint, token file or run folder")


def test_a_name_with_an_equals_sign_is_a_path_where_it_exists(trained):
    shutil.copytree(CHECKPOINT, "a=b")
    assert trained("verify", "a=b")[1].startswith("ok       a=b (checkpoint, step 12)")


def test_json_is_an_object_an_item(trained):
    cut(VAL)
    code, out, _ = trained("verify", "format=json")
    found = statuses(out)
    assert code == 2
    assert found[str(CHECKPOINT)] == "ok"
    assert found[str(VAL)] == "damaged"
    objects = [json.loads(line) for line in out.splitlines()]
    assert all(set(o) == {"status", "path", "kind", "what", "error"} for o in objects)
    assert [o["path"] for o in objects if o["error"]] == [str(VAL)]


def test_things_set_aside_and_left_over_are_named_and_are_no_failure(trained):
    aside = CHECKPOINT.with_name(f"{EARLIER.name}.damaged")
    EARLIER.rename(aside)
    empty(aside / "config.yaml")
    Path("checkpoints/.unfinished-small-step-00000013-77").mkdir()
    before = Path("checkpoints/small-before-2026-01-02_03-04-05")
    shutil.copytree(CHECKPOINT, before / CHECKPOINT.name)
    Path("data/text/.dataset_val.bin.99.tmp").touch()
    code, out, err = trained("verify")
    assert code == 0, err
    assert f"aside    {aside} (" in out
    assert "leftover checkpoints/.unfinished-small-step-00000013-77 (" in out
    assert "leftover data/text/.dataset_val.bin.99.tmp (" in out
    assert f"aside    {before} (kept from an earlier run" in out
    assert f"ok       {before / CHECKPOINT.name} (checkpoint, step 12)" in out
    assert out.splitlines()[-1].endswith("2 set aside, 2 left over")


def test_a_checkpoint_between_two_renames_is_not_called_rubbish(trained):
    replaced = CHECKPOINT.with_name(f".replaced-{CHECKPOINT.name}")
    shutil.copytree(CHECKPOINT, replaced)
    assert f"leftover {replaced} (of a command that was killed" in trained("verify")[1]
    shutil.rmtree(CHECKPOINT)
    code, out, _ = trained("verify")
    assert code == 0
    killed = f"a run was killed while it replaced {CHECKPOINT.name}; the next"
    assert f"leftover {replaced} ({killed}" in out


def test_a_checkpoint_set_aside_is_verified_when_it_is_named(trained):
    aside = CHECKPOINT.with_name(f"{EARLIER.name}.damaged")
    EARLIER.rename(aside)
    empty(aside / "config.yaml")
    damaged(trained("verify", aside, CHECKPOINT), aside, "config.yaml")


DAMAGES = {
    "a flipped bit in the weights": lambda: flip(CHECKPOINT / "model.safetensors"),
    "a flipped bit in the config": lambda: flip(CHECKPOINT / "config.yaml"),
    "a flipped bit in the state": lambda: flip(CHECKPOINT / "training/state.json"),
    "cut weights": lambda: cut(CHECKPOINT / "model.safetensors"),
    "a cut manifest": lambda: cut(CHECKPOINT / "manifest.json"),
    "an empty optimizer": lambda: empty(CHECKPOINT / "training/optimizer.safetensors"),
    "an empty manifest": lambda: empty(CHECKPOINT / "manifest.json"),
    "a missing tokenizer": lambda: (CHECKPOINT / "tokenizer.json").unlink(),
    "a missing manifest": lambda: (CHECKPOINT / "manifest.json").unlink(),
    "swapped files": lambda: swap(
        CHECKPOINT / "model.safetensors", CHECKPOINT / "training/optimizer.safetensors"
    ),
    "another version": lambda: another_version(CHECKPOINT / "manifest.json"),
    "no files at all": lambda: (shutil.rmtree(CHECKPOINT), CHECKPOINT.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_every_damage_to_a_checkpoint_is_found(trained, damage):
    damage()
    damaged(trained("verify"), CHECKPOINT)


def test_checkpoints_that_swapped_their_names_are_found(trained):
    swap(CHECKPOINT, EARLIER)
    code, out, err = trained("verify", "checkpoints")
    assert code == 2
    assert out.count("damaged  ") == 2
    assert f"{EARLIER} holds step 12" in err
    assert f"{CHECKPOINT} holds step 10" in err


TOKEN_DAMAGES = {
    "a flipped bit": lambda: flip(TRAIN, 6),
    "a flipped high bit": lambda: flip(TRAIN, 7),
    "a flipped bit of its hash": lambda: TRAIN.with_suffix(".json").write_text(
        TRAIN.with_suffix(".json").read_text().replace('"sha256": "', '"sha256": "0')
    ),
    "a cut tail": lambda: cut(TRAIN),
    "two tokens less": lambda: cut(TRAIN, 4),
    "an empty file": lambda: empty(TRAIN),
    "an empty sidecar": lambda: empty(TRAIN.with_suffix(".json")),
    "a missing file": lambda: TRAIN.unlink(),
    "a missing sidecar": lambda: TRAIN.with_suffix(".json").unlink(),
    "a foreign file under its name": lambda: shutil.copy("stories.txt", TRAIN),
    "another version": lambda: another_version(TRAIN.with_suffix(".json")),
}


@pytest.mark.parametrize("damage", TOKEN_DAMAGES.values(), ids=TOKEN_DAMAGES)
def test_every_damage_to_a_token_file_is_found(trained, damage):
    damage()
    damaged(trained("verify", "data", CHECKPOINT), TRAIN)


def test_a_foreign_bin_beside_the_token_files_is_found(trained):
    Path("data/text/other.bin").write_bytes(b"1234")
    damaged(trained("verify"), "data/text/other.bin")


def test_a_bare_bin_elsewhere_is_only_verified_when_it_is_named(trained):
    Path("nano").mkdir()
    Path("nano/train.bin").write_bytes(b"1234")  # bare tokens, to be adopted
    assert trained("verify", ".")[0] == 0
    damaged(trained("verify", "nano/train.bin", CHECKPOINT), "nano/train.bin")


def test_token_files_that_swapped_their_names_are_found(trained):
    swap(TRAIN, VAL)
    code, out, _ = trained("verify", "data")
    assert code == 2
    assert out.count("damaged  ") == 2


def test_a_damaged_tokenizer_of_the_data_is_found(trained):
    path = Path("data/text/tokenizer.json")
    cut(path, 40)
    damaged(trained("verify"), path)
    path.unlink()
    damaged(trained("verify"), path)


def test_names_are_shown_without_control_characters(trained):
    strange = Path(os.fsdecode(b"data/text/a\x1b[2J\n\xffb.bin"))
    strange.write_bytes(b"12")
    code, out, err = trained("verify", "data")
    assert code == 2
    assert "damaged  data/text/a\\x1b[2J\\n\\udcffb.bin\n" in out
    assert "\x1b" not in out + err
    code, out, _ = trained("verify", "data", "format=json")
    assert statuses(out)[str(strange)] == "damaged"


def test_stray_files_are_a_warning(trained):
    (CHECKPOINT / "README.md").write_text("x")
    code, out, err = trained("verify", CHECKPOINT)
    assert code == 0
    assert out.startswith(f"ok       {CHECKPOINT} (checkpoint, step 12)")
    assert f"warning: {CHECKPOINT} has files that its manifest does not list" in err


def test_a_released_model_is_whole_without_a_training_state(gpt):
    code, out, err = gpt("verify", SHIPPED)
    assert code == 0, err
    assert out.startswith(f"ok       {SHIPPED} (checkpoint, step 14500, without a training state)")


def test_a_run_resumes_from_a_checkpoint_with_stray_files(trained, folder):
    for checkpoint in folder.glob("checkpoints/small-step-*"):
        (checkpoint / ".ipynb_checkpoints").mkdir()
        (checkpoint / "desktop.ini").write_text("x")
    code, _, err = trained("train", *SMALL, "schedule.max_steps=14")
    assert code == 0
    assert "resuming at step 12" in err
    assert not list(folder.glob("checkpoints/*.damaged"))
