"""A run of the real command that takes seconds, and processes that run it."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SMALL = """
model=tiny tokenizer=bytes dataset=text dataset.path=stories.txt model.embed_dim=32
model.ff_hidden_dim=48 model.num_layers=1 model.max_length=32 schedule.max_steps=12
model.eval_freq=6 model.eval_iter=2 checkpoint.save_every=5 logging.log_every=1
logging.sample_tokens=8 model.max_new_tokens=12 model.warmup_steps=2 dataset.num_workers=0
runtime.num_threads=1 model.checkpoint_name=small
""".split()
"""Words of a run of 12 steps."""

LONG = [*SMALL, "schedule.max_steps=150", "checkpoint.save_every=10", "model.eval_freq=25",
        "model.mha_dropout_rate=0.1"]  # fmt: skip
"""Words of a run of 150 steps with everything that a resume must get right."""

CLOCKED = ("tokens_per_s", "mfu", "data_wait_share", "memory_bytes")
"""Figures of metrics.jsonl that differ from run to run."""

_STORY = "Once upon a time, {name} had a red ball. {name} lost the ball. Then {name} found it.\n"
_NAMES = ("Tom", "Sue", "Ann", "Ben", "Lily", "Max")


def corpus(num_stories: int = 60) -> str:
    """Short stories."""
    names = [_NAMES[i % 6] + "y" * (i // 6 % 50) for i in range(num_stories)]
    return "<|endoftext|>\n".join(_STORY.format(name=name) for name in names)


def start(
    *words: str, folder: Path = Path(), program: tuple[str, ...] = ("-m", "gpt_pipeline"),
    threads: int = 1, **options: Any,
) -> "subprocess.Popen[str]":  # fmt: skip
    """The command as a process, its output in one pipe."""
    return subprocess.Popen(
        [sys.executable, *program, *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)}, **options,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]", timeout: float = 240) -> tuple[int, str]:
    """Exit code and output."""
    text, _ = process.communicate(timeout=timeout)
    return process.returncode, text


def metrics_file(folder: Path) -> Path | None:
    """That of the last run: killed before its first checkpoint, a run starts in another folder."""
    return max(folder.glob("outputs/train/*/metrics.jsonl"), default=None)


def history(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, without what depends on the clock."""
    from gpt_pipeline.tracking.metrics_file import (
        read_metrics,  # loads torch, which bench/data.py must not
    )

    path = metrics_file(folder)
    entries = read_metrics(path) if path else []
    return [{k: v for k, v in entry.items() if k not in CLOCKED} for entry in entries]


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def last_checkpoint(folder: Path) -> Path:
    """The checkpoint of the last step."""
    return max(folder.glob("checkpoints/small-step-*"))


def steps_done(folder: Path) -> int:
    """The last step in metrics.jsonl."""
    lines = history(folder)
    return int(lines[-1]["step"]) if lines else 0


def table(title: str, header: list[str], rows: list[list[Any]]) -> None:
    """Print a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def as_line(values: dict[str, Any]) -> str:
    """JSON, for a file of lines."""
    return json.dumps(values) + "\n"
