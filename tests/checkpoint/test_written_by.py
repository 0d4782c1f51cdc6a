"""Checkpoints of every format version, written by the programs of their time, resume and generate.

written_by/README.md has the commit and the command that wrote each of them.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.checkpoint.upgrade import FORMAT_VERSION
from gpt_pipeline.cli.main import run
from gpt_pipeline.tracking.metrics_file import read_metrics

FOLDER = Path(__file__).parent / "written_by"
STEP, LAST_STEP = 24, 40
WORDS = """
model=tiny tokenizer=bytes dataset=text dataset.path=text.txt dataset.num_workers=0
model.embed_dim=8 model.ff_hidden_dim=16 model.num_heads=2 model.num_layers=2
model.max_length=16 model.micro_batch_size=2 model.grad_accumulation=2 model.warmup_steps=1
model.learning_rate=0.03 model.eval_freq=12 model.eval_iter=2 model.max_new_tokens=12
schedule.max_steps=40 checkpoint.save_every=24 checkpoint.keep_last=9 logging.log_every=1
logging.sample_tokens=0 runtime.device=cpu runtime.dtype=float32 runtime.num_threads=1
hydra.run.dir=outputs/run
""".split()
"""Words of the command that wrote every one of them; `Written.words` are the others."""
MUON = ("optimizer=muon", "block=qwen3", "block.num_kv_heads=1")
DROPOUT = tuple(f"model.{part}_dropout_rate=0.1" for part in ("ffn", "mha", "emb"))
PROMPT = "Once upon a time"


@dataclass(frozen=True)
class Written:
    """A checkpoint, and what the program that wrote it computed in the steps after it.

    With zeros for the optimizer's moments, one of these losses differs by more than ten times the
    tolerance. Without dropout, no loss depends on random draws. Muon computes
    in bfloat16.
    """

    name: str
    version: int
    words: tuple[str, ...]
    losses: tuple[float, ...]
    sample: str
    tolerance: float = 1e-5


WRITTEN = [
    Written("v1", 1, (), (2.997067, 2.822093, 2.792044, 2.773063), "e  n anne yy t  u  eb yi"),
    Written(
        "v2", 2, MUON, (2.860101, 2.712290, 2.688326, 2.622643), "e  l alne yy t  t  ba yl", 1e-3
    ),
    Written(
        "v3_adamw",
        3,
        ("block.attention=document",),
        (2.995268, 2.820693, 2.794655, 2.766685),
        "e  n anne yy t  u  da yh",
    ),
    # the random draws of dropout may change: this one shows that training continues
    Written(
        "v3_dropout",
        3,
        DROPOUT,
        (2.908237, 2.652412, 2.682777, 2.653422),
        "e  n Tlll.yy t  t  baate",
        0.1,
    ),
    Written(
        "v3_muon",
        3,
        (*MUON, "schedule=wsd"),
        (2.784511, 2.612502, 2.588359, 2.520185),
        "i  n aloo.yy yd y  ed yy",
        1e-3,
    ),
]


@pytest.fixture(params=WRITTEN, ids=lambda written: written.name)
def written(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return request.param


def test_is_of_the_version_that_it_stands_for(written):
    checkpoint = open_checkpoint(FOLDER / written.name)
    assert (checkpoint.manifest.format_version, checkpoint.manifest.step) == (written.version, STEP)


def test_resumes_where_it_stopped_and_ends_in_the_present_format(written, capsys):
    shutil.copy(FOLDER / "text.txt", "text.txt")
    shutil.copytree(FOLDER / written.name, f"checkpoints/{written.name}-step-{STEP:08d}")
    name = f"model.checkpoint_name={written.name}"
    assert run(["train", *WORDS, *written.words, name, "checkpoint.resume=must"]) == 0
    err = capsys.readouterr().err
    assert f"resuming at step {STEP} from " in err
    for key in ("model", "block", "optimizer", "schedule", "runtime", "tokenizer"):
        assert f"resuming with a changed {key}" not in err

    entries = list(read_metrics(Path("outputs/run/metrics.jsonl")))
    assert [entry["step"] for entry in entries] == list(range(STEP + 1, LAST_STEP + 1))
    losses = [entry["train_loss"] for entry in entries]
    assert losses[:4] == pytest.approx(written.losses, abs=written.tolerance, rel=0)
    assert all(map(math.isfinite, losses))

    end = open_checkpoint(Path("checkpoints") / f"{written.name}-step-{LAST_STEP:08d}").manifest
    assert (end.format_version, end.step) == (FORMAT_VERSION, LAST_STEP)
    start = open_checkpoint(FOLDER / written.name).manifest
    assert end.data_fingerprint == start.data_fingerprint
    assert end.tokens_seen == start.tokens_seen * LAST_STEP // STEP


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_generates_what_it_did(written, temperature, capsys):
    words = [f"model.temperature={temperature}", "model.max_new_tokens=24", "runtime.seed=0"]
    words += [f"model.prompt={PROMPT}", f"checkpoint.load={FOLDER / written.name}"]
    assert run(["inference", *words]) == 0
    text = capsys.readouterr().out.rstrip("\n")
    assert text == PROMPT + (written.sample if temperature else " " * 24)
