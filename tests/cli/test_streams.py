"""Readers that are gone, and disks that are full, under what the command says."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import LONG, SMALL, last_checkpoint, start

from gpt_pipeline.cli.console import log, log_to_stderr
from gpt_pipeline.tracking.run_folder import log_to_file

FULL = Path("/dev/full")


def test_a_run_whose_reader_is_gone_goes_on_to_its_end(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt_pipeline", "train", *SMALL],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stderr.close()
    process.wait(timeout=120)
    assert last_checkpoint(folder).name == "small-step-00000012"


def test_a_signal_ends_a_run_whose_messages_nobody_takes(folder):
    """As after Ctrl-S on a terminal, or with a pager that waits."""
    import signal
    import time

    from small_run import steps_done

    process = start("train", *LONG, "schedule.max_steps=100000", "logging.sample_tokens=0")
    while steps_done(folder) < 20:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.stdout.close()
    assert process.wait(timeout=60) == 143
    assert last_checkpoint(folder)


@pytest.mark.skipif(not FULL.is_char_device(), reason="no /dev/full on this system")
def test_an_output_on_a_full_disk_is_one_line(trained_folder):
    with FULL.open("w") as full:
        done = inference(trained_folder, "num_samples=3", stdout=full)
    assert done.returncode == 2
    assert done.stderr.endswith("error: the output cannot be written: No space left on device\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["format=json"], ["num_samples=2"], []], ids=str)
def test_an_output_that_has_no_such_character_gets_an_escape(trained, monkeypatch, words):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    code, _, err = trained("inference", "model.prompt=Zo\u00eb", *words)
    assert code == 0, err
    sys.stdout.flush()
    out = raw.getvalue().decode("ascii")
    if words == ["format=json"]:
        assert json.loads(out)["prompt"] == "Zo\u00eb"
    else:
        assert "Zo\\xeb" in out


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_was_never_open_is_no_terminal(trained_folder, closed):
    words = [sys.executable, "-m", "gpt_pipeline", "inference", "model.max_new_tokens=3"]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *words],
        cwd=trained_folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def inference(folder, *words, **streams):
    return subprocess.run(
        [sys.executable, "-m", "gpt_pipeline", "inference", "model.max_new_tokens=5", *words],
        cwd=folder, stderr=subprocess.PIPE, text=True, check=False, **streams,
    )  # fmt: skip


def test_messages_to_a_closed_stream_are_dropped(monkeypatch):
    class Gone:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    log_to_stderr()
    monkeypatch.setattr(sys, "stderr", Gone())
    log.warning("nobody hears this")


@pytest.mark.skipif(not FULL.is_char_device(), reason="no /dev/full on this system")
def test_a_full_disk_under_the_log_is_quiet(tmp_path, capfd):
    with log_to_file(tmp_path / "train.log"):
        handler = next(h for h in log.handlers if isinstance(h, logging.FileHandler))
        handler.stream.close()
        handler.stream = FULL.open("w")
        for _ in range(3):
            log.warning("x" * 10_000)
    assert "Traceback" not in capfd.readouterr().err
