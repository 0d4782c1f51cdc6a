"""What a machine learns in a given time, or from given tokens: recipes against one another.

make bench ARGS="recipe --minutes 10"           every recipe of the table, one after the other
make bench ARGS="recipe --tokens 3e6 laptop gpt2_blocks"
make bench ARGS="recipe --minutes 5 mine=model=laptop,optimizer=adamw"

Each is the real `gpt-pipeline train` in a process of its own. The text is the real TinyStories of
../shared/data where it is there, else stories of the generator (--stories forces them).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from small_run import table

from gpt_pipeline.checkpoint import newest
from gpt_pipeline.tracking.metrics_file import read_metrics

TINYSTORIES = Path(__file__).parents[2] / "shared" / "data" / "tinystories"

RECIPES = {
    "laptop": ["model=laptop"],
    "adamw": ["model=laptop", "optimizer=adamw"],
    "cosine": ["model=laptop", "schedule=cosine"],
    "gpt2_blocks": ["model=laptop", "block=gpt2"],
    "no_qk_norm": ["model=laptop", "block.qk_norm=false"],
    "context_256": ["model=laptop", "model.max_length=256"],
    "causal": ["model=laptop", "block.attention=causal"],
    "ns_steps_5": ["model=laptop", "optimizer.ns_steps=5"],
}
"""The default of model=laptop, and what each of its choices is worth."""

QUIET = [
    "logging.sample_tokens=0", "model.eval_freq=1000000", "checkpoint.save_every=1000000",
    "model.max_new_tokens=1", "model.checkpoint_name=run", "checkpoint.resume=never",
]  # fmt: skip
"""A run without looks, samples and checkpoints in between."""


@dataclass(frozen=True)
class Trained:
    """What came of a recipe."""

    seconds: float
    steps: int
    tokens: int
    tokens_per_s: float
    parameters: int
    figures: dict[str, float]


def train(words: list[str], folder: Path) -> Trained:
    """Train in a folder; the time is from the start of the command to its end."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "gpt_pipeline", "train", *words, *QUIET, "hydra.run.dir=run"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(done.stderr[-3000:])
    seconds = time.monotonic() - began
    checkpoint = newest(folder / "checkpoints", "run")
    entries = list(read_metrics(folder / "run" / "metrics.jsonl"))
    rates = sorted(entry["tokens_per_s"] for entry in entries if "tokens_per_s" in entry)
    return Trained(
        seconds=seconds,
        steps=checkpoint.manifest.step,
        tokens=checkpoint.manifest.tokens_seen,
        tokens_per_s=rates[len(rates) // 2],
        parameters=sum(tensor.numel() for tensor in checkpoint.weights().values()),
        figures=dict(checkpoint.manifest.validation or {}),
    )


def text(stories: bool) -> list[str]:
    """Words of the text to train on."""
    if stories or not TINYSTORIES.is_dir():
        return ["dataset=stories"]
    paths = [TINYSTORIES / f"tinystories-{part}.txt" for part in ("train", "valid")]
    return ["dataset=text", f"dataset.path={paths[0]}", f"dataset.val_path={paths[1]}"]


def length(words: list[str], minutes: float | None, tokens: float | None) -> list[str]:
    """Words that end a run after so many minutes or tokens."""
    from gpt_pipeline.config.compose import compose

    if minutes is not None:
        return [f"schedule.max_minutes={minutes}", "model.num_epochs=1000"]
    model = compose(words).config.model
    step = int(model.micro_batch_size) * model.grad_accumulation * model.max_length
    return [f"schedule.max_steps={max(1, round((tokens or 1e6) / step))}"]


def main() -> None:
    """Train each recipe and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", help="names of RECIPES, or name=word,word")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--minutes", type=float)
    limit.add_argument("--tokens", type=float, help="default: 1e6")
    parser.add_argument("--stories", action="store_true")
    parser.add_argument("--with", dest="more", default="", help="words for every recipe, by comma")
    asked = parser.parse_args()
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as root:
        data = [*text(asked.stories), f"dataset.data_dir={root}/data"]
        for recipe in asked.recipes or RECIPES:
            name, _, given = recipe.partition("=")
            words = [
                *(given.split(",") if given else RECIPES[name]),
                *filter(None, asked.more.split(",")),
            ]
            folder = Path(root) / name
            folder.mkdir()
            found = train([*data, *words, *length(words, asked.minutes, asked.tokens)], folder)
            rows.append([
                name, f"{found.parameters / 1e6:.2f} M", f"{found.tokens / 1e6:.2f} M", found.steps,
                f"{found.tokens_per_s:,.0f}", f"{found.seconds:.0f}",
                f"{found.figures['bits_per_byte']:.4f}", f"{100 * found.figures['accuracy']:.2f} %",
            ])  # fmt: skip
            print(" | ".join(map(str, rows[-1])), file=sys.stderr, flush=True)
    where = data[0].removeprefix("dataset=")
    header = ["recipe", "parameters", "tokens", "steps", "tokens/s", "s in all", "bits per byte",
              "accuracy"]  # fmt: skip
    table(f"Recipes on {where}, validation over every token", header, rows)


if __name__ == "__main__":
    main()
