"""How many cores this process may use, which in a container or a batch job are few of many."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress

from gpt_pipeline.runtime.cgroups import cgroup_folders


def usable_cores() -> int:
    """Cores by the affinity of the process and the CPU quota of its cgroups, v1 and v2; at least 1.

    A quota of 1.5 cores counts as 2.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas())]))


def _quotas() -> Iterator[float]:
    """Cores that each cgroup with a quota leaves to this process."""
    for folder in cgroup_folders("cpu"):
        with suppress(OSError, ValueError):  # "max" is no quota; nor is -1
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
            if int(quota) > 0:
                yield int(quota) / int(period)
