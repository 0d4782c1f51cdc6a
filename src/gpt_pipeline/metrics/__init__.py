"""Figures of a run: validation, throughput, memory, and metrics.jsonl."""

from gpt_pipeline.metrics.evaluation import Evaluation, evaluate
from gpt_pipeline.metrics.history import METRICS, MetricsFile, read_metrics, without_nan
from gpt_pipeline.metrics.machine import Throughput, peak_memory_bytes

__all__ = [
    "METRICS",
    "Evaluation",
    "MetricsFile",
    "Throughput",
    "evaluate",
    "peak_memory_bytes",
    "read_metrics",
    "without_nan",
]
