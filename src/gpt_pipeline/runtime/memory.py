"""Memory of the machine and of this process: what is free, what is held, the most that was held."""

import importlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from gpt_pipeline.metrics.throughput import peak_memory_bytes
from gpt_pipeline.runtime import cgroup_folders

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
    """Memory that a run on the device may take, what this process holds of it included.

    On the host that is what the system and the limits of control groups leave; where no system call
    says, all of the machine's.
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
    """Memory that this process holds now: of the GPU where there is one, else of the host."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _kib(_STATUS, "VmRSS") or peak_memory_bytes(device)


def peak_bytes(device: torch.device) -> int:
    """Most memory held since `reset_peak`, or since the start where that does nothing."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _kib(_STATUS, "VmHWM") or peak_memory_bytes(device)


def reset_peak(device: torch.device) -> None:
    """Begin to watch the peak anew; does nothing where the system has no such call."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        _CLEAR.write_text(_PEAK_RESET)


def _without_meminfo() -> int:
    """Free memory by psutil (macOS, Windows); else all memory, by sysconf; else no limit."""
    with suppress(ImportError):
        psutil = importlib.import_module("psutil")
        return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _NO_LIMIT


def _kib(path: Path, name: str) -> int | None:
    """A line `name: number kB` of a file of the system, in bytes; None where there is none."""
    with suppress(OSError):
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _cgroup_room() -> Iterator[int]:
    """What each group with a limit leaves to this process, page cache counted as free."""
    for folder in cgroup_folders("memory"):
        for limit_file, used_file, prefix in _CGROUP_FILES:
            with suppress(OSError, ValueError):
                limit = int((folder / limit_file).read_text(encoding="ascii"))  # "max": no limit
                used = int((folder / used_file).read_text(encoding="ascii"))
                lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
                stat = {name: int(number) for name, number in (line.split() for line in lines)}
                cache = sum(stat.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
                yield max(0, limit - used + cache)
