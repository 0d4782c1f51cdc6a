import errno
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from gpt_pipeline.dataset import token_file
from gpt_pipeline.dataset.corpus import Encoded
from gpt_pipeline.dataset.data_folder import remove_stale_temporaries
from gpt_pipeline.dataset.sidecar import read_sidecar
from gpt_pipeline.dataset.token_file import Origin, TokenFileWriter, open_tokens, verify_token_file
from gpt_pipeline.durable import sealed, unsealed
from gpt_pipeline.errors import DataError


def write(path, tokenizer, ids=(5, 6, 256), floor_bits=None):
    with TokenFileWriter(path, Origin(tokenizer, "a test", "test:1")) as writer:
        writer.append(Encoded(np.array(ids, dtype=np.uint32), 1, len(ids), floor_bits))
    return path


@pytest.fixture
def written(tmp_path, byte_level):
    return write(tmp_path / "folder" / "dataset_train.bin", byte_level, floor_bits=1.5)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def edit(path, **changes):
    place = path.with_suffix(".json")
    place.write_bytes(sealed({**unsealed(place.read_bytes()), **changes}))


def test_file_is_bare_little_endian_ids_with_facts_beside_it(written, byte_level):
    assert written.read_bytes() == bytes([5, 0, 6, 0, 0, 1])
    sidecar = read_sidecar(written)
    assert (sidecar.dtype, sidecar.vocab_size, sidecar.eot_id) == ("uint16", 257, 256)
    assert sidecar.tokenizer_sha256 == byte_level.sha256
    assert (sidecar.tokens, sidecar.documents, sidecar.bytes) == (3, 1, 3)
    assert (sidecar.source, sidecar.source_fingerprint) == ("a test", "test:1")
    assert sidecar.floor_bits_per_byte == 0.5
    assert verify_token_file(written) == sidecar
    assert names(written.parent) == ["dataset_train.bin", "dataset_train.json"]


def test_floor_is_unknown_for_text_that_was_not_generated(tmp_path, byte_level):
    path = write(tmp_path / "a.bin", byte_level)
    assert read_sidecar(path).floor_bits_per_byte is None


def test_tokens_are_mapped_not_read(written):
    tokens, _ = open_tokens(written)
    assert isinstance(tokens, np.memmap)
    assert not tokens.flags.writeable
    assert tokens.tolist() == [5, 6, 256]


class Large:
    """A tokenizer with more entries than uint16 has values."""

    vocab_size, eot_id, sha256 = 65_537, 65_536, "0" * 64


def test_vocabularies_above_65536_are_stored_as_uint32(tmp_path):
    path = write(tmp_path / "a.bin", Large(), ids=(1, 65_536))
    tokens, sidecar = open_tokens(path)
    assert sidecar.dtype == "uint32"
    assert tokens.tolist() == [1, 65_536]
    assert path.read_bytes() == bytes([1, 0, 0, 0, 0, 0, 1, 0])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_error_inside_leaves_nothing(tmp_path, byte_level, error):
    writer = TokenFileWriter(tmp_path / "a.bin", Origin(byte_level, "", ""))
    with pytest.raises(error), writer:  # noqa: PT012
        writer.append(Encoded(np.array([1], dtype=np.uint32), 1, 1))
        raise error
    assert names(tmp_path) == []


def test_error_keeps_the_file_that_was_there(written, byte_level):
    before = written.read_bytes()
    with pytest.raises(DataError, match="no documents"):
        write(written, byte_level, ids=())
    assert written.read_bytes() == before
    assert verify_token_file(written)


def test_bin_without_sidecar_does_not_count(written):
    written.with_suffix(".json").unlink()
    with pytest.raises(DataError, match=r"dataset_train\.json does not exist"):
        open_tokens(written)


def test_old_sidecar_never_stands_beside_a_new_bin(written, byte_level, monkeypatch):
    replace = token_file.Path.replace
    seen = []

    def watch(self, target):
        seen.append((target.name, target.with_suffix(".json").exists()))
        return replace(self, target)

    monkeypatch.setattr(token_file.Path, "replace", watch)
    write(written, byte_level)
    assert seen == [("dataset_train.bin", False), ("dataset_train.json", False)]


def test_size_unlike_the_sidecar_is_refused(written):
    with written.open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match=r"must be 6 bytes as its sidecar says; got 7"):
        open_tokens(written)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"format_version": 1}, "must be of format version 2; got 1; run"),
        ({"format_version": "x\n" * 9}, r"format version 2; got 'x\\nx"),
        ({"dtype": "int8"}, "damaged .dtype must be uint16 or uint32; got 'int8'"),
        ({"dtype": ["uint16"]}, "dtype must be uint16 or uint32; got .'uint16'."),
        ({"dtype": "uint32"}, "dtype uint32 does not go with vocab_size 257"),
        ({"extra": 1}, "damaged .missing or unknown: .'extra'."),
        ({"file": "dataset_val.bin"}, "sidecar of 'dataset_val.bin', not of dataset_train.bin"),
        ({"file": None}, "file must be a string; got None"),
        ({"tokens": -3}, r"tokens must be a whole number in 1\.\..*; got -3"),
        ({"tokens": "3"}, "tokens must be a whole number .*; got '3'"),
        ({"tokens": 3.0}, "tokens must be a whole number .*; got 3.0"),
        ({"tokens": True}, "tokens must be a whole number .*; got True"),
        ({"tokens": 10**18}, "must be 2000000000000000000 bytes as its sidecar says; got 6"),
        ({"bytes": 0}, "bytes must be a whole number"),
        ({"vocab_size": 1 << 33}, "vocab_size must be a whole number"),
        ({"eot_id": 257}, "eot_id must be below 257; got 257"),
        ({"sha256": "ab"}, "sha256 must be a SHA-256 in hexadecimal; got 'ab'"),
        ({"tokenizer_sha256": 7}, "tokenizer_sha256 must be a SHA-256 in hexadecimal; got 7"),
        ({"source": {}}, "source must be a string"),
        ({"floor_bits": -1.0}, "floor_bits must be null or a number from 0 on; got -1.0"),
        ({"floor_bits": "1"}, "floor_bits must be null or a number from 0 on; got '1'"),
        ({"source_fingerprint": ["x" * 9999]}, r"source_fingerprint must be .{70,130}\.\.\.\)"),
    ],
)
def test_strange_sidecars_are_refused(written, changes, problem):
    edit(written, **changes)
    with pytest.raises(DataError, match=problem) as caught:
        open_tokens(written)
    assert "\n" not in str(caught.value)


DEEP = b'{"format_version": 2, "a": ' + b"[" * 900 + b"]" * 900 + b"}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[]", "cannot be read .it must hold a JSON object; got list"),
        (b"{}", "format version 2; got None"),
        (b'{"format_version": 2}', "damaged .its content differs from its seal"),
        (b'{"a": ' * 99_999, "nested too deeply"),
        (DEEP, "damaged"),
        (b" " * 2_000_000 + b"{}", "at most 1,048,576 bytes"),
        (sealed({"format_version": 2}), "damaged .missing or unknown"),
    ],
)
def test_damaged_sidecars_are_refused(written, content, problem):
    written.with_suffix(".json").write_bytes(content)
    with pytest.raises(DataError, match=rf"dataset_train\.json.*{problem}") as caught:
        open_tokens(written)
    assert "\n" not in str(caught.value)


def test_missing_bin_is_refused(written):
    written.unlink()
    with pytest.raises(DataError, match=r"dataset_train\.bin cannot be read: No such file"):
        open_tokens(written)


def test_verify_finds_a_changed_byte(written):
    written.write_bytes(bytes([5, 0, 7, 0, 0, 1]))
    with pytest.raises(DataError, match=r"must have the SHA-256 .*; got "):
        verify_token_file(written)


def test_verify_names_the_id_that_is_too_large(written, monkeypatch):
    monkeypatch.setattr(token_file, "_CHUNK", 4)
    written.write_bytes(bytes([5, 0, 6, 0, 1, 1]))
    with pytest.raises(DataError, match=r"below vocab_size=257; got 257 at token 2"):
        verify_token_file(written)


def test_full_disk_is_one_line_with_path_and_bytes(tmp_path, byte_level, monkeypatch):
    with pytest.raises(DataError) as caught:  # noqa: PT012, SIM117
        with TokenFileWriter(tmp_path / "a.bin", Origin(byte_level, "", "")) as writer:
            writer.append(Encoded(np.array([1, 2], dtype=np.uint32), 1, 1))
            monkeypatch.setattr(writer, "_file", Full(writer._file))
            writer.append(Encoded(np.array([1], dtype=np.uint32), 1, 1))
    assert "a.bin after 4 bytes: the disk is full; free some space" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


class Full:
    """A file on a full disk."""

    def __init__(self, file):
        self.close = file.close

    def write(self, raw):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


LIMITED = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from gpt_pipeline.dataset.corpus import Encoded
from gpt_pipeline.dataset.token_file import Origin, TokenFileWriter
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import byte_tokenizer
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with TokenFileWriter(Path(sys.argv[1]), Origin(byte_tokenizer(), "", "")) as writer:
        for _ in range(10):
            writer.append(Encoded(np.zeros(10_000, dtype=np.uint32), 1, 1))
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a file size limit")
def test_file_that_the_system_refuses_to_grow_leaves_nothing(tmp_path):
    path = tmp_path / "a.bin"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    assert f"cannot write {path} after 100000 bytes: the disk is full" in done.stdout
    assert names(tmp_path) == []


def test_folder_that_cannot_be_made_is_named(tmp_path, byte_level):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file/a\.bin after 0 bytes"):
        write(tmp_path / "file" / "a.bin", byte_level)


def test_leftovers_of_killed_processes_are_removed_and_no_others(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number in (dead.pid, os.getppid()):
        (tmp_path / f".dataset_train.bin.{number}.tmp").write_text("")
    (tmp_path / "notes.tmp").write_text("")
    remove_stale_temporaries(tmp_path)
    assert names(tmp_path) == [f".dataset_train.bin.{os.getppid()}.tmp", "notes.tmp"]
