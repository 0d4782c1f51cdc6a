"""How many CPU cores this process may use, by affinity and control groups."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress

from gpt_pipeline.runtime.cgroups import cgroup_folders


def usable_cores() -> int:
    """The cores that this process may use: its affinity, limited by the CPU quota of its cgroups.

    Supports cgroups v1 and v2. A quota of 1.5 cores counts as 2; the result is at least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas())]))


def _quotas() -> Iterator[float]:
    """The quota of each cgroup that has one, in cores."""
    for folder in cgroup_folders("cpu"):
        with suppress(OSError, ValueError):  # "max" is no quota; nor is -1
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
            if int(quota) > 0:
                yield int(quota) / int(period)
