"""The base class of ``KMeans`` and ``MiniBatchKMeans``: parameters, prediction, and pickling."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache, wraps
from math import isfinite
from numbers import Integral, Real
from typing import Any, ClassVar, Self, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_array
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED

from kmeans_lab import checks
from kmeans_lab.estimators.streamed import (
    InertiaOfBlocks,
    checked_blocks,
    parts_of,
    put_parts,
    refuse_too_large,
)
from kmeans_lab.estimators.taking import Rows, TakesRows
from kmeans_lab.isolation.availability import choose_kernel
from kmeans_lab.kernel import Array
from kmeans_lab.metric import METRICS, exponent_of, to_cosine
from kmeans_lab.numerics.distances import distances, nearest
from kmeans_lab.numerics.inertia import direct_inertia
from kmeans_lab.numerics.magnitudes import largest_of, refuse_overflow
from kmeans_lab.registry import find_spec, load_kernel
from kmeans_lab.rows.streamed import Block, StreamedRows
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.weights import absolute, relative, warn_of_overflow


class BaseKMeans(
    TakesRows, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator, ABC
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

    # No metadata, which a pipeline would route.
    __metadata_request__predict: ClassVar[dict[str, Any]] = {"out": UNUSED}
    __metadata_request__transform: ClassVar[dict[str, Any]] = {"out": UNUSED}

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
    def predict(self, X: Any, *, out: Any = None) -> NDArray[np.int32]:
        """Return the closest cluster of each row of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Or rows that are not an array (``kmeans_lab.rows``), which are read once, block by
            block: a path, a list of paths, or an object with ``shape``, ``dtype`` and
            ``read(start, stop)``.
        out : path-like or ndarray of shape (n_samples,), int32, optional
            Where labels are written block by block: an .npy file, which is whole or not there, or
            an array, which may be mapped.

        Returns
        -------
        ndarray of shape (n_samples,), int32
            The array ``out``; of a file, its values, mapped.

        Raises
        ------
        ValueError, TypeError
            X or ``out`` is not as it must be, or the file cannot be written; the sentence says why.
        """
        given, X = X, self._checked(X)
        centers = self._centers(X)
        if out is None:
            return self._assigned(X, centers)
        found = (self._assigned(part, centers) for part in self._parts(X, 1))
        return put_parts(out, (len(X),), np.dtype(np.int32), given, found)

    @checks.numpys_own_errors
    def transform(self, X: Any, *, out: Any = None) -> Array:
        """Return the distance of each row to each center.

        With metric="cosine", 1 − cos, between 0 and 2. The smallest one of a row is that to the
        cluster that ``predict`` gives it.

        Parameters
        ----------
        X
            As for ``predict``.
        out : path-like or ndarray of shape (n_samples, n_clusters), optional
            Where distances are written block by block, as for ``predict``.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters)
            float32 where X and the centers are, else float64; as for ``predict``.

        Raises
        ------
        ValueError, TypeError
            As for ``predict``.
        MemoryError
            Distances of rows that are not an array do not fit into half of the free memory.
        """
        given, X = X, self._checked(X)
        centers = self._centers(X)
        shape, dtype = (len(X), len(centers)), np.result_type(X.dtype, centers)
        if out is not None:
            each = (self._distances(part, centers) for part in self._parts(X, shape[1]))
            return put_parts(out, shape, dtype, given, each)
        if not isinstance(X, StreamedRows):
            return self._distances(X, centers)
        refuse_too_large(shape, dtype, X.name)
        found = np.empty(shape, dtype)
        for block in self._blocks(X, shape[1]):
            found[block.part] = self._distances(block.rows, centers)
        return found

    @checks.numpys_own_errors
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the (weighted) inertia of X, which may be what ``predict`` takes."""
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

    def _blocks(self, X: StreamedRows, width: int) -> Iterator[Block]:
        """Yield blocks of rows that have been checked; ``width``: values that each row gives."""
        return checked_blocks(X, self.metric, self._threads(1 << 21), width)

    def _parts(self, X: Rows, width: int) -> Iterator[Any]:
        """Yield rows, some at a time."""
        return parts_of(X, self.metric, self._threads(1 << 21), width)

    def _kernel_name(self, X: Rows | None = None) -> str:
        sparse = isinstance(X, SparseRows)
        return choose_kernel(sparse=sparse) if self.kernel == "auto" else self.kernel

    def _assigned(self, X: Rows, centers: Array) -> NDArray[np.int32]:
        if isinstance(X, StreamedRows):
            labels = np.empty(len(X), dtype=np.int32)
            for block in self._blocks(X, 1):
                labels[block.part] = self._assigned(block.rows, centers)
            return labels
        threads = self._threads(X.size * len(centers))
        return nearest(self._kernel_name(X), X, centers, threads)

    def _distances(self, X: Array | SparseRows, centers: Array) -> Array:
        found = distances(X, centers, self._threads(X.size * len(centers)))
        return to_cosine(found) if self.metric == "cosine" else found

    def _labels_and_inertia(
        self, X: Rows, centers: Array, weights: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.int32], float]:
        """Return labels and the (weighted) inertia, in one call where the kernel offers it."""
        if isinstance(X, StreamedRows):
            labels = np.empty(len(X), dtype=np.int32)
            return labels, self._inertia(X, centers, labels, weights, find=True)
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
        *,
        find: bool = False,
    ) -> float:
        """Return the (weighted) sum of squared distances, from differences, or of 1 − cos.

        ``find``: labels, of rows that are read, are found in the same pass.
        """
        shares, exponent = (None, 0) if weights is None else relative(weights)
        exponent += exponent_of(self.metric)
        if isinstance(X, StreamedRows):
            total, threads = InertiaOfBlocks(centers, X.dtype), self._threads(1 << 21)
            for rows, part in ((block.rows, block.part) for block in self._blocks(X, 1)):
                if find:
                    labels[part] = self._assigned(rows, centers)
                heavy = None if shares is None else shares[part]
                total.add(rows, labels[part], heavy, threads)
            return absolute(total.value(), exponent)
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


@cache
def release() -> str:
    """Return the version of this package."""
    from kmeans_lab import __version__

    return str(__version__)


def checked_at_first(method: checks.F) -> checks.F:
    """Run ``partial_fit`` in scikit-learn's context for the first batch only: it takes 8 µs.

    The context is there to validate parameters, which scikit-learn does once, too.
    """
    first = _fit_context(prefer_skip_nested_validation=True)(method)

    @wraps(method)
    def partial_fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (method if hasattr(self, "_means") else first)(self, *args, **kwargs)

    return cast(checks.F, partial_fit)
