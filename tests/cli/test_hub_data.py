"""Data sets that `datasets` loads: their splits, and when their token files are current."""

import json
import os

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from small_run import SMALL

datasets = pytest.importorskip("datasets", reason="needs datasets: make install-dev")
pytestmark = pytest.mark.filterwarnings("default")  # of `datasets` itself
HUB = [word for word in SMALL if not word.startswith("dataset.path=")]
HUB += ["dataset=tinystories", "dataset.hub_id=hub"]


def parquet(path, rows):
    path.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table({"text": rows}), path)


@pytest.fixture
def data(gpt, folder):
    """Runs `data`; gives documents of both token files, and standard error."""

    def run(*words):
        code, _, err = gpt("data", *HUB, *words)
        assert code == 0, err
        return *(
            documents(folder / f"data/tinystories/dataset_{s}.bin") for s in ("train", "val")
        ), err

    return run


def documents(path):
    if not path.exists():
        return None
    tokens = np.fromfile(path, dtype="<u2")
    return bytes(np.where(tokens == 256, 0, tokens).astype(np.uint8)).decode().split("\0")[:-1]


ROWS = [f"row {n}" for n in range(40)]


@pytest.fixture
def train_only(folder):
    parquet(folder / "hub/train-00000.parquet", ROWS)
    return folder / "hub"


def test_a_train_split_alone_is_split_by_document(data, train_only):
    train, val, err = data("dataset.train_ratio=0.75")
    assert len(val) == 10
    assert sorted(train + val) == sorted(ROWS)
    assert train == [row for row in ROWS if row in train]
    assert "hub has no validation split: dataset.train_ratio=0.75 splits its documents" in err
    assert data("dataset.train_ratio=0.75", "dataset.seed=1")[1] != val
    assert len(data("dataset.train_ratio=0.5")[1]) == 20


def test_a_split_for_validation_is_used_and_a_ratio_refused(data, train_only, gpt):
    parquet(train_only / "validation-00000.parquet", ["kept", "apart"])
    train, val, err = data()
    assert (train, val) == (ROWS, ["kept", "apart"])
    assert "no validation split" not in err
    code, _, err = gpt("data", *HUB, "dataset.train_ratio=0.5")
    assert code == 2
    assert "dataset.train_ratio must be null or 1 for hub, which has a validation split" in err
    assert "dataset_val.bin: none" in data("dataset.train_ratio=1")[2]


def test_a_test_split_is_not_validated_on(data, train_only):
    parquet(train_only / "test-00000.parquet", ["secret"])
    train, val, _ = data("dataset.train_ratio=0.75")
    assert len(val) == 10
    assert "secret" not in train + val


def test_ratio_one_of_a_train_split_alone_validates_on_none(data, train_only, gpt):
    train, val, err = data("dataset.train_ratio=1")
    assert (train, val) == (ROWS, None)
    assert "dataset_val.bin: none" in err


def test_a_validation_file_needs_no_look_at_the_splits(data, train_only, folder, no_network):
    (folder / "val.txt").write_text("own\n\nfile")
    assert data("dataset.val_path=val.txt")[:2] == (ROWS, ["own", "file"])


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "get_dataset_split_names", refuse)


@pytest.mark.parametrize("words", [(), ("dataset.train_ratio=1",)])
@pytest.mark.parametrize("validation", [True, False])
def test_being_current_asks_nobody(data, train_only, monkeypatch, words, validation):
    if validation:
        parquet(train_only / "validation-00000.parquet", ["kept"])
    before = data(*words)[:2]

    def refuse(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "get_dataset_split_names", refuse)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    train, val, err = data(*words)
    assert (train, val) == before
    assert "dataset_train.bin: current" in err


def test_a_plan_asks_nobody_before_there_are_token_files(gpt, train_only, no_network):
    code, _, err = gpt("plan", *HUB)
    assert code == 0, err


def test_a_split_that_appears_in_a_folder_is_used(data, train_only):
    assert len(data()[1]) == 4
    parquet(train_only / "validation-00000.parquet", ["kept"])
    train, val, _ = data()
    assert (train, val) == (ROWS, ["kept"])
    (train_only / "validation-00000.parquet").unlink()
    assert len(data()[1]) == 4


def test_a_folder_edited_at_equal_size_is_not_current(data, train_only):
    path = train_only / "train-00000.parquet"
    path.unlink()
    path = train_only / "train.jsonl"
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in ROWS))
    data()
    status = path.stat()
    path.write_text(path.read_text().replace("row 3", "ROW 3"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    train, val, err = data()
    assert "dataset_train.bin: rebuilt: made from another source" in err
    assert "ROW 3" in train + val
    (train_only / "sub").mkdir()
    path.rename(train_only / "sub/train.jsonl")
    assert "rebuilt" in data()[2]


def test_hidden_names_in_a_folder_change_nothing(data, train_only):
    data()
    (train_only / ".cache/huggingface").mkdir(parents=True)
    (train_only / ".cache/huggingface/x").write_text("x")
    (train_only / ".DS_Store").write_text("x")
    (train_only / "__pycache__").mkdir()
    (train_only / "__pycache__/a.pyc").write_text("x")
    (train_only / "loop").symlink_to(".")
    assert "dataset_train.bin: current" in data()[2]


def refused(gpt, *words):
    code, out, err = gpt("data", *HUB, *words)
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out, len(lines)) == (2, "", 1), err
    assert "Traceback" not in err
    return lines[0]


def test_rows_that_hold_no_text_are_one_line(gpt, train_only):
    path = train_only / "train-00000.parquet"
    path.unlink()
    lines = train_only / "train.jsonl"
    lines.write_text('{"text": "a"}\n{"text": null}\n')
    assert "hub (train) row 1 must have text in 'text'; got None" in refused(gpt)
    lines.write_text('{"text": [1]}\n')
    assert "row 0 must have text in 'text'; got [1]" in refused(gpt)
    lines.unlink()
    raw = pyarrow.py_buffer(b"ab\xffz")
    offsets = pyarrow.py_buffer(np.array([0, 2, 4], dtype="<i4").tobytes())
    bad = pyarrow.Array.from_buffers(pyarrow.string(), 2, [None, offsets, raw])
    pyarrow.parquet.write_table(pyarrow.table({"text": bad}), path)
    assert "cannot read hub (train)" in refused(gpt)
    assert "UnicodeDecodeError" in refused(gpt)


def test_a_data_set_without_a_train_split_is_one_line(gpt, folder):
    parquet(folder / "hub/test-00000.parquet", ROWS)
    assert "hub must have a split named train; got ['test']" in refused(gpt)


def test_a_marker_in_a_row(data, train_only):
    parquet(train_only / "train-00000.parquet", ["a<|endoftext|>b", "c<|endoftext|>", "d"])
    train, val, err = data()
    assert len(train + val) == 3
    assert err.count("hub (train) row 0 has <|endoftext|> within a document") == 1
    train, val, err = data("dataset.separator=endoftext_anywhere")
    assert sorted(train + val) == ["a", "b", "c", "d"]
    assert "within a document" not in err


@pytest.fixture
def remote(monkeypatch):
    """A data set of the hub whose splits a test chooses, and what was asked of it."""
    splits, asked = {}, []

    def names(hub_id):
        asked.append("names")
        return list(splits)

    def load(hub_id, *, split, streaming):
        asked.append(split)
        return [{"text": row} for row in splits[split]]

    monkeypatch.setattr(datasets, "get_dataset_split_names", names)
    monkeypatch.setattr(datasets, "load_dataset", load)
    return splits, asked


def test_a_remote_data_set_is_asked_once(data, remote):
    splits, asked = remote
    splits["train"] = ROWS
    train, val, _ = data("dataset.hub_id=some/one")
    assert (len(train), len(val)) == (36, 4)
    assert asked.count("names") == 1
    asked.clear()
    assert "dataset_train.bin: current" in data("dataset.hub_id=some/one")[2]
    assert asked == []
    assert len(data("dataset.hub_id=some/one", "dataset.train_ratio=0.5")[1]) == 20
    assert "names" not in asked


def test_a_remote_data_set_keeps_the_fingerprint_of_its_name(data, remote, folder):
    splits, _ = remote
    splits.update(train=ROWS, validation=["kept"])
    data("dataset.hub_id=some/one")
    for side, split in (("train", "train"), ("val", "validation")):
        sidecar = json.loads((folder / f"data/tinystories/dataset_{side}.json").read_text())
        assert sidecar["source_fingerprint"] == f"hub:some/one:{split}:text"
