"""Figures of a run: validation, throughput, memory, and metrics.jsonl."""

from gpt_pipeline.metrics.evaluation import Evaluation, evaluate
from gpt_pipeline.metrics.flops import flops_per_token, multiplied_parameters
from gpt_pipeline.metrics.throughput import Throughput, peak_memory_bytes
from gpt_pipeline.runtime.memory import available_bytes, held_bytes, peak_bytes, reset_peak
from gpt_pipeline.runtime.peak_flops import peak_flops
from gpt_pipeline.tracking.metrics_file import METRICS, MetricsFile, read_metrics, without_nan

__all__ = [
    "METRICS",
    "Evaluation",
    "MetricsFile",
    "Throughput",
    "available_bytes",
    "evaluate",
    "flops_per_token",
    "peak_flops",
    "multiplied_parameters",
    "held_bytes",
    "peak_bytes",
    "peak_memory_bytes",
    "read_metrics",
    "reset_peak",
    "without_nan",
]
