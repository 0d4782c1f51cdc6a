"""Which text `evaluate` measures, and what it says where that is not the run's."""

import json
from pathlib import Path

import pytest
from small_run import SMALL, corpus

from gpt_pipeline.checkpoint import checkpoint_folders, open_checkpoint
from gpt_pipeline.durable import sealed, unsealed

WARNING = "warning: this is not the validation text of the run (SHA-256 of its tokens: "
VAL = Path("data/text/dataset_val.bin")


def figures(result):
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def run_figures(trained):
    """What the run itself ended with."""
    return dict(
        open_checkpoint(checkpoint_folders(Path("checkpoints"), "small")[-1]).manifest.validation
    )


def test_after_the_text_has_grown_the_run_s_own_tokens_are_measured(trained, folder, run_figures):
    (folder / "stories.txt").write_text(corpus(300))
    result = trained("evaluate", "format=json")
    assert figures(result) == pytest.approx(run_figures)
    assert "dataset_val.bin: the validation tokens of the run" in result[2]
    assert WARNING not in result[2]


def test_after_the_text_has_grown_its_new_split_is_said_to_be_another(trained, folder, run_figures):
    """Its validation documents are others now, and the run was trained on some of them."""
    (folder / "stories.txt").write_text(corpus(300))
    VAL.unlink()
    for words in ((), ("dataset=text", "dataset.path=stories.txt")):
        result = trained("evaluate", "format=json", *words)
        assert figures(result)["tokens"] != run_figures["tokens"]
        assert WARNING in result[2]


def test_the_same_text_is_no_other(trained, folder, run_figures):
    VAL.unlink()
    for words in ((), ("dataset=text", "dataset.path=stories.txt")):
        result = trained("evaluate", "format=json", *words)
        assert figures(result) == pytest.approx(run_figures)
        assert WARNING not in result[2]


def test_where_the_text_is_gone_its_token_file_is_measured(trained, folder, run_figures):
    (folder / "stories.txt").unlink()
    assert figures(trained("evaluate", "format=json")) == pytest.approx(run_figures)
    result = trained("evaluate", "format=json", "dataset=text", "dataset.path=stories.txt")
    assert figures(result) == pytest.approx(run_figures)
    assert "dataset_val.bin: used as it was made, since its text cannot be read now" in result[2]


@pytest.mark.parametrize("words", [["dataset.path=typo.txt"], ["dataset.val_path=typo.txt"]])
def test_the_token_file_of_another_text_is_not_taken_for_it(trained, folder, words):
    code, _, err = trained("evaluate", "dataset=text", *words)
    assert code == 2
    assert "typo.txt does not exist" in err


def test_a_damaged_token_file_is_not_used(trained, folder):
    (folder / "stories.txt").unlink()
    VAL.write_bytes(VAL.read_bytes()[:-2] + b"\1\0")
    code, _, err = trained("evaluate")
    assert code == 2
    assert "stories.txt does not exist" in err


def test_a_validation_text_needs_no_training_text(trained, folder):
    (folder / "other.txt").write_text(corpus(10))
    result = trained("evaluate", "format=json", "dataset=text", "dataset.val_path=other.txt")
    assert figures(result)["bytes"] == len(corpus(10).replace("\n<|endoftext|>\n", "\0"))
    assert WARNING in result[2]


def test_training_needs_training_text(gpt, folder):
    words = [word for word in SMALL if not word.startswith("dataset.path")]
    for command in ("train", "data", "plan"):
        code, _, err = gpt(command, *words, "dataset.val_path=stories.txt")
        assert code == 2
        assert "error: dataset.path must name a file, folder or glob; got null" in err


def test_evaluating_another_text_leaves_the_validation_tokens_of_the_run(
    trained, folder, run_figures
):
    (folder / "other.txt").write_text(corpus(10))
    before = VAL.read_bytes()
    other = ("dataset=text", "dataset.val_path=other.txt")
    first = figures(trained("evaluate", "format=json", *other))
    assert VAL.read_bytes() == before
    assert figures(trained("evaluate", "format=json", *other)) == pytest.approx(first)
    (folder / "stories.txt").unlink()
    assert figures(trained("evaluate", "format=json")) == pytest.approx(run_figures)
    assert trained("verify", "data")[0] == 0


@pytest.mark.parametrize("grown", [False, True])
def test_a_checkpoint_that_does_not_record_its_text_is_measured_on_the_tokens_beside_its_own(
    trained, folder, run_figures, grown
):
    for path in checkpoint_folders(Path("checkpoints"), "small"):
        manifest = unsealed((path / "manifest.json").read_bytes())
        del manifest["val_data_fingerprint"]
        (path / "manifest.json").write_bytes(sealed(manifest))
    if grown:
        (folder / "stories.txt").write_text(corpus(300))
    result = trained("evaluate", "format=json")
    assert figures(result) == pytest.approx(run_figures)
    assert "dataset_val.bin: the validation tokens of the run" in result[2]
    VAL.unlink()
    result = trained("evaluate", "format=json")
    assert "the checkpoint does not record which text it was validated on" in result[2]
