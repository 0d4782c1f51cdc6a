"""A user's mistakes: one line that names it on standard error, exit code 2, nothing lost."""

import errno
import json
import shutil
from pathlib import Path

import pytest
from small_run import SMALL

from gpt_pipeline.cli import checkpoint as checkpoint_module
from gpt_pipeline.dataset import token_file


def refused(result, *parts):
    """One line `error: ...` with all the parts, and exit code 2."""
    code, out, err = result
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert out == ""
    for part in parts:
        assert part in lines[0]


def test_a_missing_text_file(gpt):
    refused(gpt("train", *SMALL, "dataset.path=nowhere.txt"), "dataset.path", "nowhere.txt")


def test_an_empty_text_file(gpt, folder):
    (folder / "empty.txt").write_text("")
    refused(gpt("train", *SMALL, "dataset.path=empty.txt"), "empty.txt")


def test_a_text_that_is_not_utf8_with_its_byte_offset(gpt, folder):
    (folder / "latin.txt").write_bytes(b"Once upon a time.\n\ncaf\xe9 au lait\n")
    refused(gpt("train", *SMALL, "dataset.path=latin.txt"), "latin.txt", "UTF-8", "22")


def test_a_jsonl_line_without_the_field_with_its_number(gpt, folder):
    lines = [{"text": "one"}, {"txet": "two"}]
    (folder / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused(gpt("train", *SMALL, "dataset.path=a.jsonl"), "a.jsonl", "line 2", "text")


def test_a_corpus_shorter_than_one_window(gpt, folder):
    (folder / "short.txt").write_text("One two.\n\nThree four.\n")
    result = gpt("train", *SMALL, "dataset.path=short.txt", "model.max_length=512")
    refused(result, "window of model.max_length=512")


def test_heads_that_do_not_divide_the_width(gpt):
    refused(gpt("train", *SMALL, "model.num_heads=7"), "got 7 and 32", "try 4 or 8")


def test_a_vocabulary_unlike_the_tokenizers(gpt, folder):
    result = gpt("train", *SMALL, "model.vocab_size=300")
    refused(result, "model.vocab_size", "300", "257", "null")
    assert not (folder / "data" / "text" / "dataset_train.bin").exists()  # before the long work


def test_an_end_of_text_unlike_the_tokenizers(gpt, folder):
    refused(gpt("train", *SMALL, "block.eot_id=5"), "block.eot_id must be", "end-of-text", "got 5")


def test_a_key_for_the_server_that_a_checkpoint_would_give_away(gpt, folder):
    result = gpt("train", *SMALL, "serve.api_key=s3cret")
    refused(result, "serve.api_key must be null in train", "set it in serve")
    assert "s3cret" not in result[2]
    assert not (folder / "data").exists()


@pytest.mark.parametrize("ratio", ["0", "-0.5", "1.5"])
def test_a_train_ratio_outside_its_range(gpt, ratio):
    result = gpt("train", *SMALL, f"dataset.train_ratio={ratio}")
    refused(result, "dataset.train_ratio must be a number > 0 and <= 1", ratio)


@pytest.mark.parametrize("key", ["embed_dim", "num_layers", "micro_batch_size", "max_length"])
@pytest.mark.parametrize("value", ["0", "-4"])
def test_sizes_that_are_not_positive(gpt, key, value):
    refused(gpt("train", *SMALL, f"model.{key}={value}"), f"model.{key} must be", f"got {value}")


def test_a_prompt_that_is_too_long_is_named_before_any_work(trained, folder):
    (folder / "many.txt").write_text("Tom\n\n" + "word " * 500 + "\n")
    result = trained("inference", "prompts=many.txt", "output=out.jsonl")
    assert result[0] == 2
    assert "error: prompts=many.txt line 3 must be at most" in result[2]
    assert not (folder / "out.jsonl").exists()
    result = trained("inference", "model.prompt=" + "word " * 500)
    assert "error: model.prompt must be at most" in result[2]


def test_a_prompt_beside_a_file_of_prompts(gpt, folder):
    (folder / "many.txt").write_text("Tom\n")
    refused(gpt("inference", "prompts=many.txt", "model.prompt=Ann"), "prompts and model.prompt")


@pytest.mark.parametrize(
    ("word", "got"),
    [("sampling.logit_bias={a:3}", "a"), ("sampling.logit_bias={3:1e300}", "1e+300"),
     ("sampling.logit_bias={-1:3}", "-1"), ("sampling.repetition_penalty=1e-39", "1e-39")],
)  # fmt: skip
def test_settings_that_no_logits_survive(gpt, word, got):
    refused(gpt("inference", word), word.split("=")[0] + " must be", f"got {got}")


def test_a_bias_of_a_token_that_there_is_not(trained):
    result = trained("inference", "sampling.logit_bias={257:1}")
    assert result[0] == 2
    assert "sampling.logit_bias must name token ids below 257" in result[2]


@pytest.mark.parametrize("key", ["prompts", "output"])
def test_a_file_without_a_name(gpt, key):
    refused(gpt("inference", f"{key}="), f"{key} must name a file")


def test_no_checkpoint_at_all_where_no_model_ships(gpt, folder, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "SHIPPED", folder / "none")
    refused(gpt("inference"), "no checkpoint in checkpoints", "make train", "checkpoint.load")


def test_a_checkpoint_folder_that_is_missing(gpt):
    refused(gpt("inference", "checkpoint.load=no/such"), "no/such is not a folder")


def test_a_half_checkpoint(trained):
    Path("checkpoints/small-step-00000012/model.safetensors").unlink()
    result = trained("inference", "checkpoint.load=checkpoints/small-step-00000012")
    refused(result, "incomplete", "model.safetensors")


def test_a_damaged_checkpoint(trained):
    weights = Path("checkpoints/small-step-00000012/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-5] ^= 64
    weights.write_bytes(content)
    result = trained("inference", "checkpoint.load=checkpoints/small-step-00000012")
    refused(result, "damaged", "model.safetensors")


def test_a_checkpoint_of_another_architecture_on_resume(trained):
    before = sorted(Path("checkpoints").iterdir())
    result = trained("train", *SMALL, "model.num_layers=2", "schedule.max_steps=20")
    refused(result, "another architecture", "model.num_layers (1 there, 2 here)", "resume=never")
    assert sorted(Path("checkpoints").iterdir()) == before


def test_a_checkpoint_trained_on_other_data_on_resume(trained, folder):
    with (folder / "stories.txt").open("a") as file:
        file.write("<|endoftext|>\nOne more story that changes the data.\n")
    refused(trained("train", *SMALL), "stories.txt", "has changed since", "checkpoint.resume=never")
    shutil.rmtree(folder / "data")  # then there is nothing to keep
    refused(trained("train", *SMALL), "other data", "checkpoint.resume=never")


def test_a_checkpoint_with_another_tokenizer_on_resume(trained):
    result = trained("train", *SMALL, "tokenizer=bpe", "tokenizer.vocab_size=257")
    refused(result, "another tokenizer", "checkpoint.resume=never")


def test_resume_must_without_a_checkpoint(gpt):
    refused(gpt("train", *SMALL, "checkpoint.resume=must"), "checkpoint.resume=must", "small")


def test_a_prompt_longer_than_the_context(trained):
    result = trained("inference", f"model.prompt={'word ' * 20}")
    refused(result, "at most 32 tokens", "got 100", "shorten it")


def test_a_prompt_longer_than_the_context_is_found_before_training(gpt):
    result = gpt("train", *SMALL, f"model.prompt={'word ' * 20}")
    refused(result, "model.prompt", "32", "got 100")
    assert not Path("outputs").exists()


def test_a_prompt_file_that_is_missing_or_empty(trained, folder):
    refused(trained("inference", "prompts=none.txt"), "prompts=none.txt")
    (folder / "empty.txt").write_text("\n \n")
    refused(trained("inference", "prompts=empty.txt"), "prompts=empty.txt", "one prompt per line")


def test_a_full_disk_while_data_are_written(gpt, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(token_file, "sync", full)
    refused(gpt("data", *SMALL), "data/text/dataset_train.bin", "disk is full", "dataset.data_dir")
    assert list(Path("data/text").glob("*.bin")) == []


def test_a_full_disk_at_the_end_of_training_is_an_error_and_loses_nothing(trained, monkeypatch):
    from gpt_pipeline.checkpoint import store

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "sync", full)
    words = ("schedule.max_steps=13", "checkpoint.retry_after_s=0")
    code, _, err = trained("train", *SMALL, *words)
    assert code == 2
    assert err.count("retrying in") == 2
    assert "error: cannot save checkpoints/small-step-00000013" in err
    assert "No space left on device" in err
    assert trained("verify", "checkpoints")[0] == 0


def test_a_device_that_is_not_there(gpt):
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("this machine has MPS")
    refused(gpt("train", *SMALL, "runtime.device=mps"), "runtime.device", "got mps", "cpu")


def test_verify_of_nothing(gpt, folder):
    refused(gpt("verify", "stories"), "stories does not exist")
    shutil.rmtree(folder / "data", ignore_errors=True)
    refused(gpt("verify"), "no checkpoint, token file or run folder in")


def test_an_unknown_command_with_the_nearest(gpt):
    refused(gpt("trian"), "got trian", "did you mean train?")


def test_an_unknown_option(gpt):
    refused(gpt("train", "--fast"), "--fast", "--help")


def test_all_problems_of_a_config_at_once(gpt):
    code, _, err = gpt("train", "model.num_heads=7", "model.embd_dim=3", "runtime.seed=-1")
    assert code == 2
    assert err.count("error: ") == 3


@pytest.mark.parametrize("key", ["model.checkpoint_name", "dataset.name"])
def test_a_name_that_no_file_system_takes_is_refused_before_the_run(gpt, key):
    """It would fail at the first save, with what is put around it."""
    refused(gpt("train", *SMALL, f"{key}={'a' * 201}"), key, "of at most 200 characters")
    assert gpt("data", *SMALL, f"{key}={'a' * 200}")[0] == 0


def test_a_folder_name_that_is_too_long_is_one_line(gpt):
    refused(gpt("train", *SMALL, f"dataset.data_dir={'a' * 300}"), "File name too long")


def test_a_current_folder_that_was_removed_is_one_line(gpt, folder, monkeypatch):
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for command in ("train", "inference", "verify"):
        refused(gpt(command), "the current folder cannot be used: No such file or directory")
    monkeypatch.chdir(folder)
