"""The nested loops of ``kmeans.rs``, compiled to a shared library and called through ctypes."""

from kmeans_lab import KernelSpec
from kmeans_lab_guests.library import Library

SPEC = KernelSpec(
    module="",
    summary="the nested loops in Rust, a shared library called through ctypes",
    remedy="install rustc, then pip install --no-build-isolation --no-deps "
    "--force-reinstall kmeans-lab-guests",
    exact=True,
    sources=(
        "guests/kmeans_lab_guests/kmeans.rs",
        "guests/kmeans_lab_guests/library.py",
        "guests/kmeans_lab_guests/arrays.py",
    ),
    built="libkmeans_rust",
    debugging="gdb, lldb; a panic ends the process unless it is caught",
    wheels="those that you build: one for each platform, for any Python",
)

_library = Library("libkmeans_rust.so")
assign, update = _library.assign, _library.update
