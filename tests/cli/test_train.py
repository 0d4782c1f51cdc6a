"""`train` as a function: what it returns, in any thread, more than once in a process."""

import logging
import signal
import threading

import pytest
import torch
from small_run import SMALL, corpus

from gpt_pipeline.cli.train import command, train
from gpt_pipeline.errors import ConfigError
from gpt_pipeline.tracking.metrics_file import read_metrics


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stories.txt").write_text(corpus(), encoding="utf-8")
    return tmp_path


def handlers():
    return [
        signal.getsignal(signal.SIGINT),
        signal.getsignal(signal.SIGTERM),
        *logging.getLogger("gpt_pipeline").handlers,
        logging.getLogger("gpt_pipeline").level,
    ]


def settings():
    return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()


def test_a_run_outside_the_main_thread_leaves_the_process_as_it_was(here):
    results, before = [], (handlers(), settings())
    words = [*SMALL, "runtime.num_threads=2", "runtime.deterministic=true"]
    thread = threading.Thread(target=lambda: results.append(train(words)))
    thread.start()
    thread.join()
    (result,) = results
    assert (result.finished, result.step, result.exit_code) == (True, 12, 0)
    assert result.checkpoint.name == "small-step-00000012"
    assert result.validation["tokens"] > 0
    assert result.sample
    assert [entry["step"] for entry in read_metrics(result.run_dir / "metrics.jsonl")][-1] == 12
    assert "resuming" not in (result.run_dir / "train.log").read_text()
    assert "checkpoint: " in (result.run_dir / "train.log").read_text()
    assert (handlers(), settings()) == before


def test_a_second_call_finds_the_run_complete_and_another_one_is_another_run(here, capsys):
    first = train(SMALL)
    again = train(SMALL)
    assert (again.checkpoint, again.run_dir) == (first.checkpoint, first.run_dir)
    assert (again.validation, again.sample) == (first.validation, first.sample)
    other = train([*SMALL, "model.checkpoint_name=other"])
    assert other.run_dir != first.run_dir
    assert other.validation == first.validation
    assert capsys.readouterr().out == ""
    longer = train([*SMALL, "schedule.max_steps=14"])
    assert (longer.step, longer.run_dir) == (14, first.run_dir)
    assert command(SMALL) == 0
    out = capsys.readouterr().out
    assert out.startswith("validation: loss ")


def test_an_error_leaves_no_lock_behind(here):
    with pytest.raises(ConfigError):
        train([*SMALL, "block.eot_id=7"])
    first = train([*SMALL, "schedule.max_steps=1"])
    with pytest.raises(ConfigError):
        train([*SMALL, "serve.api_key=secret"])
    assert train([*SMALL, "schedule.max_steps=2"]).run_dir == first.run_dir
