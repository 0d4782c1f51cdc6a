import os
import random
import shutil

import numpy as np
import pytest

from gpt_pipeline.dataset import (
    prepare,
    prepare_validation,
    verify_token_file,
    verify_tokenizer_file,
)
from gpt_pipeline.dataset.corpus import Encoded
from gpt_pipeline.dataset.token_file import Origin, TokenFileWriter
from gpt_pipeline.errors import DataError, TokenizerError, UserError

STORIES = [f"Story {i}: the cat sat on mat {i * i}." for i in range(20)]


@pytest.fixture
def pair(tmp_path, byte_level):
    """A training and a validation file of 1000 tokens each."""
    rng = np.random.default_rng(0)
    for name in ("dataset_train.bin", "dataset_val.bin"):
        with TokenFileWriter(tmp_path / name, Origin(byte_level, name, "test:1")) as writer:
            writer.append(Encoded(rng.integers(0, 257, 1000, dtype=np.uint32), 4, 1000, 2.5))
    return tmp_path / "dataset_train.bin"


def flip(path, bit):
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << bit % 8
    path.write_bytes(raw)


def damage(path, rng):
    """One random change of a file; what was done."""
    raw, way = path.read_bytes(), rng.choice(["flip", "cut", "grow", "drop", "insert", "swap"])
    place, other = sorted(rng.sample(range(len(raw)), 2))
    changed = bytearray(raw)
    if way == "flip":
        changed[place] ^= 1 << rng.randrange(8)
    elif way == "cut":
        del changed[place:]
    elif way == "grow":
        changed += rng.randbytes(rng.randint(1, 20))
    elif way == "drop":
        del changed[place:other]
    elif way == "insert":
        changed[place:place] = rng.randbytes(2)
    else:
        changed[place], changed[other] = raw[other], raw[place]
    path.write_bytes(changed)
    return f"{way} in {path.name} at {place}, {other}", bytes(changed) != raw


def refusal(check, path):
    """The line that a check refuses a file with; None where it takes it."""
    try:
        check(path)
    except UserError as error:
        return str(error)
    return None


def test_random_damage_is_always_found(pair):
    rng = random.Random(7)
    sidecar = pair.with_suffix(".json")
    whole = {path: path.read_bytes() for path in (pair, sidecar)}
    found = 0
    for _ in range(250):
        done, differs = damage(rng.choice([pair, sidecar]), rng)
        if differs:
            found += 1
            line = refusal(verify_token_file, pair)
            assert line is not None, done
            assert "\n" not in line, done
        for path, raw in whole.items():
            path.write_bytes(raw)
    assert found > 200
    assert verify_token_file(pair).tokens == 1000


def test_every_bit_of_a_sidecar_counts(pair):
    sidecar = pair.with_suffix(".json")
    for bit in range(8 * sidecar.stat().st_size):
        flip(sidecar, bit)
        with pytest.raises(DataError):
            verify_token_file(pair)
        flip(sidecar, bit)
    assert verify_token_file(pair)


def test_flipped_bit_is_found(pair):
    flip(pair, 16 * 500)
    with pytest.raises(
        DataError, match=r"dataset_train\.bin must have the SHA-256 .*; got .*; run"
    ):
        verify_token_file(pair)


@pytest.mark.parametrize("size", [0, 1, 1998, 1999])
def test_cut_file_is_found(pair, size):
    os.truncate(pair, size)
    with pytest.raises(DataError, match=rf"must be 2000 bytes as its sidecar says; got {size};"):
        verify_token_file(pair)


def test_grown_file_is_found(pair):
    os.truncate(pair, 2002)
    with pytest.raises(DataError, match="must be 2000 bytes as its sidecar says; got 2002;"):
        verify_token_file(pair)


@pytest.mark.parametrize(
    ("ending", "problem"),
    [(".bin", r"train\.bin cannot be read: No such"), (".json", r"train\.json does not exist")],
)
def test_missing_partner_is_found(pair, ending, problem):
    pair.with_suffix(ending).unlink()
    with pytest.raises(DataError, match=problem):
        verify_token_file(pair)


@pytest.mark.parametrize("endings", [(".json",), (".bin",), (".bin", ".json")])
def test_swapped_files_are_found(pair, endings):
    for ending in endings:
        train, val = pair.with_suffix(ending), pair.with_name(f"dataset_val{ending}")
        between = pair.with_name("between")
        train.rename(between), val.rename(train), between.rename(val)
    for path in (pair, pair.with_name("dataset_val.bin")):
        with pytest.raises(DataError, match=r"not of|must have the SHA-256"):
            verify_token_file(path)


def test_disk_that_fails_is_an_error_and_not_a_killed_process(pair, monkeypatch):
    class Failing:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def readinto(self, buffer):
            raise OSError(5, "Input/output error")

    whole = type(pair).open
    monkeypatch.setattr(
        type(pair),
        "open",
        lambda path, mode: Failing() if path.suffix == ".bin" else whole(path, mode),
    )
    with pytest.raises(DataError, match=r"dataset_train\.bin cannot be read: Input/output error"):
        verify_token_file(pair)


@pytest.fixture
def prepared(tmp_path, dataset_config, tokenizer_config):
    """Prepares the stories; what is said each time."""
    (tmp_path / "corpus.txt").write_text("\n\n".join(STORIES))
    config = dataset_config(path=tmp_path / "corpus.txt")

    def run(*, validation=False):
        said = []
        if validation:
            tokenizer = verify_tokenizer_file(tmp_path / "prepared/data/tokenizer.json")
            return prepare_validation(config, tokenizer, say=said.append), said
        return prepare(config, tokenizer_config("bpe", 280), say=said.append), said

    run()
    return run


@pytest.fixture
def data(tmp_path):
    return tmp_path / "prepared" / "data"


@pytest.mark.parametrize("name", ["dataset_train.bin", "dataset_val.bin", "dataset_val.json"])
def test_damaged_file_is_made_again_and_the_reason_is_said(prepared, data, name):
    whole = (data / name).read_bytes()
    flip(data / name, 80)
    _, said = prepared()
    (line,) = [line for line in said if "rebuilt" in line]
    assert line.startswith(name.replace(".json", ".bin"))
    assert "SHA-256" in line or "damaged" in line or "cannot be read" in line
    assert (data / name).read_bytes() == whole


def test_damaged_validation_file_is_made_again_before_it_is_evaluated(prepared, data):
    flip(data / "dataset_val.bin", 80)
    path, said = prepared(validation=True)
    assert "dataset_val.bin: rebuilt: " in said[0]
    assert "must have the SHA-256" in said[0]
    assert verify_token_file(path)
    assert prepared(validation=True)[1] == ["dataset_val.bin: current"]


def test_new_tokens_beside_the_old_sidecar_are_made_again(prepared, data):
    tokens = np.fromfile(data / "dataset_train.bin", dtype="<u2")
    tokens[::-1].copy().tofile(data / "dataset_train.bin")  # as long as before, and other content
    _, said = prepared()
    assert any("dataset_train.bin: rebuilt" in line and "SHA-256" in line for line in said)
    assert verify_token_file(data / "dataset_train.bin")


def test_tokenizer_of_a_data_folder_is_compared_with_its_record(prepared, data):
    file, record = data / "tokenizer.json", data / "tokenizer_record.json"
    whole = {path: path.read_bytes() for path in (file, record)}
    assert verify_tokenizer_file(file).vocab_size == 280
    rng = random.Random(3)
    for _ in range(100):
        done, differs = damage(rng.choice([file, record]), rng)
        if differs:
            line = refusal(verify_tokenizer_file, file)
            assert line is not None, done
            assert "\n" not in line, done
        for path, raw in whole.items():
            path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("tokenizer.json", r"tokenizer\.json cannot be read: No such file.*; run `gpt-pipeline"),
        ("tokenizer_record.json", r"tokenizer_record\.json is missing or damaged; run"),
    ],
)
def test_missing_tokenizer_or_record_is_named(prepared, data, name, problem):
    (data / name).unlink()
    with pytest.raises(TokenizerError, match=problem):
        verify_tokenizer_file(data / "tokenizer.json")


def test_record_of_another_version_is_named(prepared, data):
    (data / "tokenizer_record.json").write_text(
        '{"version": 1, "name": "bpe", "path": null, "asked_vocab_size": 280, "train_bytes": 9,'
        ' "source_fingerprint": "x", "sha256": "y"}'
    )
    with pytest.raises(TokenizerError, match=r"tokenizer_record\.json is of version 1; run"):
        verify_tokenizer_file(data / "tokenizer.json")
    assert "the old one is of version 1" in prepared()[1][0]
    assert verify_tokenizer_file(data / "tokenizer.json")


def test_damaged_tokenizer_is_made_again_and_the_token_files_stay(prepared, data):
    flip(data / "tokenizer.json", 999)
    _, said = prepared()
    assert "tokenizer.json is missing or damaged" in said[0]
    assert said[-2:] == ["dataset_train.bin: current", "dataset_val.bin: current"]
    shutil.rmtree(data)
    prepared()
    assert verify_tokenizer_file(data / "tokenizer.json")


def test_damaged_byte_tokenizer_is_written_again(tmp_path, dataset_config, tokenizer_config, data):
    (tmp_path / "corpus.txt").write_text("\n\n".join(STORIES))
    for _ in range(2):
        prepare(dataset_config(path=tmp_path / "corpus.txt"), tokenizer_config(), say=str)
        assert verify_tokenizer_file(data / "tokenizer.json").vocab_size == 257
        flip(data / "tokenizer.json", 999)
