"""The very loops of ``cpp/kmeans.cpp``, bound by nanobind in place of pybind11: ``nanobind.cpp``.

Whatever differs from the kernel ``cpp`` is what the binding costs.
"""

from kmeans_lab import KernelSpec
from kmeans_lab_guests._nanobind import assign, update

__all__ = ["SPEC", "assign", "update"]

SPEC = KernelSpec(
    module="",
    summary="the nested loops of cpp/kmeans.cpp through nanobind",
    remedy="pip install nanobind, then pip install --no-build-isolation --no-deps "
    "--force-reinstall kmeans-lab-guests",
    exact=True,
    sources=("cpp/kmeans.cpp", "guests/kmeans_lab_guests/nanobind.cpp"),
    built="_nanobind",
    debugging="gdb, lldb, sanitizers; tracebacks end at the call",
    wheels="those that you build: one for each platform, for all Python from 3.12 on",
)
