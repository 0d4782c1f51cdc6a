"""The line-by-line session: real code on a pretended terminal, and once on a real one."""

import os
import pty
import select
import sys
import time

import pytest

from gpt_pipeline.cli.session import HELP, talk
from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError

SAMPLING = Sampling(temperature=1.0, top_k=50, top_p=0.95, max_new_tokens=9)


@pytest.fixture
def session(monkeypatch, capsys):
    """Types lines into a session; gives what was asked of the model, and what was printed."""

    def run(*lines, stream=None):
        typed, asked = iter(lines), []

        def read(_):
            line = next(typed, EOFError)
            if not isinstance(line, str):
                raise line
            return line

        def default(prompt, sampling, seed):
            asked.append((prompt, sampling, seed))
            yield from (" was", " here")

        monkeypatch.setattr("builtins.input", read)
        talk(stream or default, SAMPLING, 5)
        captured = capsys.readouterr()
        return asked, captured.out, captured.err

    return run


def test_a_line_is_a_prompt_and_again_takes_the_next_seed(session):
    asked, out, _ = session("A cat", "/again", "/again", "/quit", "never read")
    assert [(prompt, seed) for prompt, _, seed in asked] == [("A cat", s) for s in (5, 6, 7)]
    assert out.count("A cat was here\n") == 3


def test_settings_hold_for_the_stories_after_them(session):
    lines = ("/temp 0.7", "/seed 3", "/top_k 0", "/top_p 0.5", "/min_p 0.1", "/tokens 4", "x", "")
    asked, _, err = session(*lines)
    wanted = Sampling(temperature=0.7, top_k=None, top_p=0.5, max_new_tokens=4, min_p=0.1)
    assert asked == [("x", wanted, 3)] * 2
    assert err == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/temp -1", "/temp needs a number from 0 to 1000; got -1"),
        ("/temp nan", "/temp needs a number from 0 to 1000; got nan"),
        ("/top_p 0", "/top_p needs a number from 1e-09 to 1; got 0"),
        ("/top_k 1.5", f"/top_k needs a whole number from 0 to {2**63 - 1}; got 1.5"),
        ("/seed", f"/seed needs a whole number from 0 to {2**63 - 1}; got ''"),
        ("/tokens 0", f"/tokens needs a whole number from 1 to {2**63 - 1}; got 0"),
        ("/again", "/again needs a prompt to continue; type one first"),
        ("/save x", "/save is not a command; /help lists the commands"),
    ],
)
def test_a_wrong_command_is_one_line_and_the_session_goes_on(session, line, said):
    asked, _, err = session(line, "still here")
    assert err == f"error: {said}\n"
    assert asked == [("still here", SAMPLING, 5)]


def test_ctrl_c_ends_a_story_and_not_the_session(session):
    def stream(prompt, sampling, seed):
        yield " once"
        raise KeyboardInterrupt

    _, out, _ = session("A", KeyboardInterrupt, "B", "/quit now", "never read", stream=stream)
    assert "A once [stopped]\n" in out
    assert "\n/quit quits\n" in out  # at the prompt
    assert "B once [stopped]\n" in out
    assert "never read" not in out


def test_a_story_that_is_interrupted_while_it_is_printed_lets_the_model_go(session, monkeypatch):
    """One engine makes all stories of a session, one at a time."""
    ended = []

    def stream(prompt, sampling, seed):
        try:
            yield from (" once", " more")
        finally:
            ended.append(prompt)

    def interrupted(text):
        if text == " more":
            raise KeyboardInterrupt
        return text

    monkeypatch.setattr("gpt_pipeline.cli.session.for_standard_output", interrupted)
    _, out, _ = session("A", "B", stream=stream)
    assert ended == ["A", "B"]
    assert "A once [stopped]\n" in out


def test_help_lists_every_command_and_errors_of_the_model_are_told(session):
    def stream(prompt, sampling, seed):
        raise UserError("the prompt must be at most 8 tokens")
        yield

    _, out, err = session("/help", "too long", stream=stream)
    assert HELP in out
    assert err == "error: the prompt must be at most 8 tokens\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_real_terminal_the_command_without_a_prompt_is_a_session(trained_folder):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(trained_folder)
        os.execv(sys.executable, [sys.executable, "-m", "gpt_pipeline", "inference"])
    seen = wait_for(terminal, "> ")
    assert "type the beginning of a text" in seen
    os.write(terminal, b"Tom had\r")
    assert "Tom had" in wait_for(terminal, "\n\r\n> ")
    os.write(terminal, b"\x1b[A\r")  # the arrow brings the line back
    assert wait_for(terminal, "\n\r\n> ").count("Tom had") >= 2
    os.write(terminal, b"/quit\r")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def wait_for(terminal, end, seconds=60):
    seen, until = "", time.monotonic() + seconds
    while not seen.replace("\r\n", "\n").endswith(end.replace("\r\n", "\n").replace("\r", "")):
        ready, _, _ = select.select([terminal], [], [], max(0, until - time.monotonic()))
        assert ready, seen
        seen += os.read(terminal, 4096).decode()
    return seen
