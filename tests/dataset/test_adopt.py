import numpy as np
import pytest

from gpt_pipeline.dataset import (
    find_overlap,
    open_tokens,
    prepare,
    prepare_validation,
    read_sidecar,
)
from gpt_pipeline.errors import ConfigError, DataError
from gpt_pipeline.tokenizer import byte_tokenizer, gpt2

EOT = 50256


@pytest.fixture(scope="module")
def folder(shared_data):
    return str(shared_data / "gpt2")


@pytest.fixture
def adopt(dataset_config, tokenizer_config, folder):
    def run(**changes):
        said = []
        config = dataset_config(**changes)
        return prepare(config, tokenizer_config("gpt2", path=folder), say=said.append), said

    return run


def bare(path, ids):
    np.array(ids, dtype="<u2").tofile(path)
    return path


@pytest.fixture
def tokens(folder):
    tokenizer = gpt2(folder)
    stories = [f"Story {i}: caf\u00e9 \u4f60\u597d." for i in range(10)]
    ids = [[*tokenizer.encode(story), EOT] for story in stories]
    return stories, ids


def flat(ids):
    return [token for document in ids for token in document]


@pytest.mark.parametrize("names", [("train", "val"), ("dataset_train", "dataset_val")])
def test_folder_is_taken_over_token_by_token(tmp_path, adopt, tokens, names):
    stories, ids = tokens
    bare(tmp_path / f"{names[0]}.bin", flat(ids[:8]))
    bare(tmp_path / f"{names[1]}.bin", flat(ids[8:]))
    with pytest.raises(ConfigError, match=f"train_ratio must be null .* has {names[1]}.bin; got"):
        adopt(adopt=tmp_path, train_ratio=0.75)
    assert adopt(adopt=tmp_path, train_ratio=1.0)[0].val is None
    prepared, _ = adopt(adopt=tmp_path, train_ratio=None)
    train, sidecar = open_tokens(prepared.train)
    assert train.tolist() == flat(ids[:8])
    assert sidecar.documents == 8
    assert sidecar.bytes == sum(len(story.encode()) + 1 for story in stories[:8])
    assert open_tokens(prepared.val)[0].tolist() == flat(ids[8:])


def test_adopted_files_are_current_afterwards(tmp_path, adopt, tokens):
    path = bare(tmp_path / "a.bin", flat(tokens[1]))
    adopt(adopt=path)
    _, said = adopt(adopt=path)
    assert said == ["dataset_train.bin: current", "dataset_val.bin: current"]
    path.unlink()
    _, said = adopt(adopt=path)
    assert said == ["dataset_train.bin: current", "dataset_val.bin: current"]
    with pytest.raises(DataError, match=r"a\.bin does not exist any more"):
        adopt(adopt=path, train_ratio=0.5)


def test_damaged_copy_whose_source_is_gone_is_refused_by_name_and_stays(tmp_path, adopt, tokens):
    path = bare(tmp_path / "a.bin", flat(tokens[1]))
    prepared, _ = adopt(adopt=path)
    path.unlink()
    sidecar = prepared.val.with_suffix(".json")
    for damaged in (prepared.train, prepared.val, sidecar):
        whole = damaged.read_bytes()
        broken = bytearray(whole)
        broken[len(whole) // 2] ^= 1
        damaged.write_bytes(broken)
        names = {found.name for found in damaged.parent.iterdir()}
        with pytest.raises(DataError, match=rf"{damaged.stem}\.(bin|json) ") as caught:
            adopt(adopt=path)
        assert "a.bin does not" in str(caught.value)
        assert "dataset.adopt" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert damaged.read_bytes() == broken
        assert {found.name for found in damaged.parent.iterdir()} == names
        damaged.write_bytes(whole)
    assert adopt(adopt=path)[1] == ["dataset_train.bin: current", "dataset_val.bin: current"]


@pytest.mark.parametrize("name", ["dataset_val.bin", "dataset_val.json"])
def test_half_a_copy_whose_source_is_gone_is_no_run_without_validation(
    tmp_path, adopt, tokens, name
):
    path = bare(tmp_path / "a.bin", flat(tokens[1]))
    prepared, _ = adopt(adopt=path)
    path.unlink()
    prepared.val.with_name(name).unlink()
    with pytest.raises(
        DataError, match=r"dataset_val\.(bin|json) .*a\.bin does not|a\.bin does not.*"
    ):
        adopt(adopt=path)


def test_damaged_copy_is_adopted_anew_while_its_source_is_there(tmp_path, adopt, tokens):
    path = bare(tmp_path / "a.bin", flat(tokens[1]))
    prepared, _ = adopt(adopt=path)
    whole = prepared.train.read_bytes()
    prepared.train.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    _, said = adopt(adopt=path)
    assert "dataset_train.bin: rebuilt: " in said[0]
    assert prepared.train.read_bytes() == whole


def test_adopted_files_without_document_ends_have_no_overlap(tmp_path, adopt):
    prepared, _ = adopt(adopt=bare(tmp_path / "a.bin", range(100)))
    assert find_overlap(prepared.train, prepared.val).documents == 0


def test_source_that_cannot_be_read_is_named(tmp_path, adopt, tokens, monkeypatch):
    path = bare(tmp_path / "a.bin", flat(tokens[1]))

    def refused(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gpt_pipeline.dataset.bare_tokens.sha256_of", refused)
    with pytest.raises(DataError, match=r"a\.bin cannot be read: Permission denied"):
        adopt(adopt=path)


def test_lone_file_is_cut_behind_a_document(tmp_path, adopt, tokens):
    ids = tokens[1]
    prepared, _ = adopt(adopt=bare(tmp_path / "a.bin", flat(ids)), train_ratio=0.72)
    assert open_tokens(prepared.train)[0].tolist() == flat(ids[:8])
    assert open_tokens(prepared.val)[0].tolist() == flat(ids[8:])
    whole, _ = adopt(adopt=tmp_path / "a.bin", train_ratio=1.0)
    assert open_tokens(whole.train)[0].tolist() == flat(ids)
    assert whole.val is None


def test_file_without_documents_is_cut_at_the_ratio(tmp_path, adopt):
    prepared, _ = adopt(adopt=bare(tmp_path / "a.bin", range(100)))
    assert open_tokens(prepared.train)[0].tolist() == list(range(75))
    assert read_sidecar(prepared.val).documents == 0


def test_validation_can_be_another_bare_file_or_text(tmp_path, adopt, tokens):
    path = bare(tmp_path / "a.bin", flat(tokens[1]))
    val = bare(tmp_path / "b.bin", flat(tokens[1][:1]))
    prepared, _ = adopt(adopt=path, val_path=val)
    assert open_tokens(prepared.train)[0].tolist() == flat(tokens[1])
    assert open_tokens(prepared.val)[0].tolist() == flat(tokens[1][:1])
    (tmp_path / "c.txt").write_text(tokens[0][2], encoding="utf-8")
    prepared, said = adopt(adopt=path, val_path=tmp_path / "c.txt")
    assert open_tokens(prepared.val)[0].tolist() == tokens[1][2]
    assert said[0] == "dataset_train.bin: current"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "a.bin must hold uint16 tokens, 2 bytes each; got 0 bytes"),
        (b"abc", "got 3 bytes"),
        (bytes([1, 0] * 9 + [0xFF, 0xFF]), "below 50257; got 65535 at token 9"),
        (bytes([1, 0] * 9 + [0x51, 0xC4]), "below 50257; got 50257 at token 9"),
        (bytes([1, 0]), "too short to be split by dataset.train_ratio=0.75; got 1 tokens"),
    ],
)
def test_files_that_hold_no_gpt2_tokens_are_refused(tmp_path, adopt, raw, problem):
    (tmp_path / "a.bin").write_bytes(raw)
    with pytest.raises(DataError, match=problem):
        adopt(adopt=tmp_path / "a.bin")
    assert not list(tmp_path.rglob("dataset_val*"))


def test_missing_files_are_refused(tmp_path, adopt):
    with pytest.raises(DataError, match=r"token file or a folder; .*none is neither"):
        adopt(adopt=tmp_path / "none")
    with pytest.raises(DataError, match=r"folder with train\.bin or dataset_train\.bin; got none"):
        adopt(adopt=tmp_path)


def test_other_tokenizers_are_refused(tmp_path, dataset_config, tokenizer_config):
    config = dataset_config(adopt=bare(tmp_path / "a.bin", [1, 2]))
    with pytest.raises(ConfigError, match="add tokenizer=gpt2; got bytes"):
        prepare(config, tokenizer_config(), say=print)
    with pytest.raises(DataError, match=r"50257 entries, end-of-text 50256.; got one with 257"):
        prepare_validation(config, byte_tokenizer(), say=print)
