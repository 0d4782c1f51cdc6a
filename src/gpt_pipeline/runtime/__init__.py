"""The machine that the process runs on."""

from gpt_pipeline.runtime.cgroups import cgroup_folders
from gpt_pipeline.runtime.cores import usable_cores

__all__ = ["cgroup_folders", "usable_cores"]
