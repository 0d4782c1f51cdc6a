"""The training loop, its step, state, schedule, rollbacks and checkpointing."""

from gpt_pipeline.runtime.device import choose_device
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.training.hooks import Hooks, Outcome, TrainingWindows
from gpt_pipeline.training.interrupt import ran_out_of_memory, reason
from gpt_pipeline.training.log import StepReport
from gpt_pipeline.training.loop import Trainer
from gpt_pipeline.training.resident import ResidentWindows, fits
from gpt_pipeline.training.schedule import RunLength
from gpt_pipeline.training.state import TrainState, new_model
from gpt_pipeline.training.trace import StepTrace

__all__ = [
    "Hooks",
    "Outcome",
    "Precision",
    "ResidentWindows",
    "RunLength",
    "StepReport",
    "StepTrace",
    "TrainState",
    "Trainer",
    "TrainingWindows",
    "choose_device",
    "fits",
    "new_model",
    "ran_out_of_memory",
    "reason",
]
