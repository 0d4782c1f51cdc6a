"""The machine that the process runs on: device, threads, precision, memory, peak FLOP/s.

Only what needs no torch is imported here: workers of data preparation load this package.
"""

from gpt_pipeline.runtime.cgroups import cgroup_folders
from gpt_pipeline.runtime.cores import usable_cores
from gpt_pipeline.runtime.processes import set_up_worker

__all__ = ["cgroup_folders", "set_up_worker", "usable_cores"]
