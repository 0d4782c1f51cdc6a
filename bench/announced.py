"""The real command, which says on a pipe where it is, and can be made to go wrong: for faults.py.

python bench/announced.py '{"pipe": FD, "order": FILE, "bad": [33, 3, 1, "nan"]}' train KEY=VALUE
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_run import as_line

from gpt_pipeline.checkpoint import CheckpointStore
from gpt_pipeline.cli.main import main
from gpt_pipeline.dataset import TrainingSet
from gpt_pipeline.dataset.token_file import TokenFileWriter
from gpt_pipeline.metrics.evaluator import Evaluator
from gpt_pipeline.training import Trainer
from gpt_pipeline.training.step import OptimizerStep

DATA, TRAINING, EVALUATION, WRITE = "data preparation", "training", "evaluation", "checkpoint write"


def announce(pipe: int) -> None:
    """Write `+PLACE` when a place is entered, and `-PLACE` when it is left."""

    def say(sign: str, place: str) -> None:
        os.write(pipe, f"{sign}{place}\n".encode())

    def around(owner: type, name: str, before: str, after: str, place: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def announced(*args: Any, **kwargs: Any) -> Any:
            if before:
                say(before, place)
            try:
                return function(*args, **kwargs)
            finally:
                if after:
                    say(after, place)

        setattr(owner, name, announced)

    around(TokenFileWriter, "__enter__", "+", "", DATA)
    around(TokenFileWriter, "__exit__", "", "-", DATA)
    around(OptimizerStep, "__call__", "+", "-", TRAINING)
    around(Evaluator, "__call__", "+", "-", EVALUATION)
    around(CheckpointStore, "save", "+", "-", WRITE)


def record_order(path: Path) -> None:
    """Write down which windows each step was given, flushed as it is."""
    batch = TrainingSet.batch
    file = path.open("a", encoding="utf-8")

    def recorded(train: TrainingSet, position: int, count: int) -> Any:
        indices = train.order.indices(position, count).tolist()
        file.write(as_line({"position": position, "windows": indices}))
        file.flush()
        return batch(train, position, count)

    setattr(TrainingSet, "batch", recorded)  # noqa: B010


def make_bad(first: int, count: int, times: int, text: str) -> None:
    """Let loss and gradient of some steps be NaN or inf, the first `times` times that they come."""
    value = float(text)
    left = dict.fromkeys(range(first, first + count), times)
    steps = {"done": 0}
    inner, train_step = OptimizerStep.loss_and_gradient, Trainer._train_step

    def watched(trainer: Trainer, *args: Any) -> None:
        steps["done"] = trainer.state.step
        train_step(trainer, *args)

    def bad(step: OptimizerStep, *args: Any) -> Any:
        tokens, total = inner(step, *args)
        number = steps["done"] + 1
        if left.get(number, 0) > 0:
            left[number] -= 1
            total = total * value
            for parameter in step.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(value)
        return tokens, total

    setattr(Trainer, "_train_step", watched)  # noqa: B010
    setattr(OptimizerStep, "loss_and_gradient", bad)  # noqa: B010


if __name__ == "__main__":
    asked = json.loads(sys.argv.pop(1))
    if "pipe" in asked:
        announce(asked["pipe"])
    if "order" in asked:
        record_order(Path(asked["order"]))
    if "bad" in asked:
        make_bad(*asked["bad"])
    main()
