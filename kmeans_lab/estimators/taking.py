"""Rows and weights as the estimators take them: converted, checked, and held to the fit."""

from dataclasses import replace
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
)

from kmeans_lab import checks
from kmeans_lab.arrays import read
from kmeans_lab.crews.cores import available_cores
from kmeans_lab.estimators.streamed import measuring, opened, streamed
from kmeans_lab.io.frames import repeated_column
from kmeans_lab.kernel import Array
from kmeans_lab.metric import unit_rows
from kmeans_lab.numerics.magnitudes import largest_of, refuse_overflow
from kmeans_lab.registry import find_spec
from kmeans_lab.rows.rounding import Rounding
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.checked import sparse_samples
from kmeans_lab.sparse.numerics import largest as sparse_largest
from kmeans_lab.sparse.reading import as_scipy, is_sparse
from kmeans_lab.sparse.rows import SparseRows

Rows: TypeAlias = Array | SparseRows | StreamedRows

_FLOATS = (np.float64, np.float32)
_SMALL_CALL = 1 << 20  # multiply-adds: with fewer, starting a thread takes longer than it helps


class TakesRows:
    """The part of an estimator that takes rows."""

    kernel: str
    metric: str

    def _checked(self, X: Any) -> Rows:
        """Return rows to look at once; one pass over them says that none is refused."""
        if "cluster_centers_" not in vars(self):
            check_is_fitted(self)  # which takes 4 µs
        if (source := opened(X)) is not None:
            self._kernel_is_known()
            read = streamed(source, self.metric, self._threads(1 << 21))
            return replace(self._named(read, reset=False), rounding=Rounding())
        if is_sparse(X):
            return self._sparse(X, reset=False)
        self._kernel_is_known()
        rows = self._numbers(X, reset=False)
        rows, largest = self._matrix(rows, reset=False, n_threads=self._threads(rows.size))
        if self.metric == "euclidean":
            refuse_overflow(largest, rows)
        return np.asarray(self._compared(rows))

    def _kernel_is_known(self) -> None:
        """Refuse a kernel that is not known, whoever computes."""
        if self.kernel != "auto":
            find_spec(self.kernel)

    def _compared(self, rows: Any, name: str = "X") -> Any:
        """Return rows as the metric compares them: with cosine, of length 1."""
        if self.metric == "euclidean" or not isinstance(rows, np.ndarray):  # others have it by now
            return rows
        return unit_rows(rows, measuring(), self._threads(rows.size), name=name)

    def _sparse(self, X: Any, *, reset: bool, dtypes: Any = _FLOATS) -> SparseRows:
        names = tuple(np.dtype(kind).name for kind in dtypes)
        rows = sparse_samples(X, names, self.metric)
        if rows.dtype not in dtypes:  # of a later batch: what was found is narrower
            largest = sparse_largest(rows)
            with np.errstate(over="ignore"):  # which is refused
                rows = rows.astype(np.dtype(dtypes[0]))
            if self.metric == "euclidean":
                checks.refuse_magnitudes(largest, rows)
        _check_feature_names(self, X, reset=reset)
        _check_n_features(self, rows, reset=reset)
        return rows

    def _named(self, rows: StreamedRows, *, reset: bool) -> StreamedRows:
        """Return rows of a source, which has no names of features and as many as the fit's."""
        _check_feature_names(self, rows, reset=reset)
        _check_n_features(self, rows, reset=reset)
        return rows

    def _numbers(self, X: Any, *, reset: bool) -> NDArray[Any]:
        """Return the numbers in X; ``reset``: its columns are those of the fit.

        The package's own conversion comes first, for anything that holds numbers; scikit-learn then
        sees a plain array in ``_matrix``. Called by what users call: warnings name their line.
        """
        rows = read("X", X)
        if rows.dtype.kind != "c":  # which scikit-learn reports itself
            rows = checks.numbers("X", X, rows)
        if rows.ndim > 2:
            checks.refuse_dimensions("X", X, rows.ndim)
        if name := repeated_column(X):
            raise ValueError(
                f"X has several columns called {name} and feature names must differ; rename them"
            )
        if reset or type(X) is not np.ndarray or hasattr(self, "feature_names_in_"):
            _check_feature_names(self, X, reset=reset)  # to find that there are none takes 20 µs
        return rows

    def _matrix(
        self, rows: NDArray[Any], *, reset: bool, dtypes: Any = _FLOATS, n_threads: int = 1
    ) -> tuple[Array, float]:
        """Return the numbers as a matrix of one of the dtypes, and the largest magnitude.

        scikit-learn reports wrong shapes, and values that are not finite unless it is configured to
        assume that there are none.
        """
        if not (_is_plain(rows) and rows.dtype in dtypes):
            rows = self._sklearns(rows, dtypes, finite=False)
        largest = largest_of(rows, n_threads)
        if not isfinite(largest):
            self._sklearns(rows, dtypes, finite=True)
        if reset or rows.shape[1] != getattr(self, "n_features_in_", None):
            _check_n_features(self, rows, reset=reset)
        return rows, largest

    def _sklearns(self, rows: NDArray[Any], dtypes: Any, *, finite: bool) -> Array:
        told = {"estimator": self, "input_name": "X", "ensure_all_finite": finite}
        with np.errstate(all="ignore"):  # what is infinite, or too large for float32, is refused
            rows = check_array(rows, dtype=list(dtypes), order="C", **told)
        return np.require(rows, requirements=["C", "A"])

    def _weights(self, sample_weight: Any, X: Rows) -> NDArray[np.float64] | None:
        """Return the weights of rows; None where all of them are 1."""
        if sample_weight is None:
            return None
        given = checks.numbers("sample_weight", sample_weight, exact=False)
        with np.errstate(all="ignore"):  # what is infinite, or too large for float64, is refused
            given = np.asarray(given, dtype=np.float64)
            alike = float(given) if given.ndim == 0 else given  # its rule is for Python's numbers
            shown = as_scipy(X) if isinstance(X, SparseRows) else X
            given = _check_sample_weight(alike, shown, dtype=np.float64)
        return checks.weights(given, X)

    def _count(self, name: str, least: int = 1) -> int:
        """Return a parameter as an int of Python's: a product of narrow ones would overflow."""
        return checks.integer(name, getattr(self, name), least)

    def _threads(self, size: int) -> int:
        """Return how many threads share a call of n·k·d multiply-adds, or of as many values."""
        if size <= _SMALL_CALL:
            return 1
        given = getattr(self, "n_threads", None)
        return usual_threads() if given is None else self._count("n_threads")


def _is_plain(rows: NDArray[Any]) -> bool:
    """Whether scikit-learn would convert nothing: asking it takes 35 µs."""
    usual = rows.flags.c_contiguous and rows.flags.aligned and rows.dtype.isnative
    return rows.ndim == 2 and rows.size > 0 and usual and rows.dtype in _FLOATS


def usual_threads() -> int:
    """Return the cores that this process may use, or fewer where OpenMP is limited to fewer.

    That is scikit-learn's rule: OMP_NUM_THREADS and threadpoolctl's limits count.
    """
    return max(1, min(int(_openmp_effective_n_threads()), available_cores()))
