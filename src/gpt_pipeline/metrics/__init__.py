"""What a run or a model measured: evaluation, FLOPs and throughput."""

from gpt_pipeline.metrics.evaluation import Evaluation, evaluate, scored
from gpt_pipeline.metrics.flops import (
    flops_per_token,
    multiplied_parameters,
    training_flops_per_token,
)
from gpt_pipeline.metrics.throughput import Throughput

__all__ = [
    "Evaluation",
    "Throughput",
    "evaluate",
    "flops_per_token",
    "multiplied_parameters",
    "scored",
    "training_flops_per_token",
]
