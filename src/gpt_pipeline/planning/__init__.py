"""What a run will take, before it starts: memory, disk and time, and the micro-batch that fits."""

from gpt_pipeline.planning.disk import Place, disk_places, lacking
from gpt_pipeline.planning.memory_model import (
    MemoryBaseline,
    MemoryModel,
    MemoryReading,
    Speed,
    half,
)
from gpt_pipeline.planning.probe import Probe
from gpt_pipeline.planning.rough import at_least_bytes, rough_bytes

__all__ = [
    "MemoryBaseline",
    "MemoryModel",
    "Place",
    "Probe",
    "MemoryReading",
    "Speed",
    "at_least_bytes",
    "disk_places",
    "half",
    "lacking",
    "rough_bytes",
]
