"""A pytest plugin: in CI, a test must not be skipped for want of something that can be installed.

Such a skip names the command, `make install-dev` or `apt-get install ...`, in its reason.
"""

import os
from collections.abc import Generator

import pytest

VARIABLE = "GPT_PIPELINE_TESTS_MUST_RUN"
_COMMANDS = ("make install-dev", "apt-get install")

Report = pytest.TestReport | pytest.CollectReport


def _must_run(report: Report) -> Report:
    if report.skipped and os.environ.get(VARIABLE) and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if any(command in reason for command in _COMMANDS):
            report.outcome = "failed"
            report.longrepr = f"{VARIABLE} is set, and this was skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Report, Report]:
    """Of a test."""
    return _must_run((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Report, Report]:
    """Of a module that skips itself."""
    return _must_run((yield))
