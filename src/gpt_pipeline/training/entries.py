"""What the loop writes into metrics.jsonl: a line a step, with the figures of its evaluation."""

from typing import Any

from gpt_pipeline.metrics import Evaluation
from gpt_pipeline.training.rollback import StepRecord
from gpt_pipeline.training.state import TrainState
from gpt_pipeline.training.throughput_meter import Speed


def base_entry(state: TrainState) -> dict[str, Any]:
    """What every line has."""
    return {"step": state.step, "tokens": state.tokens}


def step_entry(seen: StepRecord, speed: Speed) -> dict[str, Any]:
    """The figures of an optimizer step."""
    return {
        "train_loss": seen.result.loss,
        "grad_norm": seen.result.grad_norm,
        "lr": seen.lr,
        "tokens_per_s": round(speed.tokens_per_s, 1),
        **({} if speed.mfu is None else {"mfu": round(speed.mfu, 4)}),
        "data_wait_share": round(speed.data_wait_share, 5),
        **({} if speed.memory_bytes is None else {"memory_bytes": speed.memory_bytes}),
    }


def evaluation_entry(figures: Evaluation) -> dict[str, Any]:
    """The figures of an evaluation: a partial evaluation, or every validation token at a run's
    end.
    """
    return {
        "val_loss": figures.loss,
        "val_bits_per_byte": figures.bits_per_byte,
        "val_accuracy": figures.accuracy,
        "val_tokens": figures.tokens,
    }
