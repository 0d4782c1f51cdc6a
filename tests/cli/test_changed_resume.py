"""A run resumed with other words: its length stays, and what changes its meaning is reported."""

import math
from pathlib import Path

import pytest
from small_run import SMALL, corpus, history

from gpt_pipeline.checkpoint import checkpoint_folders, open_checkpoint
from gpt_pipeline.durable import sealed, unsealed

ROOT = Path("checkpoints")


def steps(folder):
    return [entry["step"] for entry in history(folder)]


@pytest.mark.parametrize(
    "change", ["model.micro_batch_size=3", "model.micro_batch_size=16", "model.grad_accumulation=2"]
)
def test_max_steps_counts_steps_whatever_the_batch_was(gpt, folder, change):
    assert gpt("train", *SMALL, "schedule.max_steps=5")[0] == 0
    code, _, err = gpt("train", *SMALL, "schedule.max_steps=10", change)
    assert code == 0
    assert "run: 10 steps" in err
    assert f"resuming with a changed {change.split('=')[0]}: " in err
    assert steps(folder) == list(range(1, 11))
    assert open_checkpoint(checkpoint_folders(ROOT, "small")[-1]).manifest.step == 10
    assert "this run is complete" in gpt("train", *SMALL, "schedule.max_steps=10", change)[2]


def test_the_learning_rate_ends_where_the_steps_end(gpt, folder):
    words = [*SMALL, "model.learning_rate=1e-2", "model.min_lr=1e-4"]
    assert gpt("train", *words, "schedule.max_steps=5")[0] == 0
    assert gpt("train", *words, "schedule.max_steps=10", "model.micro_batch_size=2")[0] == 0
    rates = [entry["lr"] for entry in history(folder)]
    wanted = [1e-4 + 0.5 * 9.9e-3 * (1 + math.cos(math.pi * (step - 2) / 8)) for step in (6, 9)]
    assert [rates[6], rates[9]] == pytest.approx(wanted)


def test_an_epoch_is_every_window_once_whatever_the_batch_was(gpt, folder):
    words = [word for word in SMALL if not word.startswith("schedule.max_steps")]
    assert gpt("train", *words, "schedule.max_steps=5", "model.num_epochs=2")[0] == 0
    code, _, err = gpt("train", *words, "model.num_epochs=2", "model.micro_batch_size=3")
    assert code == 0
    tokens = history(folder)[-1]["tokens"]
    data = Path("data/text/dataset_train.bin").stat().st_size // 2
    assert tokens == 2 * data
    windows = 2 * -(-data // 32)
    last = 5 + -(-(windows - 5 * 8) // 3)
    assert f"run: {last} steps" in err
    assert steps(folder)[-1] == last


def test_the_order_of_the_data_is_said_like_other_keys(gpt, folder):
    assert gpt("train", *SMALL, "schedule.max_steps=5")[0] == 0
    _, _, err = gpt("train", *SMALL, "dataset.train_shuffle=false", "dataset.num_workers=1")
    assert "resuming with a changed dataset.train_shuffle: True before, False now" in err
    assert err.count("resuming with a changed") == 2  # schedule.max_steps, too


@pytest.fixture
def texts(folder):
    """Words with one validation text, and with another that is far easier to predict."""
    (folder / "hard.txt").write_text("Zyx qwv, 9817; Jkl 0-0 PQR!\n" * 40)
    (folder / "easy.txt").write_text(corpus(80)[-1500:])
    words = [*SMALL, "model.eval_freq=2", "checkpoint.keep_last=2", "checkpoint.background=false"]
    return [[*words, f"dataset.val_path={name}.txt"] for name in ("easy", "hard")]


def test_best_never_compares_losses_of_two_validation_texts(gpt, folder, texts):
    easy, hard = texts
    assert gpt("train", *easy, "schedule.max_steps=6")[0] == 0
    code, _, err = gpt("train", *hard, "schedule.max_steps=12")
    assert code == 0
    assert "resuming with another validation text (SHA-256 of its tokens: " in err
    losses = {entry["step"]: entry["val_loss"] for entry in history(folder) if "val_loss" in entry}
    assert min(losses[step] for step in (8, 10, 12)) > losses[6]  # or this would prove nothing
    best = min((8, 10, 12), key=losses.__getitem__)
    assert f"small-step-{best:08d}" in gpt("evaluate", "checkpoint.load=best", *hard[-1:])[2]
    kept = [int(path.name[-8:]) for path in checkpoint_folders(ROOT, "small")]
    assert kept == sorted({best, 10, 12})


def test_the_same_validation_text_under_another_name_is_the_same(gpt, folder, texts):
    assert gpt("train", *texts[0], "schedule.max_steps=6")[0] == 0
    (folder / "same.txt").write_bytes((folder / "easy.txt").read_bytes())
    _, _, err = gpt("train", *texts[0][:-1], "dataset.val_path=same.txt")
    assert "another validation text" not in err
    assert "resuming at step 6" in err


def test_a_run_that_loses_its_validation_text_says_so(gpt, folder, texts):
    words = [word for word in texts[0] if "val_path" not in word] + ["dataset.train_ratio=1"]
    assert gpt("train", *texts[0], "schedule.max_steps=6")[0] == 0
    _, _, err = gpt("train", *words)
    assert "resuming without a validation text: there was one before" in err


def test_a_resume_that_is_refused_leaves_the_token_files_of_the_run(gpt, folder):
    assert gpt("train", *SMALL, "schedule.max_steps=5")[0] == 0
    text = (folder / "stories.txt").read_bytes()
    before = {path: path.read_bytes() for path in Path("data/text").iterdir()}
    for change in (b"\n<|endoftext|>\nOne more story.\n", b""):
        (folder / "stories.txt").write_bytes(text + change)
        words = [] if change else ["dataset.train_ratio=0.8"]
        code, _, err = gpt("train", *SMALL, *words)
        assert code == 2
        assert "has the tokens that this run was trained on, and stories.txt (0." in err
        assert "nothing was replaced: restore the text to continue" in err
        assert {path: path.read_bytes() for path in Path("data/text").iterdir()} == before
    assert gpt("train", *SMALL)[0] == 0
    assert steps(folder) == list(range(1, 13))
    (folder / "stories.txt").write_bytes(text + b"\n<|endoftext|>\nOne more story.\n")
    assert gpt("train", *SMALL, "checkpoint.resume=never")[0] == 0


def test_losses_of_a_checkpoint_that_does_not_record_its_text_are_not_compared(gpt, folder, texts):
    easy, hard = texts
    assert gpt("train", *easy, "schedule.max_steps=6")[0] == 0
    for path in checkpoint_folders(ROOT, "small"):  # as an earlier program wrote them
        manifest = unsealed((path / "manifest.json").read_bytes())
        del manifest["val_data_fingerprint"]
        (path / "manifest.json").write_bytes(sealed(manifest))
    _, _, err = gpt("train", *hard, "schedule.max_steps=10")
    assert "another validation text (SHA-256 of its tokens: not recorded before, " in err
    assert "small-step-000000" in (said := gpt("evaluate", "checkpoint.load=best", *hard[-1:])[2])
    assert "small-step-00000006" not in said


def test_a_complete_run_does_not_show_the_figures_of_another_validation_text(gpt, folder, texts):
    easy, hard = texts
    assert "validation: loss" in gpt("train", *easy, "schedule.max_steps=6")[1]
    code, out, err = gpt("train", *hard, "schedule.max_steps=6")
    assert code == 0
    assert "this run is complete" in err
    assert "validation: loss" not in out
    assert "validation: loss" in gpt("train", *easy, "schedule.max_steps=6")[1]


def test_another_optimizer_is_refused_with_what_to_do(gpt, folder):
    assert gpt("train", *SMALL, "schedule.max_steps=5")[0] == 0
    code, _, err = gpt("train", *SMALL, "optimizer=muon")
    assert code == 2
    assert "has the state of optimizer=adamw; got optimizer=muon; set checkpoint.resume=" in err
    assert "resuming with a changed" not in err
    assert gpt("train", *SMALL, "optimizer=muon", "checkpoint.resume=never")[0] == 0
