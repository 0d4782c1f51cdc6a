"""The peak memory that `gpt-pipeline plan` says, beside that of the run: make bench ARGS="plan".

For each model: the plan; then a run of a few steps with an evaluation and a checkpoint written
beside the training, in a process of its own. Names of models may be given: ARGS="plan tiny laptop".
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from small_run import table

from gpt_pipeline.config.compose import compose
from gpt_pipeline.tracking.metrics_file import read_metrics

MODELS = ("tiny", "laptop", "gpt_30m", "modern_30m")
DATA = ("dataset.num_stories=2000", "dataset.num_val_stories=100")
FEW_STEPS = """
schedule.max_steps=5 checkpoint.save_every=2 model.eval_freq=2 model.eval_iter=2
model.warmup_steps=1 model.grad_accumulation=1 logging.log_every=1 logging.sample_tokens=8
model.max_new_tokens=8 checkpoint.resume=never
""".split()


def main() -> None:
    """Print the table."""
    rows = []
    for model in sys.argv[1:] or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            words = [f"model={model}", *vocabulary(model), *DATA]
            command("data", words, Path(folder))
            plan = json.loads(command("plan", [*words, "format=json"], Path(folder)))
            real = peak_of_run(words, Path(folder))
        planned = plan["peak_bytes"]
        how = "measured" if plan["peak_measured"] else "drawn on"
        rows.append(
            [f"`{model}`", plan["device"], plan["micro_batch_size"], f"{planned / 1e9:.2f}",
             f"{real / 1e9:.2f}", f"{100 * (planned / real - 1):+.0f} %", how]
        )  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    table(
        "Peak memory (GB)",
        ["model", "device", "micro-batch", "planned", "of the run", "difference", "how"],
        rows,
    )


def vocabulary(model: str) -> list[str]:
    """Words that let a model train on the generated stories: those of the tokenizer it wants."""
    size = compose([f"model={model}"]).config.model.vocab_size
    if size is None:
        return []
    folder = Path(__file__).resolve().parents[2] / "shared" / "data" / "gpt2"
    if size == 50257 and folder.is_dir():
        return ["tokenizer=gpt2", f"tokenizer.path={folder}"]
    if size == 50257:
        sys.exit(f"model={model} needs ../shared/data/gpt2, which is not there")
    return [f"tokenizer.vocab_size={size}"]


def peak_of_run(words: list[str], folder: Path) -> int:
    """Most memory of a run by its own account, up to its last step.

    The evaluation of step 4 is in it, with the copy that step 2 was saved from in memory. What the
    system counts for the whole process has the exit in it too, 0.1 GB more with CUDA's libraries.
    """
    command("train", [*words, *FEW_STEPS], folder)
    (path,) = folder.glob("outputs/train/*/metrics.jsonl")
    return max(int(entry.get("memory_bytes", 0)) for entry in read_metrics(path))


def command(name: str, words: list[str], folder: Path) -> str:
    """What a command prints."""
    program = [sys.executable, "-m", "gpt_pipeline", name, *words]
    return subprocess.run(program, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
