import numpy as np
import pytest

from gpt_pipeline.dataset import (
    open_tokens,
    prepare,
    prepare_validation,
    read_sidecar,
    verify_token_file,
)
from gpt_pipeline.durable import sealed, unsealed
from gpt_pipeline.errors import ConfigError, DataError, TokenizerError
from gpt_pipeline.tokenizer import Tokenizer, train_bpe

STORIES = [f"Story {i}: the cat\nsat on mat {i * i}. \u00e9" for i in range(20)]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(STORIES), encoding="utf-8")
    return path


@pytest.fixture
def run(dataset_config, tokenizer_config, text):
    def run(tokenizer=None, **changes):
        said = []
        config = dataset_config(**{"path": text, **changes})
        return prepare(config, tokenizer or tokenizer_config(), say=said.append), said

    return run


def documents(path, tokenizer):
    tokens, sidecar = open_tokens(path)
    ends = np.flatnonzero(tokens == sidecar.eot_id) + 1
    return [tokenizer.decode(part[:-1]) for part in np.split(tokens, ends)[:-1]]


def test_token_files_hold_the_documents(run, tmp_path):
    prepared, _ = run()
    train, val = (documents(path, prepared.tokenizer) for path in (prepared.train, prepared.val))
    assert len(val) == 5
    assert sorted(train + val) == sorted(STORIES)
    sidecar = verify_token_file(prepared.train)
    assert sidecar.documents == 15
    assert sidecar.bytes == sum(len(story.encode()) + 1 for story in train)
    assert prepared.train == tmp_path / "prepared" / "data" / "dataset_train.bin"
    assert Tokenizer.load(prepared.train.with_name("tokenizer.json")).sha256 == (
        sidecar.tokenizer_sha256
    )


def test_second_time_nothing_is_written(run):
    prepared, _ = run()
    before = [path.stat().st_mtime_ns for path in sorted(prepared.train.parent.iterdir())]
    again, said = run()
    assert said == ["dataset_train.bin: current", "dataset_val.bin: current"]
    assert again.tokenizer.sha256 == prepared.tokenizer.sha256
    assert [path.stat().st_mtime_ns for path in sorted(prepared.train.parent.iterdir())] == before


def test_progress_counts_documents_up_to_the_total(dataset_config, tokenizer_config, text):
    seen = []
    prepare(
        dataset_config(path=text),
        tokenizer_config(),
        say=lambda line: None,
        progress=lambda *given: seen.append(given),
    )
    assert seen == [("dataset_train.bin", 15, 15), ("dataset_val.bin", 5, 5)]


def edit_sidecar(path, **changes):
    place = path.with_suffix(".json")
    place.write_bytes(sealed({**unsealed(place.read_bytes()), **changes}))


def test_reason_of_a_rebuild_is_said(run, text, tokenizer_config):
    prepared, said = run()
    assert "dataset_train.bin: not there yet; made from" in said[0]

    def reason(**changes):
        again, said = run(**changes)
        verify_token_file(again.train)
        return next(line for line in said if line.startswith("dataset_train.bin"))

    edit_sidecar(prepared.train, format_version=0)
    assert "format version 2; got 0" in reason()
    prepared.train.with_suffix(".json").unlink()
    assert "no sidecar" in reason()
    prepared.train.write_bytes(b"xx")
    assert "as its sidecar says; got 2; made from" in reason()
    assert "made for another tokenizer" in reason(tokenizer=tokenizer_config("bpe", 260))
    assert "made for another tokenizer" in reason()
    assert "other settings" in reason(seed=3)
    text.write_text("\n\n".join(STORIES[:10]), encoding="utf-8")
    assert "made from another source" in reason(seed=3)
    assert reason(seed=3) == "dataset_train.bin: current"


def test_ratio_one_uses_no_stale_validation_file(run):
    old, _ = run()
    prepared, said = run(train_ratio=1.0)
    assert old.val.exists()
    assert prepared.val is None
    assert read_sidecar(prepared.train).documents == 20
    assert said[-1] == "dataset_val.bin: none (dataset.train_ratio=1 trains on everything)"


def test_val_path_is_the_validation_file(run, tmp_path):
    (tmp_path / "val.txt").write_text("another")
    prepared, _ = run(val_path=tmp_path / "val.txt")
    assert read_sidecar(prepared.train).documents == 20
    assert documents(prepared.val, prepared.tokenizer) == ["another"]


def test_bpe_is_trained_on_training_documents_only_and_kept(run, tokenizer_config):
    prepared, said = run(tokenizer_config("bpe", 280))
    assert "training bpe of 280 entries" in said[0]
    train = documents(prepared.train, prepared.tokenizer)
    assert len(train) == 15
    assert prepared.tokenizer.sha256 == train_bpe(iter(train), 280).sha256
    _, said = run(tokenizer_config("bpe", 280))
    assert said[0] == "tokenizer: current (bpe, 280 entries)"
    assert said[1:] == ["dataset_train.bin: current", "dataset_val.bin: current"]


def test_bpe_is_trained_anew_when_asked_otherwise(run, tokenizer_config, text):
    prepared, _ = run(tokenizer_config("bpe", 280))

    def reason(entries=280, **changes):
        return run(tokenizer_config("bpe", entries, **changes))[1][0]

    assert "asked for 280 entries" in reason(270)
    assert "asked for 270 entries" in reason()
    assert "read up to 100000000 bytes" in reason(train_bytes=100)
    assert "read up to 100 bytes" in reason()
    prepared.train.with_name("tokenizer.json").write_text("{")
    assert "missing or damaged" in reason()
    text.write_text("\n\n".join(STORIES * 2), encoding="utf-8")
    assert "trained on another text" in reason()
    assert "current" in reason()


def test_bpe_of_many_different_words_is_trained_by_the_library(run, tokenizer_config, monkeypatch):
    wanted = run(tokenizer_config("bpe", 280))[0].tokenizer.sha256
    monkeypatch.setattr("gpt_pipeline.tokenizer.train.MOST_WORD_CHARS", 10)
    found = run(tokenizer_config("bpe", 280), name="another")[0].tokenizer.sha256
    assert found == wanted


def test_bpe_reads_no_more_than_train_bytes(run, tokenizer_config):
    prepared, _ = run(tokenizer_config("bpe", 280, train_bytes=1))
    first = documents(prepared.train, prepared.tokenizer)[0]
    assert prepared.tokenizer.sha256 == train_bpe(iter([first]), 280).sha256


def test_bpe_with_fewer_entries_than_asked_is_said(run, tokenizer_config):
    prepared, said = run(tokenizer_config("bpe", 4096))
    size = prepared.tokenizer.vocab_size
    assert size < 4096
    wanted = f"tokenizer: the training text gave {size} entries, fewer than "
    assert said[1] == wanted + "tokenizer.vocab_size=4096"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("bpe", None), r"vocab_size must be a number with tokenizer=bpe; got null"),
        (("bpe", 100), r"vocab_size must be at least 257.*got 100"),
        (("bytes", 300), r"vocab_size must be 257 or null with tokenizer=bytes; got 300"),
        (("bpe", 300, "x.json"), r"path goes with tokenizer=gpt2 only; got x\.json"),
    ],
)
def test_contradicting_tokenizer_keys_are_refused(run, tokenizer_config, given, problem):
    with pytest.raises(ConfigError, match=problem):
        run(tokenizer_config(*given))


def test_fetched_gpt2_is_kept_with_the_token_files(run, tokenizer_config, monkeypatch):
    fetched = train_bpe(iter(STORIES), 270)
    asked = []

    def fetch(path):
        asked.append(path)
        return fetched

    monkeypatch.setattr("gpt_pipeline.dataset.make_tokenizer.gpt2", fetch)
    run(tokenizer_config("gpt2"))
    prepared, said = run(tokenizer_config("gpt2"))
    assert asked == [None]
    assert prepared.tokenizer.sha256 == fetched.sha256
    assert said == ["dataset_train.bin: current", "dataset_val.bin: current"]
    run(tokenizer_config("gpt2", path="there"))
    run(tokenizer_config("gpt2"))
    assert asked == [None, "there", None]


def test_data_folder_that_cannot_be_made_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenizerError, match=r"cannot write in .*file"):
        run(data_dir=tmp_path / "file")


def test_validation_alone_leaves_the_rest_untouched(run, dataset_config, text):
    prepared, _ = run()
    files = (prepared.train.with_name("tokenizer.json"), prepared.train, prepared.val)
    before = [path.read_bytes() for path in files]
    other = train_bpe(iter(STORIES), 280)
    said = []
    val = prepare_validation(dataset_config(path=text), other, say=said.append)
    assert val == prepared.val.with_name("dataset_evaluated.bin")
    assert read_sidecar(val).tokenizer_sha256 == other.sha256
    assert "dataset_evaluated.bin: not there yet" in said[0]
    assert [path.read_bytes() for path in files] == before
    nothing = dataset_config(path=text, train_ratio=1.0)
    assert prepare_validation(nothing, other, say=said.append) is None


def test_failure_in_the_middle_leaves_nothing(run, tmp_path):
    path = tmp_path / "bad.txt"
    path.write_bytes(("good\n\n" * 90_000).encode() + b"\xff")
    with pytest.raises(DataError, match=r"0xff at byte offset 540000"):
        run(path=path, train_ratio=1.0)
    left = sorted(found.name for found in (tmp_path / "prepared" / "data").iterdir())
    assert left == ["tokenizer.json", "tokenizer_record.json"]


def test_generated_stories_carry_their_floor(dataset_config, tokenizer_config):
    from gpt_pipeline.dataset.stories import StoryGenerator

    config = dataset_config(source="stories", num_stories=320)
    prepared = prepare(config, tokenizer_config("bpe", 500), say=str)
    stories = [StoryGenerator(0, "train").story(index) for index in range(320)]
    assert documents(prepared.train, prepared.tokenizer) == [story.text for story in stories]
    sidecar = read_sidecar(prepared.train)
    num_bytes = sum(len(story.text.encode()) + 1 for story in stories)
    floor = sum(story.bits for story in stories) / num_bytes
    assert sidecar.floor_bits_per_byte == pytest.approx(floor, rel=1e-12)
    assert read_sidecar(prepared.val).documents == 5


def test_tinystories_gives_the_published_tokens(run, tokenizer_config, shared_data):
    gpt2_files = tokenizer_config("gpt2", path=str(shared_data / "gpt2"))
    folder = shared_data / "tinystories"
    prepared, _ = run(
        gpt2_files,
        path=folder / "tinystories-train.txt",
        val_path=folder / "tinystories-valid.txt",
        num_workers=None,
    )
    train, val = read_sidecar(prepared.train), read_sidecar(prepared.val)
    assert (train.documents, train.tokens) == (16_865, 3_401_839)
    assert (val.documents, val.tokens, val.bytes) == (1_000, 199_727, 810_548)
