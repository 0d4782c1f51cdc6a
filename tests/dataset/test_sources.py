import json
import re
import sys

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_pipeline.dataset.corpus import batched, cleaned
from gpt_pipeline.dataset.documents import Format, read_documents
from gpt_pipeline.dataset.hub_source import HubCorpus, HubData
from gpt_pipeline.dataset.sources import open_corpora
from gpt_pipeline.dataset.text_source import TextFiles
from gpt_pipeline.errors import ConfigError, DataError, how_to_install


def texts(corpus):
    return [text for piece in corpus.work() for text in piece.texts()]


def read(path, separator="auto", field="text"):
    return list(read_documents(path, Format(separator, field)))


TXT = [
    ("auto", b"one\ntwo\n<|endoftext|>\n\nthree\n\nfour\n", ["one\ntwo", "three\n\nfour"]),
    ("auto", b"one\ntwo\n\n \t\nthree", ["one\ntwo", "three"]),
    ("auto", b"\xef\xbb\xbf<|endoftext|>\r\na\r\n b\r\n<|endoftext|>\r\nc\r\n", ["a\n b", "c"]),
    ("auto", b"x <|endoftext|>\ny\n\nz", ["x <|endoftext|>\ny", "z"]),
    ("auto", b"one\r\n\r\ntwo\r\n", ["one", "two"]),
    ("blank_line", b"one\n<|endoftext|>\ntwo\n\nthree", ["one\n<|endoftext|>\ntwo", "three"]),
    ("endoftext", b"one\n\ntwo", ["one\n\ntwo"]),
    ("none", b"\n one\n\n<|endoftext|>\ntwo \n\n", [" one\n\n<|endoftext|>\ntwo "]),
    ("auto", b"a\rb\n\nc\x0bd", ["a\rb", "c\x0bd"]),
    ("auto", b"\n<|endoftext|>\n \n<|endoftext|>\n", []),
    ("auto", b"<|endoftext|>", []),
]


@pytest.mark.parametrize(("separator", "raw", "documents"), TXT)
def test_txt_documents(tmp_path, separator, raw, documents):
    (tmp_path / "a.txt").write_bytes(raw)
    assert read(tmp_path / "a.txt", separator) == documents


@settings(deadline=None)
@given(
    documents=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r")), max_size=5
    )
)
def test_documents_come_back_as_they_were_written(tmp_path_factory, documents):
    path = tmp_path_factory.getbasetemp() / "round.txt"
    wanted = [clean for text in documents if (clean := cleaned(text)) is not None]
    path.write_bytes("".join(f"{text}\n<|endoftext|>\n" for text in documents).encode())
    assert read(path, "endoftext") == wanted


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\xc3\xa9 good\n\n", b"x" * 2_000_000])
def test_bytes_that_are_not_utf8_are_named_with_their_offset(tmp_path, before):
    (tmp_path / "a.txt").write_bytes(before + b"ab\xff\n")
    with pytest.raises(DataError, match=rf"a\.txt.*0xff at byte offset {len(before) + 2};"):
        read(tmp_path / "a.txt")


def test_jsonl_has_a_document_a_line(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [{"text": "one\n\ntwo", "n": 1}, {"text": " \n"}, {"text": "\u00e9\r\n3"}]
    path.write_text("\n\n".join(json.dumps(line) for line in lines))
    assert read(path) == ["one\n\ntwo", "\u00e9\n3"]
    path.write_text('\ufeff{"story": "x"}', encoding="utf-8")
    assert read(path, field="story") == ["x"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"body": "x"}', r"line 2 must have the field 'text'; got \['body'\]; .*text_field"),
        (b'["x"]', "line 2 must have the field 'text'; got list"),
        (b"{oops", "line 2 must be JSON; got '{oops'"),
        (b'{"text": 7}', "line 2 must have text in 'text'; got 7"),
        (b'{"text": "\\ud800"}', r"line 2 .*lone surrogate U\+D800 at character 0"),
        (b'{"text": "\xff"}', r"0xff at byte offset 26;"),
    ],
)
def test_bad_jsonl_line_is_named_by_its_number(tmp_path, line, problem):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "x"}   \n' + line)
    if b"\xff" in line:
        problem = problem.replace("26", str(17 + 10))
    with pytest.raises(DataError, match=rf"a\.jsonl.*{problem}") as caught:
        read(tmp_path / "a.jsonl")
    assert "\n" not in str(caught.value)


def parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_parquet_column_is_read(tmp_path):
    path = parquet(tmp_path / "a.parquet", story=["one", "", "two\n"], n=[1, 2, 3])
    assert read(path, field="story") == ["one", "two"]


def test_bad_parquet_is_named(tmp_path):
    path = parquet(tmp_path / "a.parquet", story=["one", None])
    with pytest.raises(DataError, match=r"column 'text'; got \['story'\]"):
        read(path)
    with pytest.raises(DataError, match="row 1 must have text in 'story'; got None"):
        read(path, field="story")
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"a\.parquet is not a whole \.parquet file"):
        read(path)


def test_missing_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=re.escape(how_to_install("parquet"))):
        read(tmp_path / "a.parquet")


def test_folders_and_globs_are_read_in_sorted_order(tmp_path, dataset_config):
    (tmp_path / "in" / "b").mkdir(parents=True)
    for name in ("c.TXT", "a.txt", "b/z.jsonl", "note.rst"):
        body = json.dumps({"text": name}) if name.endswith("jsonl") else name
        (tmp_path / "in" / name).write_text(body)

    def found(path):
        return texts(open_corpora(dataset_config(path=path, train_ratio=1.0)).train)

    assert found(tmp_path / "in") == ["a.txt", "b/z.jsonl", "c.TXT"]
    assert found(tmp_path / "in" / "*.txt") == ["a.txt"]
    assert found(tmp_path / "in" / "**" / "[az].*") == ["a.txt", "b/z.jsonl"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("none.txt", "dataset.path must name .*none.txt does not exist"),
        ("*.txt", r"dataset.path must lead to text files; got none in .*\*.txt"),
        ("folder", "got none in .*folder"),
        ("empty.txt.txt", "empty.txt.txt is empty"),
        ("a.rst", "no documents in .*a.rst: nothing but whitespace"),
        ("blank.txt.txt", "no documents in .*blank.txt.txt"),
    ],
)
def test_paths_without_text_are_refused(tmp_path, dataset_config, path, problem):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.rst").write_text("\n")
    for name, content in (("empty", ""), ("blank", " \n\n ")):
        if path.startswith(name):
            (tmp_path / path).write_text(content)
    with pytest.raises(DataError, match=problem):
        texts(open_corpora(dataset_config(path=tmp_path / path, train_ratio=1.0)).train)


def test_missing_val_path_is_named_by_its_key(tmp_path, dataset_config):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"dataset\.val_path must name .*none\.txt does not exist"):
        open_corpora(dataset_config(path=tmp_path / "a.txt", val_path=tmp_path / "none.txt"))


def numbered(path, count):
    path.write_text("\n\n".join(f"document {i}" for i in range(count)))
    return path


@pytest.mark.parametrize(("count", "ratio", "num_val"), [(20, 0.75, 5), (2, 0.9, 1), (9, 0.01, 8)])
def test_split_takes_whole_documents_once(tmp_path, dataset_config, count, ratio, num_val):
    config = dataset_config(path=numbered(tmp_path / "a.txt", count), train_ratio=ratio)
    corpora = open_corpora(config)
    train, val = texts(corpora.train), texts(corpora.val)
    assert len(val) == num_val == corpora.val.total()
    assert len(train) == corpora.train.total()
    every = [f"document {i}" for i in range(count)]
    assert sorted(train + val, key=every.index) == every
    assert train == [text for text in every if text in train]  # the order of the file


def test_split_depends_on_the_seed(tmp_path, dataset_config):
    path = numbered(tmp_path / "a.txt", 40)
    sides = [texts(open_corpora(dataset_config(path=path, seed=seed)).val) for seed in (0, 0, 1)]
    assert sides[0] == sides[1] != sides[2]


def test_ratio_one_validates_on_none(tmp_path, dataset_config):
    path = numbered(tmp_path / "a.txt", 1)
    assert open_corpora(dataset_config(path=path, train_ratio=1.0)).val is None


def test_single_document_cannot_be_split(tmp_path, dataset_config):
    corpora = open_corpora(dataset_config(path=numbered(tmp_path / "a.txt", 1)))
    with pytest.raises(DataError, match=r"train_ratio=0\.75; got 1; give dataset\.val_path.*=1"):
        texts(corpora.train)


def test_fingerprint_changes_with_content_names_and_settings(tmp_path, dataset_config):
    path = numbered(tmp_path / "a.txt", 9)

    def prints(**changes):
        corpora = open_corpora(dataset_config(**{"path": path, **changes}))
        return corpora.train.fingerprint(), corpora.val.fingerprint()

    seen = {*prints()}
    assert prints() == prints(num_workers=2, data_dir="elsewhere")
    for change in ({"seed": 1}, {"train_ratio": 0.5}, {"separator": "none"}, {"text_field": "t"}):
        seen |= {*prints(**change)}
    other = path.rename(tmp_path / "b.txt")
    seen |= {*prints(path=other)}
    numbered(other, 10)
    seen |= {*prints(path=other)}
    assert len(seen) == 14


def test_work_is_cut_into_bounded_pieces():
    pieces = list(batched("x" * 100_000 for _ in range(10)))
    assert [len(piece.documents) for piece in pieces] == [3, 3, 3, 1]
    assert [len(piece.documents) for piece in batched("x" for _ in range(2001))] == [1000, 1000, 1]


def test_text_without_a_path_is_a_config_error(dataset_config):
    with pytest.raises(ConfigError, match=r"dataset\.path must name .*got null"):
        open_corpora(dataset_config())


def test_stories_know_their_number_and_version(dataset_config):
    corpora = open_corpora(dataset_config(source="stories", num_stories=400))
    assert (corpora.train.total(), corpora.val.total()) == (400, 5)
    assert [(piece.start, piece.stop) for piece in corpora.train.work()] == [(0, 300), (300, 400)]
    assert corpora.train.fingerprint() != corpora.val.fingerprint()
    assert "seed 0" in corpora.train.source


@pytest.mark.parametrize(
    ("ratio", "counts"), [(0.75, (300, 100)), (0.999, (399, 1)), (1.0, (400,))]
)
def test_a_ratio_splits_the_generated_stories(dataset_config, ratio, counts):
    corpora = open_corpora(dataset_config(source="stories", num_stories=400, train_ratio=ratio))
    sides = (corpora.train, *([corpora.val] if corpora.val else []))
    assert tuple(corpus.total() for corpus in sides) == counts


def test_one_story_cannot_be_split(dataset_config):
    config = dataset_config(source="stories", num_stories=1, train_ratio=0.5)
    with pytest.raises(ConfigError, match=r"num_stories must be at least 2 .*=0\.5; got 1"):
        open_corpora(config)


def test_without_a_ratio_nine_tenths_of_a_text_are_training_text(tmp_path, dataset_config):
    path = numbered(tmp_path / "a.txt", 20)
    default, given = (
        open_corpora(dataset_config(path=path, train_ratio=ratio)) for ratio in (None, 0.9)
    )
    assert default.val.total() == 2
    assert default.train.fingerprint() == given.train.fingerprint()


@pytest.fixture
def hub_folder(tmp_path):
    (tmp_path / "hub").mkdir()
    for split, rows in (("train", ["one", "two\n", " "]), ("validation", ["three"])):
        parquet(tmp_path / "hub" / f"{split}-00000.parquet", text=rows)
    return tmp_path / "hub"


@pytest.mark.filterwarnings("default")  # of `datasets` itself
def test_hub_data_set_is_streamed_with_its_own_validation(hub_folder, dataset_config):
    corpora = open_corpora(dataset_config(source="tinystories", hub_id=hub_folder))
    assert texts(corpora.train) == ["one", "two"]
    assert texts(corpora.val) == ["three"]
    before = corpora.train.fingerprint()
    parquet(hub_folder / "train-00000.parquet", text=["another", "longer", "text" * 99])
    corpora = open_corpora(dataset_config(source="tinystories", hub_id=hub_folder))
    assert corpora.train.fingerprint() != before


@pytest.mark.filterwarnings("default")
def test_hub_column_that_is_not_there_is_named(hub_folder):
    with pytest.raises(DataError, match=r"column 'story'; got \['text'\]"):
        texts(HubCorpus(HubData(str(hub_folder)), "train", "story"))


@pytest.mark.filterwarnings("default")
def test_hub_data_set_that_cannot_be_read_is_one_line(tmp_path, monkeypatch, capfd):
    reason = "needs datasets: make install-dev"
    config = pytest.importorskip("datasets", reason=reason).config
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"use dataset=text dataset.path=FILE instead") as caught:
        texts(HubCorpus(HubData("nobody/nothing"), "train", "text"))
    assert "cannot read nobody/nothing (train) from the Hugging Face hub" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_missing_datasets_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=re.escape(how_to_install("hub"))):
        texts(HubCorpus(HubData("nobody/nothing"), "train", "text"))


def test_tinystories_has_its_published_numbers(shared_data):
    for name, count, size in (("train", 16_865, None), ("valid", 1_000, 810_548)):
        path = shared_data / "tinystories" / f"tinystories-{name}.txt"
        files = TextFiles.find(str(path), "dataset.path", Format("auto", "text"))
        documents = list(files.documents())
        assert len(documents) == count == files.count
        assert size in (None, sum(len(text.encode()) + 1 for text in documents))
