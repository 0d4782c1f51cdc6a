"""A file of prompts, and the file that samples are written to."""

import errno
from pathlib import Path

import pytest

from gpt_pipeline.cli.inference import appended
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference.prompts import read_prompt_file


def test_a_line_is_a_prompt_whatever_else_some_take_for_its_end(tmp_path):
    path = tmp_path / "p.txt"
    path.write_bytes("\ufeffOne day\r\n\r\nA\u2028B\x0c\x85C\n  \nlast".encode())
    assert read_prompt_file(path) == [
        (f"prompts={path} line 1", "One day"),
        (f"prompts={path} line 3", "A\u2028B\x0c\x85C"),
        (f"prompts={path} line 5", "last"),
    ]


@pytest.mark.parametrize("end", [KeyboardInterrupt, UserError("the logits")])
def test_what_ends_before_its_first_line_leaves_no_file(tmp_path, end):
    with pytest.raises((KeyboardInterrupt, UserError)), appended(tmp_path / "out.jsonl"):
        raise end
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path):
    path = tmp_path / "out.jsonl"

    def fill():
        with appended(path) as append:
            append("one")
            append("two")
            with path.open("ab") as other:  # what a write that fails half way leaves
                other.write(b"thr")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"output=.* cannot be written: No space left"):
        fill()
    assert path.read_text() == "one\ntwo\n"


def test_a_file_that_came_to_be_meanwhile_is_left_alone(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("")
    with pytest.raises(UserError, match="cannot be written: File exists"), appended(path):
        pass
    assert Path(path).exists()
