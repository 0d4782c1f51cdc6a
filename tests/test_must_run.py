"""What CI must not skip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from must_run import VARIABLE

TESTS = """
import pytest

def test_a_gpu():
    pytest.skip("needs a CUDA device")

def test_a_browser():
    pytest.skip("needs Chromium: apt-get install chromium")
"""
MODULE = """
import pytest
pytest.importorskip("no_such_package", reason="needs it: make install-dev")
"""


@pytest.mark.parametrize(
    ("variable", "totals"), [("", "3 skipped"), ("1", "1 failed, 1 skipped, 1 error")]
)
def test_what_can_be_installed_must_not_be_skipped_in_ci(tmp_path, variable, totals):
    (tmp_path / "test_one.py").write_text(TESTS)
    (tmp_path / "test_two.py").write_text(MODULE)
    words = ["-q", "-p", "must_run", "--continue-on-collection-errors", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), VARIABLE: variable},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith(totals), done.stdout
    if variable:
        assert "was skipped: Skipped: needs Chromium: apt-get install chromium" in done.stdout
