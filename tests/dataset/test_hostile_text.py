import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_pipeline.config import TextConfig, TokenizerConfig
from gpt_pipeline.dataset import open_tokens, prepare, verify_token_file
from gpt_pipeline.dataset.corpus import cleaned
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import END_OF_TEXT

FOUR_MB, TWO_MB = 4 << 20, 2 << 20


@pytest.fixture
def there_and_back(tmp_path, dataset_config, tokenizer_config):
    """Prepares a file of these bytes, and decodes the documents of its token file."""

    def run(raw, name="a.txt", tokenizer=None, **changes):
        (tmp_path / name).write_bytes(raw)
        config = dataset_config(path=tmp_path / name, train_ratio=1.0, **changes)
        return decoded(prepare(config, tokenizer or tokenizer_config(), say=str))

    return run


def decoded(prepared):
    tokens, sidecar = open_tokens(prepared.train)
    verify_token_file(prepared.train)
    ends = np.flatnonzero(tokens == sidecar.eot_id)
    parts = np.split(np.asarray(tokens), ends + 1)[:-1]
    documents = [prepared.tokenizer.decode(part[:-1].tolist()) for part in parts]
    assert len(documents) == sidecar.documents
    assert sidecar.bytes == sum(len(document.encode()) + 1 for document in documents)
    return documents


KEPT = {
    "control characters": "a\0b\x01\x07\x1b[31mred\x1b[0m\x7f\x80\x9f.",
    "control characters at the ends": "\x1b a \x7f",
    "line and paragraph separators": "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1dh\x1ei",
    "separators alone on a line": "a\n\u2028\n\u0085\nb\n\u00a0\nc",
    "lone carriage returns": "a\rb\r\rc",
    "byte order mark in the middle": "a\ufeffb\n\ufeffc",
    "unpaired quotes": "\"a 'b \u201cc `d (e [f {g <h \\",
    "JSON that is text here": '{"text": "x"}\n[[[[',
    "non-characters and unassigned": "\ufffe\uffff\U0010ffff\u0378\ue000",
    "directions and joiners": "\u202eabc\u202c \u200d\u200b e\u0301\u0301\u0301",
    "end of text inside": f"a {END_OF_TEXT} b{END_OF_TEXT}{END_OF_TEXT}\nc",
    "end of text with spaces behind": f"a\n{END_OF_TEXT} \nb\n{END_OF_TEXT}\t\nc",
    "end of text with spaces before": f"a\n {END_OF_TEXT}\nb",
    "pieces of end of text": "<|endoftext|\n|endoftext|>\n<|ENDOFTEXT|>",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("entries", [None, 300])
def test_text_is_kept_byte_for_byte(there_and_back, tokenizer_config, text, entries):
    tokenizer = tokenizer_config("bpe", entries) if entries else None
    raw = f"{text}\n\nanother\n\n".encode()
    assert there_and_back(raw, tokenizer=tokenizer) == [text, "another"]


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_text_from_json_is_kept_byte_for_byte(there_and_back, text, ascii_only):
    raw = json.dumps({"text": text}, ensure_ascii=ascii_only).encode()
    assert there_and_back(raw, "a.jsonl") == [text]


CHANGED = {
    "mark at the start of a file": (b"\xef\xbb\xbfa\n\nb", ["a", "b"]),
    "only the first of two marks": (b"\xef\xbb\xbf\xef\xbb\xbfa", ["\ufeffa"]),
    "mark before end of text": (b"\xef\xbb\xbf<|endoftext|>\na", ["a"]),
    "nothing but a mark and a letter": (b"\xef\xbb\xbfa", ["a"]),
    "CRLF": (b"a\r\nb\r\n\r\nc\r\n", ["a\nb", "c"]),
    "CRLF and LF in one file": (b"a\nb\r\nc\r\n\nd\n\r\ne", ["a\nb\nc", "d", "e"]),
    "CR before CRLF": (b"a\r\r\nb", ["a\r\nb"]),
    "both kinds of end": (b"a\n\nb\n<|endoftext|>\nc\n\nd", ["a\n\nb", "c\n\nd"]),
    "end of text with CRLF": (b"a\r\n<|endoftext|>\r\nb", ["a", "b"]),
    "no newline at the end": (b"a\n\nb", ["a", "b"]),
    "end of text without a newline at the end": (b"a\n<|endoftext|>", ["a"]),
    "many ends": (b"\n\n\na\n\n\n\n\nb\n\n\n", ["a", "b"]),
    "spaces on the blank line": (b"a\n \t \nb", ["a", "b"]),
    "documents of whitespace": ("a\n\n\u00a0\u2003\n\nb".encode(), ["a", "b"]),
    "NULs between documents": (b"a\n\n\0\0\0\n\nb\n\n\0 \0", ["a", "b"]),
    "NULs behind the text": (b"a\0\0", ["a\0\0"]),
}


@pytest.mark.parametrize(("raw", "documents"), CHANGED.values(), ids=CHANGED)
def test_what_is_no_text_is_taken_off(there_and_back, raw, documents):
    assert there_and_back(raw) == documents


REFUSED = {
    "NULs only": (b"\0" * 4096, "a.txt", "nothing but whitespace"),
    "UTF-16": ("text".encode("utf-16-le") + b"\xff\xfe", "a.txt", "0xff at byte offset 8"),
    "Latin-1": (b"caf\xe9 au lait", "a.txt", "0xe9 at byte offset 3"),
    "half a character at the end": (b"ab\xe2\x82", "a.txt", "0xe2 at byte offset 2"),
    "overlong encoding": (b"a\xc0\xaf", "a.txt", "0xc0 at byte offset 1"),
    "surrogate in UTF-8": (b"ab\n\nc\xed\xa0\x80", "a.txt", "0xed at byte offset 5"),
    "lone high surrogate": (b'{"text": "a"}\n{"text": "b\\ud83dc"}', "a.jsonl", r"line 2.*U\+D83D"),
    "lone low surrogate": (b'{"text": "\\ude00"}', "a.jsonl", r"line 1 .*U\+DE00 at character 0"),
    "pair in the wrong order": (b'{"text": "\\ude00\\ud83d"}', "a.jsonl", r"line 1 .*U\+DE00"),
    "deep JSON": (b'{"text": ' + b"[" * 200_000, "a.jsonl", "line 1 must be JSON"),
    "deep and whole JSON": (b"[" * 99_999 + b"]" * 99_999, "a.jsonl", "line 1 must"),
    "endless number": (b'{"text": ' + b"9" * 9999 + b"}", "a.jsonl", "line 1 must"),
    "two objects in a line": (b'{"text": "a"} {"text": "b"}', "a.jsonl", "line 1 must be JSON"),
}


@pytest.mark.parametrize(("raw", "name", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_text_is_refused_with_its_place(there_and_back, raw, name, problem):
    with pytest.raises(DataError, match=problem) as caught:
        there_and_back(raw, name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_surrogate_pair_in_json_is_one_character(there_and_back):
    assert there_and_back(b'{"text": "\\ud83d\\ude00"}', "a.jsonl") == ["\U0001f600"]


def test_end_of_text_in_a_story_is_never_the_end(there_and_back, tmp_path):
    raw = json.dumps({"text": f"{END_OF_TEXT}\n{END_OF_TEXT}\n"}).encode()
    assert there_and_back(raw, "a.jsonl") == [f"{END_OF_TEXT}\n{END_OF_TEXT}"]


LONG = {
    "four megabytes of words": (b"once upon a time " * (FOUR_MB // 17), None),
    "four megabytes without a space": (
        bytes(np.random.default_rng(0).integers(97, 123, FOUR_MB, dtype=np.uint8)),
        300,
    ),
    "one letter": (b"a" * TWO_MB, 300),
    "no letter": (b"=/" * (TWO_MB // 2), 300),
    "spaces": (b"a" + b" " * TWO_MB + b"b", 300),
    "returns": (b"a" + b"\r" * TWO_MB + b"b", 300),
    "NULs": (b"a" + b"\0" * TWO_MB, 300),
    "Chinese": ("\u4f60\u597d\u4e16\u754c\uff0c\u5f88\u597d\u3002".encode() * (TWO_MB // 24), 300),
}


@pytest.mark.slow
@pytest.mark.parametrize(("raw", "entries"), LONG.values(), ids=LONG)
def test_one_long_line_is_kept_in_linear_time(there_and_back, tokenizer_config, raw, entries):
    start = time.perf_counter()
    tokenizer = tokenizer_config("bpe", entries) if entries else None
    (found,) = there_and_back(raw, tokenizer=tokenizer)
    assert found.encode() == raw
    assert time.perf_counter() - start < 120  # some 5 s; quadratic time would be an hour


@pytest.mark.parametrize("text", ["a", "ab", " ", "\n ", "\u4f60"])
def test_long_words_cost_the_tokenizer_no_more_than_many_words(
    there_and_back, tokenizer_config, text
):
    raw = f"x{text * (200_000 // len(text))}y".encode()
    start = time.perf_counter()
    (found,) = there_and_back(raw, tokenizer=tokenizer_config("bpe", 400), separator="none")
    assert found.encode() == raw
    assert time.perf_counter() - start < 20  # under 1 s; it was minutes


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ODD = st.sampled_from(["\0", "\r", "\n", "\r\n", "\ufeff", "\u2028", "\u0085", END_OF_TEXT, " "])
STORY = st.lists(TEXT | ODD, max_size=6).map("".join)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(STORY, min_size=1, max_size=8))
def test_any_strings_come_back_as_cleaned_documents(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("any")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (folder / "a.jsonl").write_text(lines, encoding="utf-8")
    values = {
        "source": "text", "name": "data", "path": str(folder / "a.jsonl"), "val_path": None,
        "separator": "auto", "text_field": "text", "seed": 0, "data_dir": str(folder),
        "train_ratio": 1.0, "train_shuffle": True, "num_workers": 0, "adopt": None,
    }  # fmt: skip
    tokenizer = TokenizerConfig(name="bytes", vocab_size=None, path=None, train_bytes=10**8)
    wanted = [clean for text in texts if (clean := cleaned(text)) is not None]
    if not wanted:
        with pytest.raises(DataError, match="no documents"):
            prepare(TextConfig(**values), tokenizer, say=str)
        return
    assert decoded(prepare(TextConfig(**values), tokenizer, say=str)) == wanted
