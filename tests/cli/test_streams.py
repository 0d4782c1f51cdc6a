"""Readers that are gone, and disks that are full, under what the command says."""

import logging
import subprocess
import sys

from small_run import LONG, SMALL, last_bundle, start

from gpt_pipeline.cli.console import log, log_to_file, log_to_stderr


def test_a_run_whose_reader_is_gone_goes_on_to_its_end(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt_pipeline", "train", *SMALL],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stderr.close()
    process.wait(timeout=120)
    assert last_bundle(folder).name == "small-step-00000012"


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
    assert last_bundle(folder)


def test_messages_to_a_closed_stream_are_dropped(monkeypatch):
    class Gone:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    log_to_stderr()
    monkeypatch.setattr(sys, "stderr", Gone())
    log.warning("nobody hears this")


def test_a_full_disk_under_the_log_is_quiet(tmp_path, capfd):
    with log_to_file(tmp_path / "train.log"):
        handler = next(h for h in log.handlers if isinstance(h, logging.FileHandler))
        handler.stream.close()
        handler.stream = open("/dev/full", "w")  # noqa: PTH123, SIM115
        for _ in range(3):
            log.warning("x" * 10_000)
    assert "Traceback" not in capfd.readouterr().err
