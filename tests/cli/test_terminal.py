"""What a hostile text can do to a terminal: nothing."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt_pipeline.cli.console import log_to_stderr
from gpt_pipeline.display import visible
from gpt_pipeline.inference import engine
from gpt_pipeline.tracking.run_folder import log_to_file

# Clear the screen, set the title, a C1 sequence in UTF-8, a backspace, and harmless characters.
HOSTILE = "a\x1b[2J\x1b]0;title\x07\x9b31m\x08\x7f\r\n\té🦊\u202e"
PROMPT, END = "\x1b]", 256  # as many bytes as tokens; end-of-text of the bytes
SHOWN = "a\\x1b[2J\\x1b]0;title\\x07\\x9b31m\\x08\\x7f\\r\n\té🦊\\u202e"


@pytest.fixture
def hostile(trained, monkeypatch):
    """`inference` of a model that says nothing but HOSTILE."""

    def next_tokens(logits, sampling, uniforms, texts, *_, **__):
        said = [text[1 + len(PROMPT) :] for text in texts]  # end-of-text stands before the prompt
        return [[*HOSTILE.encode(), END][len(each)] for each in said]

    monkeypatch.setattr(engine, "next_tokens", next_tokens)
    return lambda *words: trained(*words, "model.max_new_tokens=100")


def test_a_terminal_is_shown_control_characters_as_escapes(hostile, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, err = hostile("inference", f"model.prompt={PROMPT}")
    assert out == "\\x1b]" + SHOWN + "\n\n"
    _, out, _ = hostile("inference", f"model.prompt={PROMPT}", "num_samples=2")
    assert out == f"[1 of 2] \\x1b]{SHOWN}\n\n[2 of 2] \\x1b]{SHOWN}\n\n"
    assert "\x1b" not in err


def test_a_pipe_gets_the_text_byte_for_byte(hostile):
    _, out, _ = hostile("inference", f"model.prompt={PROMPT}")
    assert out == PROMPT + HOSTILE + "\n\n"
    _, out, _ = hostile("inference", f"model.prompt={PROMPT}", "num_samples=2")
    assert out == f"[1 of 2] {PROMPT}{HOSTILE}\n\n[2 of 2] {PROMPT}{HOSTILE}\n\n"


def test_json_says_the_text_without_a_raw_control_character(hostile):
    _, out, _ = hostile("inference", "format=json", f"model.prompt={PROMPT}")
    assert visible(out, keep="\n") == out
    assert json.loads(out)["text"] == HOSTILE


def test_a_file_of_samples_has_the_lines_of_standard_output(hostile, folder):
    words = ["inference", f"model.prompt={PROMPT}\u2028\x85"]
    _, printed, _ = hostile(*words, "format=json")
    code, _, _ = hostile(*words, "output=samples.jsonl")
    assert code == 0
    text = (folder / "samples.jsonl").read_bytes().decode()
    assert text == printed
    assert len(text.splitlines()) == 1  # Python's, which ends lines at U+2028 and U+0085 too


@pytest.mark.parametrize("name", ["gpt_pipeline", "gpt_pipeline.checkpoint.store"])
def test_log_lines_carry_no_control_characters(name, tmp_path, capsys):
    log_to_stderr()
    with log_to_file(tmp_path / "train.log"):
        logging.getLogger(name).warning("sample: %s", HOSTILE)
    err, written = capsys.readouterr().err, (tmp_path / "train.log").read_text()
    for text in (err, written):
        assert len(text.splitlines()) == 1
        assert visible(text, keep="\n") == text
    assert err.startswith("warning: sample: a\\x1b[2J")


@given(st.text() | st.characters(categories=["Cc", "Cs"]))
def test_what_is_visible_says_everything_and_commands_nothing(text):
    shown = visible(text, keep="\n\t")
    assert not any(ord(c) < 32 and c not in "\n\t" for c in shown)
    assert not any(0x7F <= ord(c) < 0xA0 for c in shown)
    shown.encode("utf-8")
    assert visible(shown, keep="\n\t") == shown
    if all(c.isprintable() or c in "\n\t" for c in text):
        assert shown == text
