"""What the loop writes into metrics.jsonl: a line a step, with the figures of its evaluation."""

from typing import Any

import torch

from gpt_pipeline.metrics import Evaluation, peak_memory_bytes
from gpt_pipeline.training.setbacks import SeenStep
from gpt_pipeline.training.state import TrainState


def base_entry(state: TrainState) -> dict[str, Any]:
    """What every line has."""
    return {"step": state.step, "tokens": state.tokens}


def step_entry(seen: SeenStep, tokens_per_s: float, device: torch.device) -> dict[str, Any]:
    """The figures of an optimizer step."""
    return {
        "train_loss": seen.result.loss,
        "grad_norm": seen.result.grad_norm,
        "lr": seen.lr,
        "tokens_per_s": round(tokens_per_s, 1),
        "memory_bytes": peak_memory_bytes(device),
    }


def evaluation_entry(figures: Evaluation) -> dict[str, Any]:
    """The figures of an evaluation: a quick look, or every validation token at a run's end."""
    return {
        "val_loss": figures.loss,
        "val_bits_per_byte": figures.bits_per_byte,
        "val_accuracy": figures.accuracy,
        "val_tokens": figures.tokens,
    }
