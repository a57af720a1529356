"""The nested loops of ``kmeans.c`` through cffi, which compiles a module around them.

cffi reads the declarations of the C functions, so that a call costs less than with ctypes and
takes C's own types. It releases the GIL, and checks shapes no more than ctypes does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmeans_lab import KernelSpec
from kmeans_lab_guests import _cffi
from kmeans_lab_guests.arrays import OUTSIDE, check_assign, check_update

if TYPE_CHECKING:
    from kmeans_lab.kernel import Counts, Labels, Rows, Sums

SPEC = KernelSpec(
    module="",
    summary="the nested loops in C, called through cffi",
    remedy="pip install cffi, then pip install --no-build-isolation --no-deps "
    "--force-reinstall kmeans-lab-guests",
    requires=("cffi",),
    exact=True,
    sources=(
        "guests/kmeans_lab_guests/kmeans.c",
        "guests/kmeans_lab_guests/cffi_kernel.py",
        "guests/kmeans_lab_guests/arrays.py",
    ),
    built="_cffi",
    debugging="gdb, lldb; arguments are held to C declarations",
    wheels="those that you build: one for each platform",
)

_steps = {
    "float64": ("double[]", _cffi.lib.assign_float64, _cffi.lib.update_float64),
    "float32": ("float[]", _cffi.lib.assign_float32, _cffi.lib.update_float32),
}
_at = _cffi.ffi.from_buffer


def assign(
    rows: Rows,  # IN  (n_samples, n_features)
    centers: Rows,  # IN  (n_clusters, n_features)
    labels: Labels,  # OUT (n_samples,)
) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    dtype, *sizes = check_assign(rows, centers, labels)
    real, step, _ = _steps[dtype]
    return step(_at(real, rows), _at(real, centers), _at("int32_t[]", labels), *sizes)


def update(
    rows: Rows,  # IN    (n_samples, n_features)
    labels: Labels,  # IN    (n_samples,), each in [0, n_clusters)
    sums: Sums,  # INOUT (n_clusters, n_features), added to
    counts: Counts,  # INOUT (n_clusters,), added to
) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    dtype, *sizes = check_update(rows, labels, sums, counts)
    real, _, step = _steps[dtype]
    read = _at(real, rows), _at("int32_t[]", labels)
    if not step(*read, _at("double[]", sums), _at("int64_t[]", counts), *sizes):
        raise ValueError(OUTSIDE)
