"""The only training loop, its step, state, optimizer, schedule and precision."""

from gpt_pipeline.training.length import RunLength
from gpt_pipeline.training.precision import Precision, choose_device
from gpt_pipeline.training.state import TrainState
from gpt_pipeline.training.trainer import (
    Hooks,
    Outcome,
    StepReport,
    Trainer,
    autocast_logits,
)

__all__ = [
    "Hooks",
    "Outcome",
    "Precision",
    "RunLength",
    "StepReport",
    "TrainState",
    "Trainer",
    "autocast_logits",
    "choose_device",
]
