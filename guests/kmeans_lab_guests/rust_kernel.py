"""The nested loops of ``kmeans.rs``, compiled to a shared library and called through ctypes."""

from kmeans_lab import KernelSpec
from kmeans_lab_guests.library import Library

SPEC = KernelSpec(
    module="",
    summary="the nested loops in Rust, a shared library called through ctypes",
    remedy="install rustc, then pip install --no-build-isolation --no-deps "
    "--force-reinstall kmeans-lab-guests",
    exact=True,
    sources=("guests/kmeans_lab_guests/kmeans.rs",),
    built="libkmeans_rust",
)

_library = Library("libkmeans_rust.so")
assign, update = _library.assign, _library.update
