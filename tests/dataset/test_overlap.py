import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_pipeline.dataset import find_overlap, prepare, token_file
from gpt_pipeline.dataset.corpus import Encoded
from gpt_pipeline.dataset.overlap import OVERLAP_FILE, count_overlap
from gpt_pipeline.dataset.token_file import Origin, TokenFileWriter
from gpt_pipeline.durable import sealed, unsealed
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import byte_tokenizer

BYTES = byte_tokenizer()


def write(path, ids, tokenizer=BYTES):
    with TokenFileWriter(path, Origin(tokenizer, "a test", "test:1")) as writer:
        writer.append(Encoded(np.array(ids, dtype=np.uint32), 0, len(ids)))
    return path


def write_texts(folder, train, val):
    ids = [[i for text in texts for i in [*BYTES.encode(text), 256]] for texts in (train, val)]
    paths = folder / "dataset_train.bin", folder / "dataset_val.bin"
    return tuple(write(path, found) for path, found in zip(paths, ids, strict=True))


TEXTS = st.lists(st.text("ab", max_size=4), min_size=1, max_size=12)


@settings(deadline=None)
@given(train=TEXTS, val=TEXTS, chunk=st.sampled_from([2, 4, 6, 1 << 20]))
def test_documents_in_both_texts_are_counted(tmp_path_factory, train, val, chunk):
    folder = tmp_path_factory.mktemp("overlap")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_file, "_CHUNK", chunk)  # documents reach over the ends of chunks
        found = count_overlap(*write_texts(folder, train, val))
    real = [text for text in val if text]
    assert found.documents == len(real)
    assert found.shared == sum(text in train for text in real)


def test_result_is_said_in_words(tmp_path):
    said = str(find_overlap(*write_texts(tmp_path, ["a", "b", "c"], ["x"] * 1000)))
    assert said == "overlap: none of 1,000 validation documents is in the training text"
    said = str(find_overlap(*write_texts(tmp_path, ["a", "b", "c"], ["x"] * 997 + ["a", "b", "a"])))
    assert said == ("overlap: 3 of 1,000 validation documents (0.3 %) are in the training text too")
    said = str(find_overlap(*write_texts(tmp_path, ["a"], ["a"])))
    assert said == "overlap: 1 of 1 validation documents (100 %) is in the training text too"


def test_part_of_a_document_is_not_shared(tmp_path):
    assert (
        find_overlap(*write_texts(tmp_path, ["the cat sat", "dog"], ["cat", "the cat"])).shared == 0
    )


def test_unchanged_pair_is_not_scanned_again(tmp_path, monkeypatch):
    paths = write_texts(tmp_path, ["a", "b"], ["b"])
    first = find_overlap(*paths)
    monkeypatch.setattr("gpt_pipeline.dataset.overlap.read_chunks", None)
    assert find_overlap(*paths) == first
    monkeypatch.undo()
    write_texts(tmp_path, ["a"], ["b"])
    assert find_overlap(*paths).shared == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: b"",
        lambda raw: b"[" * 99_999,
        lambda raw: raw.replace(b'"shared": 1', b'"shared": 0'),
        lambda raw: sealed({**unsealed(raw), "shared": 9}),
        lambda raw: sealed({**unsealed(raw), "shared": "1"}),
        lambda raw: sealed({**unsealed(raw), "format_version": 2}),
        lambda raw: sealed({**unsealed(raw), "more": 1}),
        lambda raw: raw[:-2],
    ],
)
def test_damaged_record_is_counted_again(tmp_path, change):
    paths = write_texts(tmp_path, ["a", "b"], ["b"])
    first = find_overlap(*paths)
    place = tmp_path / OVERLAP_FILE
    raw = place.read_bytes()
    place.write_bytes(change(raw))
    assert find_overlap(*paths) == first
    assert place.read_bytes() == raw


def test_folder_that_cannot_be_written_is_counted_each_time(tmp_path):
    paths = write_texts(tmp_path, ["a", "b"], ["b"])
    (tmp_path / OVERLAP_FILE).mkdir()
    assert find_overlap(*paths).shared == find_overlap(*paths).shared == 1


def test_tokens_without_document_ends_are_no_documents(tmp_path):
    paths = [write(tmp_path / f"dataset_{side}.bin", range(100)) for side in ("train", "val")]
    found = find_overlap(*paths)
    assert (found.shared, found.documents) == (0, 0)
    assert str(found) == "overlap: not looked for, the validation tokens hold no ended document"


def test_files_of_two_tokenizers_are_refused(tmp_path):
    class Other:
        vocab_size, eot_id, sha256 = 257, 256, "0" * 64

    train, val = write_texts(tmp_path, ["a"], ["a"])
    write(val, [97, 256], Other())
    with pytest.raises(DataError, match=r"must be of one tokenizer; got two; run `gpt-pipeline"):
        find_overlap(train, val)


def test_vocabularies_above_65536_are_compared_too(tmp_path):
    class Large:
        vocab_size, eot_id, sha256 = 65_537, 65_536, "0" * 64

    train = write(tmp_path / "dataset_train.bin", [1, 65_536, 65_535, 2, 65_536], Large())
    val = write(tmp_path / "dataset_val.bin", [65_535, 2, 65_536, 1, 1, 65_536], Large())
    found = find_overlap(train, val)
    assert (found.shared, found.documents) == (1, 2)


def test_prepared_texts_are_compared(tmp_path, dataset_config, tokenizer_config):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n\nthree")
    (tmp_path / "b.txt").write_text("three\n\nfour\n\n\none\n\nthree\n")
    config = dataset_config(path=tmp_path / "a.txt", val_path=tmp_path / "b.txt")
    prepared = prepare(config, tokenizer_config("bpe", 270), say=str)
    found = find_overlap(prepared.train, prepared.val)
    assert (found.shared, found.documents) == (3, 4)
