"""What is free, what is held, and the peak."""

import mmap
import os
import sys

import torch

from gpt_pipeline.metrics import available_bytes, held_bytes, memory, peak_bytes, reset_peak

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


def test_a_containers_limit_bounds_what_is_available(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    without = available_bytes(CPU)
    (tmp_path / "memory.max").write_text("90000000\n")
    (tmp_path / "memory.current").write_text("50000000\n")
    stat = "anon 20000000\nactive_file 5000000\ninactive_file 25000000\n"
    (tmp_path / "memory.stat").write_text(stat)
    room = available_bytes(CPU) - held_bytes(CPU)
    assert abs(room - 70_000_000) < 20 * MB
    assert without > 200_000_000
    (tmp_path / "memory.max").write_text("max\n")
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
    assert peak_bytes(CPU) == held_bytes(CPU) > 50 * MB
