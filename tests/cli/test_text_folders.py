"""What a folder or a glob of text stands for, seen through `gpt-pipeline data`."""

import json
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from small_run import SMALL

from gpt_pipeline.dataset import text_source

EOT = 256


@pytest.fixture
def data(gpt, folder):
    """Runs `data` on a path; gives the documents of the token file, and standard error."""

    def run(path, *words, out="data/text"):
        words = [*SMALL, "dataset.train_ratio=1", f"dataset.path={path}", *words]
        code, _, err = gpt("data", *words)
        assert code == 0, err
        tokens = np.fromfile(folder / out / "dataset_train.bin", dtype="<u2")
        ends = np.flatnonzero(tokens == EOT)
        parts = np.split(tokens, ends + 1)[:-1]
        return [bytes(part[:-1].astype(np.uint8)).decode() for part in parts], err

    return run


@pytest.fixture
def make(folder):
    """Writes files that hold their own names, below corpus/."""

    def run(*names):
        for name in names:
            path = folder / "corpus" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            body = json.dumps({"text": name}) if ".jsonl" in name else name
            path.write_text(body)
        return folder / "corpus"

    return run


def note(err):
    (line,) = [line for line in err.splitlines() if line.removeprefix("./").startswith("corpus")]
    return line


KINDS = ("a.txt", "b.TEXT", "c.md", "d.jsonl", "deep/er/e.Txt")


def test_a_folder_takes_its_kinds_and_names_the_rest(data, make):
    make(*KINDS, "x.png", "y.rst", "z", "v.json", "w.csv")
    found, err = data("corpus")
    assert found == list(KINDS)
    assert note(err) == (
        "corpus: 5 files, 5 passed over (other kinds: v.json, w.csv, x.png and 2 more)"
    )


def test_what_is_found_is_said_once_a_command(gpt, make):
    make("a.txt", "b.txt")
    code, _, err = gpt("train", *SMALL, "dataset.path=corpus", "schedule.max_steps=1",
                       "model.max_length=4", "model.prompt=a", "logging.sample_tokens=2",
                       "model.max_new_tokens=2")  # fmt: skip
    assert code == 0, err
    assert err.count("corpus: 2 files") == 1


@pytest.mark.parametrize("spelling", ["corpus", "corpus/**", "corpus/**/*.txt", "./corpus/./"])
def test_hidden_names_environments_and_caches_are_not_read(data, make, spelling):
    make("a.txt", "._a.txt", ".ipynb_checkpoints/a-checkpoint.txt", ".git/b.txt", "in/.c.txt",
         "env/pyvenv.cfg", "env/lib/licence.txt", "conda/conda-meta/history", "conda/d.txt",
         "node_modules/e/README.md", "in/__pycache__/f.txt", "__MACOSX/g.txt")  # fmt: skip
    found, err = data(spelling)
    assert found == ["a.txt"]
    for name in ("env", "conda", "node_modules", "__MACOSX"):
        assert name in note(err) or "more)" in note(err)


def test_hidden_names_that_are_asked_for_are_read(data, make):
    make(".notes.txt", ".notes2.txt", "a.txt", ".texts/b.txt", ".texts/.c.txt", "in/.notes3.txt")
    assert data("corpus/.notes.txt")[0] == [".notes.txt"]
    assert data("corpus/.notes*")[0] == [".notes.txt", ".notes2.txt"]
    assert data("corpus/**/.notes*")[0] == [".notes.txt", ".notes2.txt", "in/.notes3.txt"]
    assert data("corpus/.texts")[0] == [".texts/b.txt"]
    assert data("corpus/.texts/*")[0] == [".texts/b.txt"]


def test_outputs_of_a_run_are_never_training_text(trained, data, folder):
    before = [
        story.strip() for story in (folder / "stories.txt").read_text().split("<|endoftext|>")
    ]
    (run,) = (folder / "outputs/train").iterdir()
    assert {"metrics.jsonl", "samples.md", "train.log"} <= {path.name for path in run.iterdir()}
    code, _, _ = trained("inference", "output=made.jsonl", "model.prompt=Tom")
    assert code == 0
    (folder / "kept").mkdir()
    shutil.copytree(run, folder / "kept" / "old-run")
    for name in ("best.damaged", "small-before-2026-01-01_00-00-00/one", "renamed"):
        place = folder / "kept" / name
        shutil.copytree(next((folder / "checkpoints").iterdir()), place)
        (place / "README.md").write_text("a model card")
    (place / "manifest.json").unlink()  # damage
    assert data(".")[0] == before
    assert data("**/*.txt")[0] == before
    found, err = data("**")
    assert found == before
    assert "own outputs: checkpoints/small-step-" in err
    for spelling in ("outputs", "kept", "data", "checkpoints", "outputs/train/*/samples.md"):
        code, _, err = trained("data", *SMALL, f"dataset.path={spelling}")
        assert code == 2, spelling
        assert f"got none in {spelling}, " in err
        assert "own outputs: " in err


def test_a_file_of_a_run_is_read_where_it_is_named(trained, data, folder):
    (run,) = (folder / "outputs/train").iterdir()
    assert data(run / "samples.md")[0][0].startswith("## Step ")


def test_text_beside_outputs_is_read(data, make, folder):
    """A folder that was given holds text, whatever else was written into it."""
    make("a.txt", ".hydra/config.yaml", "metrics.jsonl", "samples.md", "train.log", "b.md")
    assert data("corpus")[0] == ["a.txt", "b.md"]
    assert data("corpus/*")[0] == ["a.txt", "b.md"]
    make("text/t.txt")
    words = ("dataset.data_dir=corpus", "dataset.name=text")
    for spelling in ("corpus/text", "corpus/text", "corpus/text/*"):
        data(spelling, *words, out="corpus/text")
        assert data(spelling, *words, out="corpus/text")[0] == ["text/t.txt"]


def test_own_outputs_are_known_by_their_files_not_by_their_names(data, make):
    make("outputs/train/2026-01-01_00-00-00/a.txt", "checkpoints/x-step-00000001/b.txt",
         "data/text/c.txt", "app/manifest.json", "app/d.txt", "e/metrics.jsonl")  # fmt: skip
    assert data("corpus")[0] == [
        "app/d.txt", "checkpoints/x-step-00000001/b.txt", "data/text/c.txt", "e/metrics.jsonl",
        "outputs/train/2026-01-01_00-00-00/a.txt",
    ]  # fmt: skip


def test_the_merges_of_a_tokenizer_are_no_text(data, make):
    make("a.txt", "gpt2/merges.txt", "gpt2/vocab.json", "book/merges.txt")
    found, err = data("corpus")
    assert found == ["a.txt", "book/merges.txt"]
    assert "of a tokenizer: gpt2/merges.txt" in note(err)


LINKS = ["corpus", "corpus/", "corpus/**", "corpus/**/*", "link", "link/**"]


@pytest.mark.parametrize("spelling", LINKS)
def test_links_are_followed_and_each_file_is_read_once(data, make, folder, spelling):
    make("a.txt", "in/b.txt")
    (folder / "elsewhere/deep").mkdir(parents=True)
    (folder / "elsewhere/deep/c.txt").write_text("c.txt")
    links = folder / "corpus"
    (links / "0.txt").symlink_to("a.txt")
    (links / "linked").symlink_to("../elsewhere")
    (links / "again").symlink_to("../elsewhere/deep")
    (links / "in/self").symlink_to(".")
    (links / "in/up").symlink_to("../..")
    os.link(links / "a.txt", links / "hard.txt")
    (folder / "link").symlink_to("corpus")
    found, err = data(spelling)
    assert sorted(found) == ["a.txt", "c.txt", "in/b.txt"]
    assert "passed over" in err
    assert "reached twice" in err


def test_circles_of_links_end(data, make, folder):
    """Globs of the standard library follow two such links 2 to the power of 40 times."""
    make("a.txt")
    for name in ("one", "two", "three"):
        (folder / "corpus" / name).symlink_to(".")
    outside = ("x", "y", "z")  # each leads to the other two
    for name in outside:
        (folder / name).mkdir()
        (folder / "corpus" / name).symlink_to(f"../{name}")
        for other in set(outside) - {name}:
            (folder / name / other).symlink_to(f"../{other}")
    for spelling in ("corpus", "corpus/**", "corpus/**/*.txt"):
        assert data(spelling)[0] == ["a.txt"]


def test_what_is_no_file_is_passed_over_by_name(data, make, folder):
    make("a.txt", "b.txt/c.txt")
    (folder / "corpus/gone.txt").symlink_to("nowhere.txt")
    (folder / "corpus/itself.txt").symlink_to("itself.txt")
    os.mkfifo(folder / "corpus/pipe.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "corpus/socket.txt"))
        found, err = data("corpus")
        assert found == ["a.txt", "b.txt/c.txt"]
        assert note(err) == (
            "corpus: 2 files, 4 passed over (dangling links: gone.txt, itself.txt; "
            "not files: pipe.txt, socket.txt)"
        )
        found, err = data("corpus/*.txt")
        assert found == ["a.txt"]
        for name in ("gone.txt", "pipe.txt", "folders (** reads below them): corpus/b.txt"):
            assert name in note(err)


def test_a_file_or_glob_that_is_named_takes_any_text(data, make, folder):
    make("notes.rst", "book", "code.py", "t.json", "s.text")
    (folder / "corpus/photo").write_bytes(b"\x89PNG\r\n\x1a\n and the rest")
    (folder / "corpus/bits").write_bytes(b"abc\0def")
    for name in ("notes.rst", "book", "code.py"):
        assert data(f"corpus/{name}")[0] == [name]
    found, err = data("corpus/t.json")
    assert found == ["t.json"]
    assert "corpus/t.json: read as plain text; only .jsonl and .parquet are read by field" in err
    found, err = data("corpus/*")
    assert found == ["book", "code.py", "notes.rst", "s.text", "t.json"]
    assert note(err).endswith("5 files, 2 passed over (not text: corpus/bits, corpus/photo)")


def test_a_link_that_comes_later_changes_nothing(data, make, folder):
    make("b.txt", "c/d.txt")
    data("corpus")
    (folder / "corpus/a.txt").symlink_to("b.txt")
    (folder / "corpus/0").symlink_to("c")
    found, err = data("corpus")
    assert found == ["b.txt", "c/d.txt"]
    assert "dataset_train.bin: current" in err


REFUSED = [
    ("nowhere", "nowhere does not exist"),
    ("corpus/none", "got none in corpus/none"),
    ("corpus/*.nothing", "must lead to text files; got none in corpus/*.nothing"),
    ("corpus/bits", "must name a file of UTF-8 text; corpus/bits holds binary data"),
    ("corpus/a.pdf", "holds a PDF document"),
    ("corpus/t.bin", "holds binary data; token files are taken with dataset.adopt"),
    ("corpus/gone.txt", "gone.txt is a link to a file that does not exist"),
    ("corpus/pipe", "corpus/pipe is a pipe or a device; write its content to a file first"),
    ("/dev/zero", "is a pipe or a device"),
    ("corpus/utf16.txt", "got the byte 0xff at byte offset 0 (it holds UTF-16 text)"),
    ("x" * 300, "cannot be read: File name too long"),
    ("corpus/a.txt/b", "does not exist"),
]


@pytest.mark.parametrize(("path", "problem"), REFUSED, ids=[path[:20] for path, _ in REFUSED])
def test_paths_that_hold_no_text_are_one_line(gpt, make, folder, path, problem):
    make("a.txt", "none/x.png")
    (folder / "corpus/bits").write_bytes(b"abc\0def")
    (folder / "corpus/t.bin").write_bytes(b"abc\0def")
    (folder / "corpus/a.pdf").write_bytes(b"%PDF-1.7 text")
    (folder / "corpus/utf16.txt").write_bytes("a text".encode("utf-16"))
    (folder / "corpus/gone.txt").symlink_to("nowhere.txt")
    os.mkfifo(folder / "corpus/pipe")
    code, out, err = gpt("data", *SMALL, f"dataset.path={path}")
    assert (code, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "error: " in line]
    assert problem in line


def test_a_folder_that_cannot_be_read_is_an_error_unless_it_is_the_systems(
    gpt, data, make, monkeypatch
):
    make("a.txt", "closed/b.txt", "lost+found/c.txt")
    scandir, closed = os.scandir, {"closed", "lost+found"}

    def guarded(path="."):
        if Path(path).name in closed:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    code, _, err = gpt("data", *SMALL, "dataset.path=corpus")
    assert code == 2
    assert "corpus/closed cannot be read: Permission denied" in err
    closed.remove("closed")
    assert data("corpus")[0] == ["a.txt", "closed/b.txt"]


@pytest.mark.parametrize("name", [b"new\nline.txt", b"bytes-\xff\xe9.txt", b"\x1b[31mred.txt"])
def test_odd_names_are_read_and_shown_without_harm(data, folder, name):
    (folder / "corpus").mkdir()
    (folder / "corpus" / os.fsdecode(name)).write_text("a <|endoftext|> b")
    found, err = data("corpus")
    assert found == ["a <|endoftext|> b"]
    assert "\x1b" not in err
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1


def test_a_marker_within_a_line_is_a_warning_once(data, make, folder):
    path = make("a.txt") / "a.txt"
    path.write_text("one\ntwo <|endoftext|> three\n\nfour<|endoftext|>\n")
    words = ("tokenizer=bytes", "dataset.train_ratio=1")
    found, err = data("corpus", *words)
    assert found == ["one\ntwo <|endoftext|> three", "four<|endoftext|>"]
    (line,) = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert "corpus/a.txt has <|endoftext|> within a document (line 2)" in line
    assert "dataset.separator=endoftext_anywhere" in line
    found, err = data("corpus", *words, "dataset.separator=endoftext_anywhere")
    assert found == ["one\ntwo ", " three\n\nfour"]
    assert "warning" not in err
    path.write_text("one\n<|endoftext|>\ntwo")
    assert "warning" not in data("corpus", *words)[1]


def test_the_warning_comes_once_where_the_text_is_read_many_times(gpt, make, folder):
    path = make("a.txt") / "a.txt"
    path.write_text("word <|endoftext|> word\n\n" * 50)
    code, _, err = gpt("data", *SMALL, "dataset.path=corpus", "tokenizer=bpe",
                       "tokenizer.vocab_size=260")  # fmt: skip
    assert code == 0, err
    assert err.count("within a document") == 1


def test_fields_are_split_by_endoftext_anywhere_too(data, make):
    path = make("a.jsonl") / "a.jsonl"
    path.write_text(json.dumps({"text": "one<|endoftext|>two"}) + "\n" + json.dumps({"text": "3"}))
    found, err = data("corpus")
    assert found == ["one<|endoftext|>two", "3"]
    assert "a.jsonl has <|endoftext|> within a document, where" in err
    assert data("corpus", "dataset.separator=endoftext_anywhere")[0] == ["one", "two", "3"]


@pytest.mark.parametrize(
    "words", [("tokenizer=bytes",), ("tokenizer=bpe", "tokenizer.vocab_size=260")]
)
@pytest.mark.parametrize("change", ["longer", "shorter", "of equal size", "gone"])
def test_a_file_that_changes_while_it_is_read_is_refused(gpt, folder, monkeypatch, words, change):
    """Token files of half the old and half the new text would go by the old one's fingerprint."""
    path = folder / "a.txt"
    path.write_text("word word\n\n" * 50)
    read, reads = text_source.read_documents, []

    def changing(file, form):
        reads.append(file)
        for number, document in enumerate(read(file, form)):
            if number == 10 and len(reads) == 2:
                old = path.read_text()
                new = {"longer": old * 3, "shorter": old[:200], "of equal size": old.upper()}
                path.unlink() if change == "gone" else path.write_text(new[change])
            yield document

    monkeypatch.setattr(text_source, "read_documents", changing)
    code, _, err = gpt("data", *SMALL, "dataset.path=a.txt", *words)
    assert code == 2
    assert (
        "a.txt cannot be read: No such file" if change == "gone" else "a.txt changed while"
    ) in err
    assert "Traceback" not in err
    assert len(reads) == 2
    assert not (folder / "data/text/dataset_train.bin").exists()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_not_trained_on(gpt, folder, encoding):
    """Its bytes are valid UTF-8: every second one is NUL."""
    (folder / "a.txt").write_bytes("Once upon a time\n\nthere was".encode(encoding))
    code, _, err = gpt("data", *SMALL, "dataset.path=a.txt", "dataset.train_ratio=1")
    assert code == 2
    assert "a.txt must be UTF-8; it looks like UTF-16; convert the file to UTF-8" in err
