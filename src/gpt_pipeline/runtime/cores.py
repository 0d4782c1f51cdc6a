"""How many cores this process may use, which in a container or a batch job are few of many."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


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
    for folder in _cgroup_folders():
        with suppress(OSError, ValueError):  # "max" is no quota; nor is -1
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)
        with suppress(OSError, ValueError):
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
            if int(quota) > 0:
                yield int(quota) / int(period)


def _cgroup_folders() -> Iterator[Path]:
    """The cgroups of this process, from its own up to the root, which in a container is its own."""
    lines = [""]
    with suppress(OSError):
        lines = _OWN_CGROUP.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines or [""]:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CGROUPS / "cpu" if controllers else _CGROUPS  # v1 has a hierarchy per controller
        own = root / path.lstrip("/")
        yield from (own, *(parent for parent in own.parents if parent.is_relative_to(root)))
