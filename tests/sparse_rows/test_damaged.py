"""Damaged sparse matrices are refused with a sentence: see ``tests/support/damaged.py``."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLIND = """
from kmeans_lab.sparse import reading
from tests.support import damaged
reading.{check} = lambda *arguments: None
damaged.SPARSE[:] = ["python"]  # which reads nothing outside of arrays
damaged.main(0, 400)
"""


def run(*arguments):
    # A process of its own: what reads out of bounds ends it.
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("first", [0, 1_000_000])
def test_a_damaged_matrix_is_clustered_or_refused(first):
    found = run("-m", "tests.support.damaged", str(first), str(first + 250))
    assert found.returncode == 0, found.stderr[-2000:]
    assert "calls took what they were given" in found.stdout


@pytest.mark.parametrize("check", ["_refuse_outside", "_refuse_what_does_not_fit"])
def test_a_check_that_is_missing_is_noticed(check):
    assert run("-c", BLIND.format(check=check)).returncode != 0
