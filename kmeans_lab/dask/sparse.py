"""Sparse rows whose blocks lie on the workers of a cluster, and the crew of their passes."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.checks import refuse_magnitudes
from kmeans_lab.crews.partial import Partials
from kmeans_lab.dask import tasks
from kmeans_lab.dask.crew import ClusterCrew
from kmeans_lab.dask.plan import SparsePlan
from kmeans_lab.io.values import place
from kmeans_lab.kernel import Array
from kmeans_lab.rows.distances import Floats
from kmeans_lab.sparse.rows import SparseRows

if TYPE_CHECKING:
    from kmeans_lab.crews.base import Crew, Job
    from kmeans_lab.dask.source import ClusterRows
    from kmeans_lab.rows.distances import Distances


class SparseClusterRows(SparseRows):
    """Sparse rows as the driver sees them; whatever asks for values reads them from the workers.

    Attributes
    ----------
    held : ClusterRows
        Its blocks are ``SparseRows``.
    most, least : float
        The largest and smallest magnitudes, zeros aside.
    """

    __slots__ = ("_dtype", "held", "least", "most", "sums")

    held: ClusterRows
    most: float
    least: float
    sums: tuple[Floats, Floats]
    _dtype: np.dtype[Any]

    def __init__(self, held: ClusterRows, *, directions: bool) -> None:
        found = held.everywhere(tasks.measure_sparse, lambda b: ())
        sizes = np.concatenate([it.sizes for it in found])
        values = {
            "held": held,
            "_dtype": held.dtype,
            "indptr": np.concatenate([[0], np.cumsum(sizes)]),
            "n_features": held.shape[1],
            "sums": (sum(it.sums for it in found), sum(it.squares for it in found)),
            "most": max(it.most for it in found),
            "least": min(it.least for it in found),
        }
        for name, value in values.items():  # the class is frozen
            object.__setattr__(self, name, value)
        for b, it in enumerate(found):
            if np.isnan(it.most):
                self._refuse_value(b)
        if not directions:
            refuse_magnitudes(self.most, self)

    def _refuse_value(self, b: int) -> None:
        first = self.held.ends[b - 1] if b > 0 else 0
        block = self[first : self.held.ends[b]]
        values, columns = block.stored()
        where = int(np.argmax(~np.isfinite(values)))
        index = first + int(block.owners()[where]), int(columns[where])
        raise ValueError(
            f"{place('X', index)} is {values[where]} and every value must be finite; drop or fill "
            "such rows first"
        )

    @property
    def data(self) -> Array:
        """None of them is here: ``AssertionError`` for code that would compute with none."""
        raise AssertionError("the values of these rows lie on the workers of a cluster")

    indices = data  # type: ignore[assignment]

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the values."""
        return self._dtype

    def column_sums(self) -> tuple[Floats, Floats]:
        """Return the sum of each column and of its squares, (n_features,), in float64."""
        return self.sums

    def __getitem__(self, which: Any) -> Any:
        """Return consecutive rows, or a few rows as an array: see ``SparseRows``."""
        if isinstance(which, slice):
            first, last, _ = which.indices(len(self))
            return self.take(np.arange(first, max(first, last)))
        found = self.take(np.atleast_1d(np.asarray(which, dtype=np.intp)))
        points = found[np.arange(len(found))]
        return points if np.ndim(which) else points[0]

    def take(self, numbers: NDArray[np.intp]) -> SparseRows:
        """Return some rows, in this order, which come from the workers."""
        order = np.argsort(numbers, kind="stable")
        parts = self.held.parts(numbers[order])
        values, columns, sizes = [], [], [np.zeros(1, np.int64)]
        for part in parts:
            values.append(part.stored()[0])
            columns.append(part.stored()[1])
            sizes.append(np.diff(part.indptr))
        found = SparseRows(
            np.concatenate([np.empty(0, self.dtype), *values]),
            np.concatenate([np.empty(0, np.int32), *columns]),
            np.cumsum(np.concatenate(sizes)),
            self.n_features,
        )
        if (order[:-1] <= order[1:]).all():
            return found
        back = np.empty(len(order), np.intp)
        back[order] = np.arange(len(order))
        return found.take(back)

    def start_crew(self, job: Job) -> Crew:
        """Return the crew that computes where the blocks are."""
        return SparseClusterCrew(job)

    def start_distances(self, rows: Any, weights: Floats | None, owners: bool) -> Distances:
        """Return distances that are kept where the blocks are."""
        return self.held.start_distances(None, weights, owners)


class SparseClusterCrew(ClusterCrew):
    """Passes over sparse rows."""

    def _start(self) -> None:
        job, rows = self.job, self.job.rows
        assert isinstance(rows, SparseClusterRows)
        self.rows = rows  # type: ignore[assignment]
        self.partials = Partials.empty(len(self.bounds), job.n_clusters, rows.n_features)
        self._begin(rows.held)
        # Rows of nothing but zeros have no magnitudes: any will do.
        most, least = (rows.most, rows.least) if rows.most > 0 else (1.0, 1.0)
        self._plan = SparsePlan(
            *(token_hex(8), job.name, None, np.array([most]), np.array([least])),
            *(*rows.shape, job.n_clusters, None, self.kernel_threads),
        )
