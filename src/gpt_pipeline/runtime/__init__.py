"""The machine that the process runs on."""

from gpt_pipeline.runtime.cores import usable_cores

__all__ = ["usable_cores"]
