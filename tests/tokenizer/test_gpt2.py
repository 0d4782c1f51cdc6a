import json
import logging
import os
import shutil
import sys
import time
import unicodedata
from types import SimpleNamespace

import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_pipeline.errors import TokenizerError
from gpt_pipeline.tokenizer import (
    END_OF_TEXT,
    Tokenizer,
    byte_tokenizer,
    gpt2,
    tokenizer,
    without_retries,
)
from gpt_pipeline.tokenizer.byte_alphabet import char_to_byte

# GPT-2's published pattern, as tiktoken's gpt2 encoding has it.
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
WHITESPACE = [chr(i) for i in range(sys.maxunicode + 1) if chr(i).isspace()]
EVERY = [chr(i) for i in range(sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "gpt2"


@pytest.fixture(scope="module")
def ours(folder):
    return gpt2(str(folder))


@pytest.fixture(scope="module")
def theirs(folder):
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    eot = vocab.pop(END_OF_TEXT)
    table = char_to_byte()
    ranks = {bytes(table[char] for char in token): rank for token, rank in vocab.items()}
    return tiktoken.Encoding(
        "gpt2-offline", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={END_OF_TEXT: eot}
    )


def test_gpt2_has_its_published_size(ours):
    assert (ours.vocab_size, ours.eot_id) == (50257, 50256)


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_has_tiktokens_ids_and_comes_back(ours, theirs, text):
    ids = ours.encode(text)
    assert ids == theirs.encode_ordinary(text)
    assert ours.decode(ids) == text


PARTS = st.sampled_from([*WHITESPACE, *"ab1.'", "'s", "'LL", "\u0301", "\u4f60", END_OF_TEXT])


@settings(deadline=None, max_examples=200)
@given(parts=st.lists(PARTS, max_size=60))
def test_whitespace_runs_of_every_kind_have_tiktokens_ids(ours, theirs, parts):
    text = "".join(parts)
    assert ours.encode(text) == theirs.encode_ordinary(text)


@settings(deadline=None, max_examples=200)
@given(parts=st.lists(PARTS | st.sampled_from(["\u3002", "\uff0c", ",", "\u0434"]), max_size=60))
def test_text_in_pieces_has_tiktokens_ids(ours, theirs, parts):
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "PIECE_CHARS", 4)
        assert ours.encode(text) == theirs.encode_ordinary(text)


@pytest.mark.parametrize("form", ["a{} {}\n"])
def test_every_code_point_has_tiktokens_ids(ours, theirs, form):
    texts = ["".join(form.replace("{}", char) for char in EVERY[i :: 1 << 9]) for i in range(512)]
    for text, found in zip(texts, ours.encode_batch(texts), strict=True):
        assert found == theirs.encode_ordinary(text)


@pytest.mark.parametrize("space", WHITESPACE)
def test_runs_of_one_whitespace_have_tiktokens_ids(ours, theirs, space):
    text = "".join(f"a{space * n}b.{space * n} {space * n}" for n in range(1, 12))
    assert ours.encode(text) == theirs.encode_ordinary(text), unicodedata.name(space, space)


def test_tinystories_has_tiktokens_ids(ours, theirs, shared_data):
    text = (shared_data / "tinystories/tinystories-valid.txt").read_text(encoding="utf-8")
    stories = text.split(f"\n{END_OF_TEXT}\n")
    assert ours.encode_batch(stories) == [theirs.encode_ordinary(story) for story in stories]
    assert ours.encode(text) == theirs.encode_ordinary(text)


def test_version_line_in_the_merges_is_optional(ours, folder, tmp_path):
    shutil.copy(folder / "vocab.json", tmp_path)
    merges = (folder / "merges.txt").read_text(encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    assert gpt2(str(tmp_path)).sha256 == ours.sha256


def test_tokenizer_json_gives_the_same_tokenizer(ours, tmp_path):
    ours.save(tmp_path / "tokenizer.json")
    assert gpt2(str(tmp_path / "tokenizer.json")).sha256 == ours.sha256
    assert gpt2(str(tmp_path)).sha256 == ours.sha256
    assert Tokenizer.load(tmp_path / "tokenizer.json").sha256 == ours.sha256


def test_hub_is_asked_when_there_is_no_path(monkeypatch):
    inner = tokenizers.Tokenizer.from_str(byte_tokenizer().to_json())
    asked = []

    def fetch(name):
        asked.append(name)
        return inner

    library = SimpleNamespace(Tokenizer=SimpleNamespace(from_pretrained=fetch))
    monkeypatch.setattr("gpt_pipeline.tokenizer.gpt2_files.tokenizers", library)
    assert gpt2(None).sha256 == byte_tokenizer().sha256
    assert asked == ["openai-community/gpt2"]


def test_unreachable_hub_is_one_quick_line(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    constants = pytest.importorskip(
        "huggingface_hub.constants", reason="needs the hub's client: make install-dev"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)  # the client's, between two tries
    with pytest.raises(TokenizerError, match=r"tokenizer.path=FOLDER with vocab.json") as caught:
        gpt2(None)
    assert pauses == []
    assert "openai-community/gpt2" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_retry_becomes_the_error_that_led_to_it(caplog):
    log = logging.getLogger("huggingface_hub.utils._http")

    def request():
        try:
            raise TimeoutError("slow")
        except TimeoutError:
            log.warning("slow thrown while requesting")

    with pytest.raises(TimeoutError, match="slow"), without_retries():
        request()
    with pytest.raises(ConnectionError, match="Retry 1/5"), without_retries():
        log.warning("Retrying in 1s [Retry 1/5].")
    assert caplog.text == ""
    with without_retries():
        log.warning("something else")
    request()
    assert "something else" in caplog.text
    assert "thrown" in caplog.text


def test_missing_merges_are_named(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"merges\.txt does not exist"):
        gpt2(str(tmp_path))
    with pytest.raises(TokenizerError, match="nowhere does not exist"):
        gpt2(str(tmp_path / "nowhere"))


VOCAB = json.loads(byte_tokenizer().to_json())["model"]["vocab"]


@pytest.mark.parametrize(
    ("vocab", "merges", "problem"),
    [
        ("{", "", "cannot read the tokenizer files"),
        ("[]", "", r"must have an entry <\|endoftext\|>"),
        (json.dumps({END_OF_TEXT: 0, "a": 1}), "", "256 bytes; got none for 0x21"),
        (json.dumps({**VOCAB, END_OF_TEXT: 256}), "a b c\n", "must be two parts; got 'a b c'"),
        (json.dumps({**VOCAB, END_OF_TEXT: 256}), "a b\n", "do not fit together"),
        (json.dumps({**VOCAB, END_OF_TEXT: 300}), "", "must be 0 to 256, each once, for 257"),
        (json.dumps({**VOCAB, END_OF_TEXT: 255}), "", "must be 0 to 256, each once, for 257"),
        (
            json.dumps({**VOCAB, END_OF_TEXT: 256} | {f"a{n}": 257 + n for n in range(99)}),
            "a 0\n",
            "merges for 1 of 99 entries .none for 'a1'.: the merges are incomplete",
        ),
    ],
)
def test_damaged_files_are_one_line(tmp_path, vocab, merges, problem):
    (tmp_path / "vocab.json").write_text(vocab)
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(TokenizerError, match=problem) as caught:
        gpt2(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_pipe_for_a_vocabulary_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "vocab.json")
    with pytest.raises(TokenizerError, match=r"vocab\.json is no file"):
        gpt2(str(tmp_path))


def test_tokenizer_json_of_another_kind_is_refused(tmp_path):
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a")).save(str(tmp_path / "t.json"))
    with pytest.raises(TokenizerError, match=r"of GPT-2's kind.*WordLevel after None"):
        gpt2(str(tmp_path / "t.json"))
