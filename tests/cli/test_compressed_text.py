"""Text and .jsonl that are compressed: as if they were not, in constant memory."""

import bz2
import gzip
import json
import lzma
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zstandard
from small_run import SMALL

from gpt_pipeline.dataset.compressed import open_bytes
from gpt_pipeline.dataset.documents import Format, read_documents
from gpt_pipeline.errors import DataError, how_to_install


def zstd(raw, **settings):
    return zstandard.ZstdCompressor(**settings).compress(raw)


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
KINDS = pytest.mark.parametrize("suffix", COMPRESS)


@pytest.fixture
def documents(gpt, folder):
    """The documents that `data` makes of a path."""

    def run(path, *words):
        words = (*SMALL, f"dataset.path={path}", "dataset.train_ratio=1", *words)
        code, _, err = gpt("data", *words)
        assert code == 0, err
        tokens = np.fromfile(folder / "data/text/dataset_train.bin", dtype="<u2")
        return bytes(np.where(tokens == 256, 0, tokens).astype(np.uint8)).split(b"\0")[:-1]

    return run


@KINDS
@pytest.mark.parametrize("name", ["a.txt", "a.TEXT", "a.md", "book"])
def test_compressed_text_is_read_as_it_is(documents, folder, suffix, name):
    raw = "\ufeffone\r\n\r\ncaf\u00e9\n\nthree".encode()
    (folder / f"{name}{suffix}").write_bytes(COMPRESS[suffix](raw))
    assert documents(f"{name}{suffix}") == [b"one", "caf\u00e9".encode(), b"three"]


@KINDS
def test_a_folder_takes_compressed_text_and_lines_of_json(documents, folder, suffix):
    (folder / "in").mkdir()
    body = COMPRESS[suffix](b'{"text": "one"}\n{"text": "two"}\n')
    (folder / f"in/a.jsonl{suffix}").write_bytes(body)
    (folder / f"in/b.txt{suffix.upper()}").write_bytes(COMPRESS[suffix](b"three"))
    (folder / f"in/c.tar{suffix}").write_bytes(COMPRESS[suffix](b"no"))
    (folder / f"in/d.parquet{suffix}").write_bytes(COMPRESS[suffix](b"no"))
    (folder / f"in/e{suffix}").write_bytes(COMPRESS[suffix](b"no"))
    assert documents("in") == [b"one", b"two", b"three"]


@KINDS
def test_several_members_are_one_text(documents, folder, suffix):
    parts = [COMPRESS[suffix](part) for part in (b"\xef", b"\xbb\xbfone\ntw", b"", b"o\n\nthree")]
    (folder / f"a.txt{suffix}").write_bytes(b"".join(parts))
    assert documents(f"a.txt{suffix}") == [b"one\ntwo", b"three"]


@KINDS
def test_a_file_that_was_cut_anywhere_is_one_line_with_its_name(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    rng = np.random.default_rng(0)
    body = bytes(rng.integers(97, 123, 400_000, dtype=np.uint8)) + b"a" * 300_000
    whole = COMPRESS[suffix](body)
    for length in [*range(1, 40), *rng.integers(40, len(whole), 20), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=rf"a\.txt\{suffix} is damaged or incomplete"):
            list(read_documents(path, Format("none", "text")))
    path.write_bytes(whole)
    assert [document.encode() for document in read_documents(path, Format("none", "text"))] == [
        body
    ]


@KINDS
def test_a_damaged_file_never_shows_a_traceback(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    rng = np.random.default_rng(1)
    compress = COMPRESS[suffix] if suffix != ".zst" else partial(zstd, write_checksum=True)
    whole = compress(bytes(rng.integers(97, 123, 20_000, dtype=np.uint8)))
    problems = []
    for place in rng.integers(0, len(whole), 100):
        broken = bytearray(whole)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        try:
            list(read_documents(path, Format("none", "text")))
        except DataError as error:
            problems.append(str(error))
    assert len(problems) > 90  # a few bits mean nothing, such as those of a time
    assert all(path.name in problem and "\n" not in problem for problem in problems)


@pytest.mark.parametrize("settings", [{"write_checksum": True}, {"write_content_size": False},
                                      {"level": 19}, {"threads": 2}])  # fmt: skip
def test_frames_of_every_shape_are_known_to_be_whole(tmp_path, settings):
    skippable = b"\x50\x2a\x4d\x18\x05\0\0\0abcde"
    for size in (0, 1, 255, 256, 70_000, 500_000):
        body = os.urandom(size // 2) + b"a" * (size - size // 2)
        whole = zstd(body, **settings) + skippable + zstd(b"tail", **settings)
        path = tmp_path / "a.zst"
        path.write_bytes(whole)
        with open_bytes(path, ".zst") as file:
            assert file.read() == body + b"tail"
        path.write_bytes(whole[:-1])
        with open_bytes(path, ".zst") as file, pytest.raises(DataError, match="it ends early"):
            file.read()


def test_a_command_says_what_is_damaged(gpt, folder):
    (folder / "a.txt.gz").write_bytes(gzip.compress(b"text " * 1000)[:-5])
    code, _, err = gpt("data", *SMALL, "dataset.path=a.txt.gz")
    assert code == 2
    assert "error: a.txt.gz is damaged or incomplete compressed data (it ends early)" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "raw", "problem"),
    [
        ("a.txt", gzip.compress(b"text"), "0x8b at byte offset 1 (it holds gzip data)"),
        ("a.txt.gz", b"just text", "a.txt.gz is damaged or incomplete compressed data"),
        ("a.parquet.gz", gzip.compress(b"PAR1"), "a.parquet.gz"),
        ("a.tar.gz", gzip.compress(b"x" * 257 + b"ustar" + b"y" * 300), "holds a tar archive"),
        ("a.txt.gz", gzip.compress(b"ab\xff"), "a.txt.gz must be UTF-8; got the byte 0xff at byte"),
        ("a.jsonl.xz", lzma.compress(b'{"text": "a"}\n{"txt": 1}'), "a.jsonl.xz line 2"),
        ("a.txt.zst", zstd(b" \n\n "), "no documents in a.txt.zst"),
    ],
    ids=[
        "gzip",
        "plain text",
        "parquet",
        "tar",
        "not UTF-8",
        "a line without text",
        "no documents",
    ],
)
def test_content_that_is_not_what_the_name_says(gpt, folder, name, raw, problem):
    (folder / name).write_bytes(raw)
    code, _, err = gpt("data", *SMALL, f"dataset.path={name}")
    assert code == 2
    assert problem in err
    assert "Traceback" not in err


def test_missing_zstandard_names_the_extra(gpt, folder, monkeypatch):
    (folder / "a.txt.zst").write_bytes(zstd(b"text"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    code, _, err = gpt("data", *SMALL, "dataset.path=a.txt.zst")
    assert code == 2
    assert f"a.txt.zst needs the library zstandard; {how_to_install('zstd')}" in err


COUNT = """
import sys, resource
from pathlib import Path
from gpt_pipeline.dataset.documents import Format, read_documents
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = [0, 0]
for document in read_documents(Path(sys.argv[1]), Format(sys.argv[2], "text")):
    found = [found[0] + 1, found[1] + len(document)]
print(*found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def read_in_a_process(path: Path, separator: str) -> list[int]:
    words = [sys.executable, "-c", COUNT, str(path), separator]
    return [int(n) for n in subprocess.run(words, capture_output=True, check=True).stdout.split()]


@pytest.mark.skipif(not hasattr(resource, "RUSAGE_SELF"), reason="no memory figures here")
@KINDS
def test_a_large_file_takes_no_more_memory_than_its_documents(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix]((b"word " * 20 + b"\n\n") * 250_000))  # 25 MB
    count, chars, kilobytes = read_in_a_process(path, "auto")
    assert (count, chars) == (250_000, 250_000 * 100)
    assert kilobytes < 20_000  # 12 MB of them are xz's window


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_line_of_many_documents_is_never_held_whole(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    raw = b"a story of some words <|endoftext|>" * 1_000_000  # 35 MB without a newline
    path.write_bytes(COMPRESS[suffix](raw) if suffix else raw)
    count, chars, kilobytes = read_in_a_process(path, "endoftext_anywhere")
    assert (count, chars) == (1_000_000, 22 * 1_000_000)
    assert kilobytes < 20_000


@pytest.mark.parametrize("shift", range(-14, 3))
def test_markers_across_chunks_are_found(tmp_path, shift, monkeypatch):
    monkeypatch.setattr("gpt_pipeline.dataset.documents._CHUNK", 64)
    path = tmp_path / "a.txt"
    first = "x" * (64 + shift)
    parts = [first, "y", "<|endoftext", "|endoftext|>", "z" * 200, "\u00e9"]
    path.write_text("<|endoftext|>".join(parts))
    assert list(read_documents(path, Format("endoftext_anywhere", "text"))) == parts
    path.write_bytes("<|endoftext|>".join(parts).encode() + b"\xff")
    offset = len("<|endoftext|>".join(parts).encode())
    with pytest.raises(DataError, match=rf"0xff at byte offset {offset};"):
        list(read_documents(path, Format("endoftext_anywhere", "text")))


def test_the_fingerprint_of_a_compressed_file_is_that_of_its_bytes(gpt, folder):
    path = folder / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\n\ntwo", mtime=0))
    words = (*SMALL, "dataset.path=a.txt.gz", "dataset.train_ratio=1")
    assert "not there yet" in gpt("data", *words)[2]
    assert "dataset_train.bin: current" in gpt("data", *words)[2]
    path.write_bytes(gzip.compress(b"one\n\ntwo", mtime=1))
    assert "rebuilt" in gpt("data", *words)[2]
    sidecar = json.loads((folder / "data/text/dataset_train.json").read_text())
    assert sidecar["documents"] == 2


@KINDS
def test_an_empty_file_in_a_folder_is_no_compressed_text(gpt, folder, suffix):
    (folder / "in").mkdir()
    (folder / "in/a.txt").write_text("text")
    (folder / f"in/b.txt{suffix}").touch()
    code, _, err = gpt("data", *SMALL, "dataset.path=in", "dataset.train_ratio=1")
    assert code == 2
    assert f"in/b.txt{suffix} is empty, and so no compressed data" in err


def test_a_compressed_copy_beside_its_text_is_read_once(gpt, folder):
    (folder / "t").mkdir()
    (folder / "t" / "x.txt").write_bytes((folder / "stories.txt").read_bytes())
    for name in ("x.txt.gz", "y.txt.gz"):
        (folder / "t" / name).write_bytes(gzip.compress((folder / "t" / "x.txt").read_bytes()))
    code, _, err = gpt("data", "dataset=text", "tokenizer=bytes", "dataset.path=t")
    assert code == 0
    assert "t: 2 files, 1 passed over (compressed copies of plain files: x.txt.gz)" in err
