"""gpt_30m: what saving costs, how much of it stops the training, and how soon a signal ends a run.

make bench ARGS=saving            needs ../shared/data for the second table
"""

import signal
import statistics
import tempfile
import time
from pathlib import Path

import torch
from small_run import finish, start, table

from gpt_pipeline.checkpoint import AsyncCheckpointWriter, CheckpointStore, TrainingPart
from gpt_pipeline.config.compose import compose
from gpt_pipeline.runtime.device import choose_device
from gpt_pipeline.tokenizer import byte_tokenizer
from gpt_pipeline.training import new_model

ROUNDS = 5
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def main() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as folder:
        _saving(Path(folder))
    if not SHARED.is_dir():
        print("\nno ../shared/data: the times of signals are left out")
        return
    with tempfile.TemporaryDirectory() as folder:
        _signals(Path(folder))


def _saving(root: Path) -> None:
    config = compose(["model=gpt_30m", "tokenizer=gpt2", "model.vocab_size=50257"]).config
    model = new_model(config, choose_device(config.runtime.device))
    optimizer = config.optimizer.build(
        model,
        learning_rate=config.model.learning_rate,
        weight_decay=config.model.weight_decay,
    )
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    store = CheckpointStore(root, "gpt_30m", config, byte_tokenizer(), "0" * 64)
    writer = AsyncCheckpointWriter(store)
    stalls, wholes, plain = [], [], []
    for number in range(ROUNDS):
        tensors = optimizer.state_tensors(model)
        begin = time.perf_counter()
        writer.start(model.state_dict(), TrainingPart(2 * number, 0, None, None, tensors, {}))
        stalls.append(time.perf_counter() - begin)
        writer.result(wait=True)
        wholes.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        writer.save(model.state_dict(), TrainingPart(2 * number + 1, 0, None, None, tensors, {}))
        plain.append(time.perf_counter() - begin)
    writer.close()
    size = sum(path.stat().st_size for path in root.rglob("*.safetensors")) / 3
    table(
        f"Saving gpt_30m ({size / 1e6:.0f} MB a checkpoint), seconds, median of {ROUNDS}",
        ["", "stops the training", "until it is on the disk"],
        [
            ["beside the training, first time", f"{stalls[0]:.3f}", f"{wholes[0]:.2f}"],
            [
                "beside the training, from then on",
                f"{statistics.median(stalls[1:]):.3f}",
                f"{statistics.median(wholes[1:]):.2f}",
            ],
            ["checkpoint.background=false", f"{statistics.median(plain):.2f}", "the same"],
        ],
    )


def _signals(folder: Path) -> None:
    """SIGTERM at moments of a step and of an evaluation; each session resumes the one before."""
    words = [
        "train", "experiment=tinystories_30m", "dataset=text", "schedule.max_steps=1000",
        f"dataset.path={SHARED}/tinystories/tinystories-valid.txt", "dataset.train_ratio=0.7",
        f"tokenizer.path={SHARED}/gpt2", "logging.log_every=1", "model.eval_freq=1",
        "logging.sample_tokens=0",
    ]  # fmt: skip
    rows = []
    for moment, line, wait_s in (
        ("1 s into a step", "compile: off", 1.0),
        ("6 s into a step", "compile: off", 6.0),
        ("15 s into a step", "compile: off", 15.0),
        ("in the evaluation", "step 1 ", 3.0),
    ):
        process = start(*words, folder=folder, threads=torch.get_num_threads())
        assert process.stdout is not None
        next(text for text in process.stdout if line in text)
        time.sleep(wait_s)
        begin = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        code, text = finish(process)
        seconds = time.perf_counter() - begin
        said = next((line for line in text.splitlines() if "stopped at step" in line), text[-200:])
        rows.append([moment, f"{seconds:.1f}", code, said])
    table("SIGTERM during gpt_30m", ["moment", "seconds to the exit", "code", "said"], rows)


if __name__ == "__main__":
    main()
