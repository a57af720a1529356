"""The base class of ``KMeans`` and ``MiniBatchKMeans``: prediction from centers, and pickling."""

import warnings
from abc import ABC, abstractmethod
from functools import cache
from math import isfinite
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import check_array
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
)

from kmeans_lab import checks
from kmeans_lab.arrays import read
from kmeans_lab.crews.cores import available_cores
from kmeans_lab.io.frames import repeated_column
from kmeans_lab.isolation.availability import choose_kernel, first_ready
from kmeans_lab.kernel import Array
from kmeans_lab.metric import METRICS, exponent_of, to_cosine, unit_rows
from kmeans_lab.numerics.distances import distances, nearest
from kmeans_lab.numerics.inertia import direct_inertia
from kmeans_lab.numerics.magnitudes import largest_of, refuse_overflow
from kmeans_lab.registry import PROVIDERS, find_spec, load_kernel
from kmeans_lab.sparse.checked import sparse_samples
from kmeans_lab.sparse.numerics import largest as sparse_largest
from kmeans_lab.sparse.reading import as_scipy, is_sparse
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.weights import absolute, relative, warn_of_overflow

Rows: TypeAlias = Array | SparseRows

_FLOATS = (np.float64, np.float32)
_SMALL_CALL = 1 << 20  # multiply-adds: with fewer, starting a thread takes longer than it helps


class BaseKMeans(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator, ABC
):
    """A clusterer with centers; a subclass says how they are found."""

    _repetitions: ClassVar[int]  # that n_init="auto" means for "random" and callables

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [
            StrOptions({"k-means++", "random"}),
            *(callable, "array-like", HasMethods("__dlpack__"), memoryview),
        ],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "kernel": [str],
        "metric": [StrOptions(set(METRICS))],
    }

    n_clusters: int
    init: Any
    n_init: Any
    kernel: str
    metric: str
    cluster_centers_: Array
    labels_: NDArray[np.int32]

    @abstractmethod
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find centers."""

    @checks.numpys_own_errors
    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> NDArray[np.int32]:
        """Return ``fit(X).labels_``: shape (n_samples,), int32."""
        return np.asarray(self.fit(X, sample_weight=sample_weight).labels_)

    @checks.numpys_own_errors
    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Return ``fit(X).transform(X)``."""
        return np.asarray(self.fit(X, sample_weight=sample_weight).transform(X))

    @checks.numpys_own_errors
    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the closest cluster of each row of X: shape (n_samples,), int32."""
        X = self._checked(X)
        return self._assigned(X, self._centers(X))

    @checks.numpys_own_errors
    def transform(self, X: Any) -> Array:
        """Return the distance of each row to each center: shape (n_samples, n_clusters).

        With metric="cosine", 1 − cos, between 0 and 2. The smallest one of a row is that to the
        cluster that ``predict`` gives it.
        """
        X = self._checked(X)
        centers = self._centers(X)
        found = distances(X, centers, self._threads(X.size * len(centers)))
        return to_cosine(found) if self.metric == "cosine" else found

    @checks.numpys_own_errors
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the (weighted) inertia of X."""
        X = self._checked(X)
        weights, centers = self._weights(sample_weight, X), self._centers(X)
        return -warn_of_overflow(self._labels_and_inertia(X, centers, weights)[1])

    def _start(self, X: Rows) -> tuple[Any, int]:
        """Return the starting centers or method, and the number of repetitions."""
        if len(X) < (n_clusters := self._count("n_clusters")):
            raise ValueError(f"n_samples={len(X)} should be >= n_clusters={n_clusters}.")
        init = self.init
        given = not isinstance(init, str) and not callable(init)
        if self.n_init == "auto":
            n_init = 1 if given or init == "k-means++" else self._repetitions
        else:
            n_init = self._count("n_init")
        if not given:
            return init, n_init
        if n_init != 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
        return self._fitting(init, X), 1

    def _fitting(self, init: Any, X: Any) -> Array:
        """Return a copy of starting centers that have the shape they need; else ``ValueError``."""
        centers = checks.numbers("init", init)
        with np.errstate(all="ignore"):  # what is infinite, or too large for float32, is refused
            centers = check_array(centers, dtype=X.dtype, copy=True, order="C")
        for what, axis, wanted in (
            ("clusters", 0, self.n_clusters),
            ("features of the data", 1, X.shape[1]),
        ):
            if centers.shape[axis] != wanted:
                raise ValueError(
                    f"The shape of the initial centers {centers.shape} does not match the number "
                    f"of {what} {wanted}."
                )
        return np.asarray(centers)

    def _checked(self, X: Any) -> Rows:
        """Return rows to look at once; one pass over them says that none is refused."""
        if "cluster_centers_" not in vars(self):
            check_is_fitted(self)  # which takes 4 µs
        if is_sparse(X):
            return self._sparse(X, reset=False)
        if self.kernel != "auto":
            find_spec(self.kernel)  # which refuses what is not known, whoever computes
        rows = self._numbers(X, reset=False)
        rows, largest = self._matrix(rows, reset=False, n_threads=self._threads(rows.size))
        if self.metric == "euclidean":
            refuse_overflow(largest, rows)
        return np.asarray(self._compared(rows))

    def _compared(self, rows: Any, name: str = "X") -> Any:
        """Return rows as the metric compares them: with cosine, of length 1."""
        if self.metric == "euclidean" or isinstance(rows, SparseRows):  # which have it by now
            return rows
        provider = first_ready((PROVIDERS["measuring"],))
        kernel: Any = None if provider is None else load_kernel(provider)
        return unit_rows(rows, kernel, self._threads(rows.size), name=name)

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _centers(self, X: Rows) -> Array:
        """Return ``cluster_centers_`` as float32 or float64: they may have been set by hand.

        Those of an estimator that came over a network may lie at any address.
        """
        given = checks.numbers("cluster_centers_", self.cluster_centers_)
        wanted = len(given) if given.ndim else 0, X.shape[1]
        if given.shape != wanted or len(given) == 0:
            raise ValueError(
                f"cluster_centers_ has shape {given.shape} and must have shape "
                f"(n_clusters, n_features)=({self.n_clusters}, {X.shape[1]}); set a center in "
                "each row, or fit again"
            )
        centers = given if given.dtype == np.float32 else given.astype(np.float64, copy=False)
        if not isfinite(largest := largest_of(centers)):
            checks.finite(centers, "cluster_centers_")  # says where
        if self.metric == "euclidean":
            refuse_overflow(largest, centers)
            return np.require(centers, requirements=["C", "A"])
        wide = np.require(centers, np.result_type(centers, X), ["C", "A"])
        return np.asarray(self._compared(wide, "cluster_centers_"))

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

    def _kernel_name(self, X: Rows | None = None) -> str:
        sparse = isinstance(X, SparseRows)
        return choose_kernel(sparse=sparse) if self.kernel == "auto" else self.kernel

    def _assigned(self, X: Rows, centers: Array) -> NDArray[np.int32]:
        threads = self._threads(X.size * len(centers))
        return nearest(self._kernel_name(X), X, centers, threads)

    def _labels_and_inertia(
        self, X: Rows, centers: Array, weights: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.int32], float]:
        """Return labels and the (weighted) inertia, in one call where the kernel offers it."""
        if weights is None and not isinstance(X, SparseRows) and X.dtype == centers.dtype:
            kernel: Any = load_kernel(self._kernel_name())
            if hasattr(kernel, "label_rows"):
                labels = np.empty(len(X), dtype=np.int32)
                found = kernel.assign(X, centers, labels, self._threads(X.size * len(centers)))
                return labels, absolute(found, exponent_of(self.metric))
        labels = self._assigned(X, centers)
        return labels, self._inertia(X, centers, labels, weights)

    def _inertia(
        self,
        X: Rows,
        centers: Array,
        labels: NDArray[np.int32],
        weights: NDArray[np.float64] | None,
    ) -> float:
        """Return the (weighted) sum of squared distances, from differences, or of 1 − cos."""
        shares, exponent = (None, 0) if weights is None else relative(weights)
        exponent += exponent_of(self.metric)
        if isinstance(X, SparseRows):
            return absolute(direct_inertia(X, centers, labels, shares), exponent)
        name = self._kernel_name()
        kernels_own = getattr(load_kernel(name), "inertia", None)
        weighs = find_spec(name).weights
        if kernels_own is None or X.dtype != centers.dtype or not (weighs or shares is None):
            return absolute(direct_inertia(X, centers, labels, shares), exponent)
        more = {"weights": shares, "n_threads": self._threads(X.size)} if weighs else {}
        found = kernels_own(X, np.ascontiguousarray(centers), labels, **more)
        return absolute(float(found), exponent)

    def __sklearn_tags__(self) -> Any:
        """Say what scikit-learn asks of an estimator."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = self.kernel == "auto" or bool(find_spec(self.kernel).sparse)
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds, and which release wrote it."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"_kmeans_lab": release()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a pickle's state; warn when another release wrote it."""
        wrote = state.pop("_kmeans_lab", "unknown")
        if wrote != release():
            warnings.warn(
                f"this {type(self).__name__} was pickled by kmeans_lab {wrote} and is read by "
                f"{release()}; fit it anew if it misbehaves",
                UserWarning,
                stacklevel=2,
            )
        super().__setstate__({"metric": "euclidean"} | state)  # 0.1.0 knew no other


def _is_plain(rows: NDArray[Any]) -> bool:
    """Whether scikit-learn would convert nothing: asking it takes 35 µs."""
    usual = rows.flags.c_contiguous and rows.flags.aligned and rows.dtype.isnative
    return rows.ndim == 2 and rows.size > 0 and usual and rows.dtype in _FLOATS


def usual_threads() -> int:
    """Return the cores that this process may use, or fewer where OpenMP is limited to fewer.

    That is scikit-learn's rule: OMP_NUM_THREADS and threadpoolctl's limits count.
    """
    return max(1, min(int(_openmp_effective_n_threads()), available_cores()))


@cache
def release() -> str:
    """Return the version of this package."""
    from kmeans_lab import __version__

    return str(__version__)
