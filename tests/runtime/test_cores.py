"""The cores that a process may use: by its affinity and by the quotas of its cgroups."""

import os
import subprocess
import sys

import pytest

from gpt_pipeline.runtime import cgroups, usable_cores

MANY = 64


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 64 cores, whose cgroup files are in a folder."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(MANY)), raising=False)
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroups, "_OWN", tmp_path / "own")

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_without_a_quota_it_is_the_affinity(machine):
    assert usable_cores() == MANY
    machine("own", "0::/\n")
    machine("cgroup/cpu.max", "max 100000\n")
    assert usable_cores() == MANY


@pytest.mark.parametrize(("quota", "found"), [(50_000, 1), (150_000, 2), (400_000, 4)])
def test_a_quota_of_a_container(machine, quota, found):
    machine("own", "0::/\n")
    machine("cgroup/cpu.max", f"{quota} 100000\n")
    assert usable_cores() == found


def test_the_smallest_quota_on_the_way_up_counts(machine):
    machine("own", "0::/user.slice/job.scope\n")
    machine("cgroup/user.slice/job.scope/cpu.max", "800000 100000\n")
    machine("cgroup/user.slice/cpu.max", "300000 100000\n")
    assert usable_cores() == 3


def test_a_quota_of_version_1(machine):
    machine("own", "4:memory:/x\n3:cpu,cpuacct:/job\n")
    machine("cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    machine("cgroup/cpu/job/cpu.cfs_quota_us", "200000\n")
    assert usable_cores() == 2
    machine("cgroup/cpu/job/cpu.cfs_quota_us", "-1\n")
    assert usable_cores() == MANY


def test_files_of_another_form_are_no_quota(machine):
    machine("own", "nonsense\n0::\n\n")
    machine("cgroup/cpu.max", "lots\n")
    assert usable_cores() == MANY


def test_systems_without_affinity_have_the_cores_of_the_machine(monkeypatch, machine):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.parametrize(("variable", "threads"), [(None, 1), ("OMP_NUM_THREADS", 3)])
def test_torch_takes_no_more_threads_than_there_are_usable_cores(variable, threads):
    """With a quota of one core: torch by itself looks at the affinity alone."""
    code = """
import torch
from gpt_pipeline.runtime import device
from gpt_pipeline.config.compose import compose
torch.set_num_threads(3)
device.usable_cores = lambda: 1
device.set_up_torch(compose([]).config.runtime)
print(torch.get_num_threads())
"""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    if variable:
        environment[variable] = "3"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.stdout == f"{threads}\n", done.stderr
