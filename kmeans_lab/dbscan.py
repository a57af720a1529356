"""DBSCAN: clusters are where rows lie close together, however many and of whatever shape.

The lab's second algorithm, built like the first: what is computed is decided here, once, and
kernels decide how. Ester, Kriegel, Sander and Xu, "A density-based algorithm for discovering
clusters in large spatial databases with noise", KDD 1996.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import checks
from kmeans_lab.kernel import Counts, Labels
from kmeans_lab.registry import REBUILD, KernelUnavailable
from kmeans_lab.result import Lines, Shown, Stopwatch

#: Name → module of the kernels that come with the package.
KERNELS = {"python": "kmeans_lab.numerics.dbscan_in_python", "cpp": "kmeans_lab._cpp_dbscan"}

PHASES = ("prepare", "count", "grow")

_VERBS = ("prepare", "count", "grow")


class Kernel(Protocol):
    """The contract of a kernel: a module with three functions.

    Rows are neighbours where Σ(x − y)² ≤ eps², computed in float64 from direct differences, added
    up in the order of the features, each operation rounded by itself: all kernels agree on ties.
    The caller owns X, counts, core and labels. X is float64, C-contiguous and read-only.
    """

    def prepare(self, X: Any, eps: float, /) -> Any:
        """Return an index of the rows of X, for the two other functions.

        It may be used several times, and by several threads at once.
        """

    def count(self, index: Any, counts: Counts, /) -> None:
        """Overwrite counts with each row's number of neighbours, itself included."""

    def grow(self, index: Any, core: NDArray[np.bool_], labels: Labels, /) -> None:
        """Overwrite labels (n_samples,) with clusters.

        Core rows that are neighbours share a cluster, and clusters are numbered in the order of
        their first core row. A row that is not core goes to the lowest cluster with a core row
        among its neighbours, and is −1 where there is none.
        """


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DBSCANResult(Shown):
    """The clusters that DBSCAN found, and what it cost.

    Instances are compared by identity, not by their arrays; the repr has three lines.

    Attributes
    ----------
    labels : ndarray of shape (n_samples,), int32
        The cluster of each row, −1 for noise. Clusters are numbered in the order of their first
        core row.
    core : ndarray of shape (n_samples,), bool
        Which rows have min_samples neighbours.
    n_clusters : int
        Number of clusters; noise does not count as one.
    seconds : dict of str to float
        Wall seconds in "prepare" (checks and the index), "count" and "grow"; they add up to the
        whole call.
    kernel : str
        The kernel that ran.
    """

    labels: NDArray[np.int32]
    core: NDArray[np.bool_]
    n_clusters: int
    seconds: dict[str, float]
    kernel: str

    def _lines(self) -> Lines:
        noise = int(np.count_nonzero(self.labels < 0))
        return [
            {"n_samples": len(self.labels), "n_clusters": self.n_clusters},
            {"kernel": self.kernel, "seconds": sum(self.seconds.values())},
            {"n_core": int(np.count_nonzero(self.core)), "n_noise": noise},
        ]


@checks.numpys_own_errors
def dbscan(X: Any, eps: float, min_samples: int, *, kernel: str | Kernel = "cpp") -> DBSCANResult:
    """Find clusters of rows that lie close together, and noise between them.

    A row is core where at least min_samples rows, itself included, lie within eps of it. Core rows
    within eps of each other share a cluster; a row that is not core goes to the first cluster that
    has a core row within eps of it, and is noise where there is none.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Finite numbers; computed in float64, whatever they are stored in. Never modified.
    eps : float
        The largest distance between neighbours, in the units of X: exactly eps counts.
    min_samples : int
        Neighbours that make a row core, itself included; at least 1.
    kernel : {"cpp", "python"} or module
        The kernel that computes: a name, or any object with the three functions of ``Kernel``.

    Returns
    -------
    DBSCANResult

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong kind; the sentence says what to do.
    KernelUnavailable
        The kernel's compiled module is not installed.

    Notes
    -----
    One thread. The kernel "cpp" releases the GIL, Ctrl-C ends it within a second, and beside X it
    takes a copy of X and 65 bytes per row at most: neighbours are counted and never stored.

    Examples
    --------
    >>> result = dbscan([[0.0], [0.1], [0.2], [5.0], [5.1], [9.0]], eps=0.15, min_samples=2)
    >>> result.labels.tolist(), result.n_clusters
    ([0, 0, 0, 1, 1, -1], 2)
    """
    watch = Stopwatch(PHASES)
    module, name = _resolve_kernel(kernel)
    eps = _radius(eps)
    min_samples = checks.integer("min_samples", min_samples, 1)
    rows = checks.samples(X, ("float64",)).view()
    rows.flags.writeable = False
    index = module.prepare(rows, eps)
    watch.lap("prepare")
    counts = np.empty(len(rows), dtype=np.int64)
    module.count(index, counts)
    core = counts >= min_samples
    del counts
    watch.lap("count")
    labels = np.empty(len(rows), dtype=np.int32)
    module.grow(index, core, labels)
    n_clusters = int(labels.max()) + 1
    watch.lap("grow")
    return DBSCANResult(labels, core, n_clusters, watch.seconds, name)


def load_kernel(name: str) -> Kernel:
    """Import a kernel by name and return its module.

    Raises
    ------
    ValueError
        The name is not a key of ``KERNELS``.
    KernelUnavailable
        Its compiled module is not installed.
    """
    place = KERNELS[checks.choice("kernel", name, tuple(KERNELS))]
    try:
        return cast(Kernel, import_module(place))
    except ModuleNotFoundError as error:
        if error.name != place:
            raise
        raise KernelUnavailable(
            f"kernel {name!r} is not available: there is no module {place!r}; {REBUILD}"
        ) from error


def _resolve_kernel(kernel: str | Kernel) -> tuple[Kernel, str]:
    if isinstance(kernel, str):
        return load_kernel(kernel), kernel
    for verb in _VERBS:
        if not callable(getattr(kernel, verb, None)):
            raise TypeError(
                f"kernel={kernel!r} has no function {verb!r}; give one of {', '.join(KERNELS)} or "
                f"an object with {', '.join(_VERBS)}"
            )
    return kernel, getattr(kernel, "__name__", type(kernel).__name__)


def _radius(eps: Any) -> float:
    """Return eps as a float whose square keeps all its digits."""
    rule = "must be a finite number > 0; give the largest distance between neighbours"
    radius = checks.real(eps)
    if radius is None:
        raise TypeError(f"eps={eps!r} {rule}")
    if not 0 < radius < float("inf"):
        raise ValueError(f"eps={eps} {rule}")
    info = np.finfo(np.float64)
    least = float(np.sqrt(float(info.tiny) / float(info.eps)))
    if radius < least:
        raise ValueError(
            f"eps={radius:.3g} underflows when it is squared and must be at least {least:.3g}; "
            "scale X and eps up"
        )
    return radius
