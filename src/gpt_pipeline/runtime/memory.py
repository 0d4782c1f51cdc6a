"""Memory of the machine and of this process: available, in use, and peak.

On Linux read from /proc and the control groups, which takes no import; elsewhere by psutil.
"""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from gpt_pipeline.runtime.cgroups import cgroup_folders

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_PEAK_RESET = "5"  # proc(5): the peak becomes what is resident now
_MEMINFO = Path("/proc/meminfo")
_CGROUP_FILES = (
    ("memory.max", "memory.current", ""),  # version 2
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),  # version 1, 2**63 is no limit
)
_NO_LIMIT = 1 << 50


def available_bytes(device: torch.device) -> int:
    """Bytes that a run on the device may use, including what this process already holds.

    For the host this respects the limits of control groups. Where the system cannot report
    available memory, it is all of the machine's memory.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    system = _kib(_MEMINFO, "MemAvailable")
    if system is None:
        return _without_meminfo()
    limits = [system, *_cgroup_room()]
    return min(limits) + held_bytes(device)


def held_bytes(device: torch.device) -> int:
    """Bytes that this process holds now, on the GPU if `device` is one, else on the host."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _kib(_STATUS, "VmRSS") or peak_memory_bytes(device)


def peak_bytes(device: torch.device) -> int:
    """Peak bytes held since `reset_peak`, or since the start where that is not supported."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _kib(_STATUS, "VmHWM") or peak_memory_bytes(device)


def reset_peak(device: torch.device) -> None:
    """Reset the peak that `peak_bytes` reports; has no effect where the system cannot."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        _CLEAR.write_text(_PEAK_RESET)


def peak_memory_bytes(device: torch.device) -> int:
    """Peak bytes held so far, on the GPU if `device` is one, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # Windows
        psutil = importlib.import_module("psutil")
        return int(psutil.Process().memory_info().peak_wset)
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def _without_meminfo() -> int:
    """Available memory by psutil (macOS, Windows), else all memory by sysconf, else no limit."""
    with suppress(ImportError):
        psutil = importlib.import_module("psutil")
        return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _NO_LIMIT


def _kib(path: Path, name: str) -> int | None:
    """The value of a line `name: number kB` of a /proc file in bytes; None if it is missing."""
    with suppress(OSError):
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _cgroup_room() -> Iterator[int]:
    """Bytes left in each control group with a limit; page cache counts as free."""
    for folder in cgroup_folders("memory"):
        for limit_file, used_file, prefix in _CGROUP_FILES:
            with suppress(OSError, ValueError):
                limit = int((folder / limit_file).read_text(encoding="ascii"))  # "max": no limit
                used = int((folder / used_file).read_text(encoding="ascii"))
                lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
                stat = {name: int(number) for name, number in (line.split() for line in lines)}
                cache = sum(stat.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
                yield max(0, limit - used + cache)
