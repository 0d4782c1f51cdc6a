"""The command as a process: killed, stopped by signals, and started again."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import SMALL, corpus

from gpt_pipeline.metrics import read_metrics

LONG = [*SMALL, "schedule.max_steps=150", "checkpoint.save_every=10", "model.eval_freq=25",
        "model.mha_dropout_rate=0.1"]  # fmt: skip


def start(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "gpt_pipeline", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(process):
    text, _ = process.communicate(timeout=240)
    return process.returncode, text


def wait_for_step(step, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for path in Path("outputs/train").glob("*/metrics.jsonl"):
            if any(entry["step"] >= step for entry in read_metrics(path)):
                return
        time.sleep(0.02)
    pytest.fail(f"step {step} was not reached: {finish(process)}")


def final_weights():
    path = Path("checkpoints/small-step-00000150/model.safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def history():
    path = max(Path("outputs/train").glob("*/metrics.jsonl"))  # killed before its first bundle,
    # a run starts anew in another folder
    timing = ("tokens_per_s", "memory_bytes")
    return [{k: v for k, v in e.items() if k not in timing} for e in read_metrics(path)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights and metrics of the uninterrupted run, and its corpus."""
    folder = tmp_path_factory.mktemp("whole")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("stories.txt").write_text(corpus())
        code, text = finish(start("train", *LONG))
        assert code == 0, text
        return final_weights(), history()
    finally:
        os.chdir(before)


@pytest.mark.slow
def test_a_run_killed_at_any_moment_and_started_again_is_the_same_run(folder, whole):
    for step in (5, 47, 101):
        process = start("train", *LONG)
        wait_for_step(step, process)
        process.kill()
        process.communicate()
    code, text = finish(start("train", *LONG))
    assert code == 0, text
    assert "resuming at step" in text
    assert (final_weights(), history()) == whole


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_says_how_to_go_on_and_the_run_stays_the_same(folder, whole, number, code):
    process = start("train", *LONG)
    wait_for_step(33, process)
    process.send_signal(number)
    returned, text = finish(process)
    assert returned == code, text
    assert "stopped at step" in text
    assert "the same command goes on" in text
    code, text = finish(start("train", *LONG))
    assert code == 0, text
    assert (final_weights(), history()) == whole
