"""What a run will take before it starts: memory, disk and time, and the micro-batch that fits."""

from gpt_pipeline.planning.measure import Question, measured
from gpt_pipeline.planning.memory_model import (
    MemoryBaseline,
    MemoryModel,
    MemoryReading,
    StepTiming,
)
from gpt_pipeline.planning.micro_batch import (
    check_fits,
    choose_micro_batch,
    is_auto,
    out_of_memory_as_user_error,
    out_of_memory_error,
    without_auto,
)
from gpt_pipeline.planning.run_plan import RunPlan, make_plan

__all__ = [
    "MemoryBaseline",
    "MemoryModel",
    "MemoryReading",
    "Question",
    "RunPlan",
    "StepTiming",
    "check_fits",
    "choose_micro_batch",
    "is_auto",
    "make_plan",
    "measured",
    "out_of_memory_as_user_error",
    "out_of_memory_error",
    "without_auto",
]
