"""The nested loops of ``pythran_loops.py``, compiled to C++ by Pythran.

Compiled loops check no bounds, so that shapes and labels are checked first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmeans_lab import KernelSpec
from kmeans_lab_guests import _pythran
from kmeans_lab_guests.arrays import OUTSIDE, check_assign, check_update

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

SPEC = KernelSpec(
    module="",
    summary="the nested loops in Python, compiled to C++ by Pythran",
    remedy="pip install pythran, then pip install --no-build-isolation --no-deps "
    "--force-reinstall kmeans-lab-guests",
    exact=True,
    sources=(
        "guests/kmeans_lab_guests/pythran_loops.py",
        "guests/kmeans_lab_guests/pythran_kernel.py",
    ),
    built="_pythran",
    debugging="uncompiled, it runs in pdb; compiled, tracebacks end at the call",
    wheels="those that you build: one for each platform and Python release",
)


def assign(rows: Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    check_assign(rows, centers, labels)
    return _pythran.assign(rows, centers, labels)


def update(rows: Rows, labels: Labels, sums: Sums, counts: Counts) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    check_update(rows, labels, sums, counts)
    if not _pythran.update(rows, labels, sums, counts):
        raise ValueError(OUTSIDE)
