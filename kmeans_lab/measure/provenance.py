"""Proof that a kernel computes with its own code.

Python functions and calls of C functions are seen, which catches a wrapper that falls back to
NumPy, or to another kernel, in silence. What compiled code calls inside is not seen.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from kmeans_lab.kernel import Kernel, Prepares, read_only
from kmeans_lab.registry import KERNELS
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.spec import KernelSpec

#: Packages that compute k-means steps: a kernel may call only those that its row names.
_RIVALS = {"scipy", "sklearn", "faiss", "torch"}.union(*(s.requires for s in KERNELS.values())) - {
    "kmeans_lab"
}


def find_foreign_code(kernel: Kernel, spec: KernelSpec, X: Any) -> str | None:
    """Run both steps on a few rows; return the first module that had no business there."""
    seen: list[str] = []
    rows = X if isinstance(X, SparseRows) else read_only(X)
    centers = read_only(X[np.arange(min(8, len(X)))])
    given = kernel.prepare(rows, len(centers), 1) if isinstance(kernel, Prepares) else rows
    labels = np.zeros(len(X), dtype=np.int32)
    sums, counts = np.zeros(centers.shape), np.zeros(len(centers), dtype=np.int64)

    def run() -> None:
        kernel.assign(given, centers, labels)
        kernel.update(given, labels, sums, counts)

    run()  # a kernel that compiles on its first call does so unwatched
    before = sys.getprofile()
    sys.setprofile(_watcher(spec, seen))
    try:
        run()
    finally:
        sys.setprofile(before)
    return seen[0] if seen else None


def _watcher(spec: KernelSpec, seen: list[str]) -> Callable[[FrameType, str, Any], None]:
    made_of_ours = "kmeans_lab" in spec.requires
    others = set() if made_of_ours else {it for s in KERNELS.values() for it in s.modules}
    others -= {*spec.modules}

    def watch(frame: FrameType, event: str, function: Any) -> None:
        origin = str(frame.f_globals.get("__name__", ""))
        if event == "c_call":
            if origin.partition(".")[0] in spec.requires:
                return  # what a package that the row names calls is its own business
            array = isinstance(getattr(function, "__self__", None), np.ndarray)
            computes = array and function.__name__ != "tolist"
            origin = "numpy" if computes else str(getattr(function, "__module__", "") or "")
        elif event != "call":
            return
        package = origin.partition(".")[0]
        foreign = package in _RIVALS and package not in spec.requires
        if origin not in spec.modules and (foreign or origin in others):
            seen.append(origin)

    return watch
