"""What is free, what is held, and the peak."""

import mmap
import os
import sys

import pytest
import torch

from gpt_pipeline.runtime import cgroups, memory
from gpt_pipeline.runtime.memory import available_bytes, held_bytes, peak_bytes, reset_peak

CPU = torch.device("cpu")
MB = 1 << 20


def test_what_is_available_lies_between_what_is_held_and_what_the_machine_has():
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < held_bytes(CPU) < available_bytes(CPU) <= machine + held_bytes(CPU)


def test_the_peak_is_watched_anew_after_a_reset():
    large = torch.ones(64 * MB // 4)
    held = held_bytes(CPU)
    del large
    assert peak_bytes(CPU) >= held - MB
    reset_peak(CPU)
    low = peak_bytes(CPU)
    with mmap.mmap(-1, 128 * MB) as again:  # fresh from the system, whatever the process has kept
        for page in range(0, 128 * MB, mmap.PAGESIZE):
            again[page] = 1
        assert peak_bytes(CPU) > low + 100 * MB


@pytest.fixture
def group(tmp_path, monkeypatch):
    """The files of a control group."""
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "_OWN", tmp_path / "own")

    def write(own, folder, **files):
        (tmp_path / "own").write_text(f"{own}\n")
        for name, text in files.items():
            path = tmp_path / "cgroup" / folder / name.replace("memory_", "memory.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


LIMITED = {
    "a container": ("0::/", ""),
    "a group of a batch job": ("0::/user.slice/job.scope", "user.slice/job.scope"),
    "the group above": ("0::/user.slice/job.scope", "user.slice"),
    "version 1": ("4:memory:/job", "memory/job"),
}


@pytest.mark.parametrize("case", LIMITED)
def test_a_limit_of_a_group_bounds_what_is_available(group, case):
    own, folder = LIMITED[case]
    without = available_bytes(CPU)
    stat = "anon 20000000\nactive_file 5000000\ninactive_file 25000000\n"
    limit, used = "memory_max", "memory_current"
    if case == "version 1":
        limit, used = "memory_limit_in_bytes", "memory_usage_in_bytes"
        stat = stat.replace("active_", "total_active_").replace("intotal_", "total_in")
    group(own, folder, **{limit: "90000000\n", used: "50000000\n", "memory_stat": stat})
    room = available_bytes(CPU) - held_bytes(CPU)
    assert abs(room - 70_000_000) < 20 * MB
    assert without > 200_000_000
    group(own, folder, **{limit: "max\n" if limit == "memory_max" else f"{2**63 - 4096}\n"})
    assert available_bytes(CPU) > 200_000_000


def test_where_the_system_says_nothing_it_is_all_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "psutil", None)
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert available_bytes(CPU) == machine
    monkeypatch.delattr(os, "sysconf")
    assert available_bytes(CPU) > machine  # no limit is known


def test_where_the_system_has_no_peak_the_most_resident_stands_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "none" / "clear")
    reset_peak(CPU)
    assert 50 * MB < held_bytes(CPU) <= peak_bytes(CPU) <= held_bytes(CPU)  # both only grow
