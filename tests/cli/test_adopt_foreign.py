"""What `dataset.adopt` refuses, each with a reason; and GPT-2's ids, which it always takes."""

import gzip
import io
import pickle

import numpy as np
import pytest
from small_run import SMALL

from gpt_pipeline.dataset.bare_tokens import TokenFile
from gpt_pipeline.tokenizer import gpt2

EOT = 50256
RNG = np.random.default_rng(0)
IDS = np.where(RNG.random(5000) < 0.01, EOT, (RNG.pareto(1.0, 5000) * 300 % 50000).astype(int))


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def llm_c():
    header = np.zeros(256, dtype="<i4")
    header[:3] = 20240520, 1, len(IDS)
    return header.tobytes() + IDS.astype("<u2").tobytes()


CHARS = np.array([ord(c) % 65 for c in "Once upon a time there was a cat. " * 200])
LETTERS = (
    "\u201cThe QUICK, Brown fox; (jumps) over 13 lazy dogs!\u201d said Zoe & Ky. AGMPVWX\n" * 99
)
LETTERS = LETTERS.encode()
FOREIGN = {
    "int32": (IDS.astype("<i4").tobytes(), "integers of 4 bytes, not uint16", "astype('<u2')"),
    "int32 of a large vocabulary": ((IDS * 3).astype("<i4").tobytes(), "integers of 4 bytes"),
    "int32 with masked targets": (
        np.where(IDS % 7 == 0, -1, IDS).astype("<i4").tobytes(), "integers of 4 bytes"),
    "uint32": (IDS.astype("<u4").tobytes(), "integers of 4 bytes"),
    "big-endian int32": (IDS.astype(">i4").tobytes(), "integers of 4 bytes"),
    "a short int32": (IDS[:6].astype("<i4").tobytes(), "integers of 4 bytes"),
    "int64": (IDS.astype("<i8").tobytes(), "integers of 8 bytes"),
    "uint64 of a few ids": (IDS[:5].astype("<u8").tobytes(), "integers of 8 bytes"),
    "English": (b"Once upon a time, there was a cat.\n" * 50, "it holds text", "dataset.path"),
    "English of an odd length": (b"Once upon a time\n" * 3, "it holds text"),
    "Chinese": ("\u4f60\u597d\uff0c\u4e16\u754c\u3002".encode() * 9000, "it holds text"),
    "JSON lines": (b'{"text": "Once"}\n' * 9000, "it holds text"),
    "ids as text": (b"464 3290 318 257\n" * 99, "it holds text"),
    ".npy": (npy(IDS.astype("<u2")), "it holds a NumPy array"),
    "gzip": (gzip.compress(IDS.astype("<u2").tobytes()), "it holds gzip data"),
    "a zip": (b"PK\x03\x04" + bytes(60), "it holds a zip archive"),
    "Parquet": (b"PAR1" + bytes(60), "it holds Parquet data"),
    "llm.c": (llm_c(), "header of llm.c", "tail -c +1025"),
    "zeros": (bytes(5000), "it ends in zeros, as an incomplete copy or download does"),
    "half a download": (IDS.astype("<u2").tobytes() + bytes(4096), "it ends in zeros"),
    "characters": (CHARS.astype("<u2").tobytes(), "no id above ", "small vocabulary"),
    "bytes": (np.frombuffer(LETTERS, np.uint8).astype("<u2").tobytes(), "no id above 226"),
    "UTF-16 text": (LETTERS[3:45].decode().encode("utf-16-le") * 99, "no id above 122"),
}  # fmt: skip


def refused(gpt, *words):
    code, out, err = gpt("data", *SMALL, "tokenizer=gpt2", "dataset.path=null", *words)
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (code, out, len(lines)) == (2, "", 1), err
    return lines[0]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_kind_is_refused_with_its_reason(gpt, folder, name):
    raw, *parts = FOREIGN[name]
    (folder / "in").mkdir()
    (folder / "in/train.bin").write_bytes(raw)
    (folder / "in/val.bin").write_bytes(IDS.astype("<u2").tobytes())
    for path in ("in", "in/train.bin"):
        line = refused(gpt, f"dataset.adopt={path}")
        assert "error: in/train.bin cannot be adopted: " in line
        for part in parts:
            assert part in line
    (folder / "in/train.bin").rename(folder / "in/other.bin")
    (folder / "in/val.bin").rename(folder / "in/train.bin")
    line = refused(gpt, "dataset.adopt=in/train.bin", "dataset.val_path=in/other.bin")
    assert "error: in/other.bin cannot be adopted: " in line
    assert not (folder / "data").exists()


@pytest.mark.parametrize("path", ["in", "in/train.bin", "in/val.bin"])
def test_nanogpts_characters_are_refused_and_their_pickle_is_never_read(gpt, folder, path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(folder / "exploded"), "w"))

    (folder / "in").mkdir()
    for name in ("train.bin", "val.bin"):
        IDS.astype("<u2").tofile(folder / "in" / name)
    (folder / "in/meta.pkl").write_bytes(pickle.dumps(Bomb()))
    line = refused(gpt, f"dataset.adopt={path}")
    assert "meta.pkl in the same folder belongs to nanoGPT's character-level data" in line
    assert "dataset.path" in line
    assert not (folder / "exploded").exists()


def test_own_token_files_of_another_tokenizer_are_refused(gpt, folder):
    assert gpt("data", *SMALL)[0] == 0
    line = refused(gpt, "dataset.adopt=data/text", "dataset.name=other")
    assert "data/text/dataset_train.bin cannot be adopted: its sidecar says" in line
    assert "257 entries with end-of-text 256; GPT-2 has 50,257 and 50256" in line


@pytest.fixture
def gpt2_words(shared_data):
    return ("tokenizer=gpt2", f"tokenizer.path={shared_data / 'gpt2'}", "dataset.path=null")


def test_own_token_files_of_gpt2_are_taken_and_those_of_its_size_are_not(gpt, folder, gpt2_words):
    assert gpt("data", *SMALL, *gpt2_words[:2])[0] == 0
    words = (*SMALL, *gpt2_words, "dataset.adopt=data/text", "dataset.name=other")
    code, _, err = gpt("data", *words)
    assert code == 0, err
    for name in ("train", "val"):
        copies = [(folder / f"data/{n}/dataset_{name}.bin").read_bytes() for n in ("text", "other")]
        assert copies[0] == copies[1]
    from gpt_pipeline.dataset.sidecar import read_sidecar, sidecar_json, sidecar_path

    path = folder / "data/text/dataset_train.bin"
    from dataclasses import replace

    other = replace(read_sidecar(path), tokenizer_sha256="0" * 64)
    sidecar_path(path).write_bytes(sidecar_json(other))
    code, _, err = gpt("data", *words[:-1], "dataset.name=third")
    assert code == 2
    assert "was made with another tokenizer than GPT-2's" in err


@pytest.fixture(scope="module")
def real_ids(shared_data):
    """Ids of stories with end-of-text, and of plays without it."""
    tokenizer = gpt2(str(shared_data / "gpt2"))
    stories = (shared_data / "tinystories/tinystories-valid.txt").read_text(encoding="utf-8")
    documents = [text.strip("\n") for text in stories.split("<|endoftext|>")]
    plays = (shared_data / "own-text/tinyshakespeare.txt").read_text(encoding="utf-8")
    names = (shared_data / "own-text/names.txt").read_text(encoding="utf-8")
    return {
        "stories": tokenizer.encode_documents([text for text in documents if text]),
        "plays": np.array(tokenizer.encode(plays), dtype="<u2"),
        "names": np.array(tokenizer.encode(names), dtype="<u2"),
        "sums": np.array(tokenizer.encode("".join(f"{a}+{b}\n" for a in range(10) for b in
                                                  range(10)) * 9), dtype="<u2"),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["stories", "plays", "names", "sums"])
def test_no_piece_of_real_ids_is_refused(tmp_path, real_ids, name):
    rng = np.random.default_rng(1)
    path = tmp_path / "train.bin"
    for size in [*range(2, 40), 64, 200, 1023, 1024, 1025, 5000, 100_000]:
        for start in rng.integers(0, max(1, len(real_ids[name]) - size), 6):
            real_ids[name][start : start + size].astype("<u2").tofile(path)
            TokenFile.find(path)


def test_tokens_without_end_of_text_are_taken_with_a_warning(gpt, folder, real_ids, gpt2_words):
    (folder / "in").mkdir()
    real_ids["plays"].tofile(folder / "in/train.bin")
    real_ids["plays"][:1000].tofile(folder / "in/val.bin")
    words = (*SMALL, *gpt2_words, "dataset.adopt=in")
    code, _, err = gpt("data", *words)
    assert code == 0, err
    (line,) = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert "in/train.bin has no end-of-text (50256) in the " in line
    assert "warning" not in gpt("data", *words)[2]
    real_ids["stories"].tofile(folder / "in/train.bin")
    assert "warning" not in gpt("data", *words)[2]
