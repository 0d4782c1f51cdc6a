"""Figures of a run: validation, throughput, memory, and metrics.jsonl."""

from gpt_pipeline.metrics.evaluation import Evaluation, evaluate
from gpt_pipeline.metrics.flops import flops_per_token, multiplied_parameters
from gpt_pipeline.metrics.history import METRICS, MetricsFile, read_metrics, without_nan
from gpt_pipeline.metrics.machine import Throughput, peak_memory_bytes
from gpt_pipeline.metrics.matrix_rate import matrix_rate
from gpt_pipeline.metrics.memory import available_bytes, held_bytes, peak_bytes, reset_peak

__all__ = [
    "METRICS",
    "Evaluation",
    "MetricsFile",
    "Throughput",
    "available_bytes",
    "evaluate",
    "flops_per_token",
    "matrix_rate",
    "multiplied_parameters",
    "held_bytes",
    "peak_bytes",
    "peak_memory_bytes",
    "read_metrics",
    "reset_peak",
    "without_nan",
]
