"""The nested loops of ``kmeans.c``, compiled to a shared library and called through ctypes."""

from kmeans_lab import KernelSpec
from kmeans_lab_guests.library import Library

SPEC = KernelSpec(
    module="",
    summary="the nested loops in C, a shared library called through ctypes",
    remedy="install gcc, then pip install --no-build-isolation --no-deps "
    "--force-reinstall kmeans-lab-guests",
    exact=True,
    sources=(
        "guests/kmeans_lab_guests/kmeans.c",
        "guests/kmeans_lab_guests/library.py",
        "guests/kmeans_lab_guests/arrays.py",
    ),
    built="libkmeans_c",
    debugging="gdb, lldb; a wrong argument is not noticed, or ends the process",
    wheels="those that you build: one for each platform, for any Python",
)

_library = Library("libkmeans_c.so")
assign, update = _library.assign, _library.update
