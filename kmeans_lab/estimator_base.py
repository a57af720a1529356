"""What ``KMeans`` and ``MiniBatchKMeans`` share: what follows from centers, and their pickles."""

import warnings
from abc import ABC, abstractmethod
from functools import cache
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from kmeans_lab import checks
from kmeans_lab.distances import distances, nearest
from kmeans_lab.partial import direct_inertia
from kmeans_lab.registry import choose_kernel, load_kernel

Array = NDArray[np.floating[Any]]


class BaseKMeans(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator, ABC
):
    """A clusterer with centers; a subclass says how they are found."""

    _repetitions: ClassVar[int]  # that n_init="auto" means for "random" and callables

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "kernel": [str],
    }

    n_clusters: int
    init: Any
    n_init: Any
    kernel: str
    cluster_centers_: Array

    @abstractmethod
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find centers."""

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> NDArray[np.int32]:
        """Return ``fit(X).labels_``: shape (n_samples,), int32."""
        return np.asarray(self.fit(X, sample_weight=sample_weight).labels_)

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Array:
        """Return ``fit(X).transform(X)``."""
        return np.asarray(self.fit(X, sample_weight=sample_weight).transform(X))

    def predict(self, X: Any) -> NDArray[np.int32]:
        """Return the closest cluster of each row of X: shape (n_samples,), int32."""
        X = self._checked(X)
        return self._assigned(X, self._centers(X))

    def transform(self, X: Any) -> Array:
        """Return the distance of each row to each center: shape (n_samples, n_clusters).

        The smallest one of a row is that to the cluster that ``predict`` gives it.
        """
        X = self._checked(X)
        return distances(X, self._centers(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the (weighted) inertia of X."""
        X = self._checked(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        centers = self._centers(X)
        return -self._inertia(X, centers, self._assigned(X, centers), sample_weight)

    def _start(self, X: Array) -> tuple[Any, int]:
        """Return what to start from, and how often."""
        if len(X) < self.n_clusters:
            raise ValueError(f"n_samples={len(X)} should be >= n_clusters={self.n_clusters}.")
        init, n_init = self.init, self.n_init
        given = not isinstance(init, str) and not callable(init)
        if n_init == "auto":
            n_init = 1 if given or init == "k-means++" else self._repetitions
        if not given:
            return init, n_init
        if n_init != 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={n_init}.",
                RuntimeWarning,
                stacklevel=3,
            )
        return self._fitting(check_array(init, dtype=X.dtype, copy=True, order="C"), X), 1

    def _fitting(self, centers: Array, X: Array) -> Array:
        """Return starting centers that have the shape they need; ``ValueError`` otherwise."""
        for what, axis, wanted in (
            ("clusters", 0, self.n_clusters),
            ("features of the data", 1, X.shape[1]),
        ):
            if centers.shape[axis] != wanted:
                raise ValueError(
                    f"The shape of the initial centers {centers.shape} does not match the number "
                    f"of {what} {wanted}."
                )
        return centers

    def _checked(self, X: Any) -> Array:
        check_is_fitted(self)
        kinds = [np.float64, np.float32]
        rows: Array = validate_data(self, X, reset=False, dtype=kinds, order="C")
        checks.no_overflow(rows)
        return rows

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _centers(self, X: Array) -> Array:
        """Return ``cluster_centers_`` as float32 or float64: they may have been set by hand."""
        rule = "set finite numbers, a center in each row, or fit again"
        if isinstance(self.cluster_centers_, np.ma.MaskedArray):
            raise TypeError(f"cluster_centers_ is a masked array and must be a plain one; {rule}")
        try:
            given = np.asarray(self.cluster_centers_)
        except ValueError as error:  # rows of unequal length
            raise ValueError(
                f"cluster_centers_ cannot be read as a matrix ({error}); {rule}"
            ) from None
        if given.dtype.kind not in "buif":
            raise TypeError(f"cluster_centers_ has dtype {given.dtype} and must be numeric; {rule}")
        wanted = len(given) if given.ndim else 0, X.shape[1]
        if given.shape != wanted or len(given) == 0:
            raise ValueError(
                f"cluster_centers_ has shape {given.shape} and must have shape "
                f"(n_clusters, n_features)=({self.n_clusters}, {X.shape[1]}); {rule}"
            )
        centers = given if given.dtype == np.float32 else given.astype(np.float64, copy=False)
        bad = np.argwhere(~np.isfinite(centers))
        if len(bad):
            j, f = bad[0]
            raise ValueError(f"cluster_centers_[{j}, {f}] is {centers[j, f]}; {rule}")
        checks.no_overflow(centers)
        return np.ascontiguousarray(centers)

    def _kernel_name(self) -> str:
        return choose_kernel("serial") if self.kernel == "auto" else self.kernel

    def _assigned(self, X: Array, centers: Array) -> NDArray[np.int32]:
        return nearest(self._kernel_name(), X, centers)

    def _inertia(
        self,
        X: Array,
        centers: Array,
        labels: NDArray[np.int32],
        weights: NDArray[np.float64] | None,
    ) -> float:
        """Return the (weighted) sum of squared distances, from differences."""
        if weights is not None:
            return direct_inertia(X, centers, labels, weights)
        kernels_own = getattr(load_kernel(self._kernel_name()), "inertia", direct_inertia)
        if X.dtype != centers.dtype:
            kernels_own = direct_inertia
        return float(kernels_own(X, np.ascontiguousarray(centers), labels))

    def __sklearn_tags__(self) -> Any:
        """Say what scikit-learn asks of an estimator."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
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
        super().__setstate__(state)


@cache
def release() -> str:
    """Return the version of this package."""
    from kmeans_lab import __version__

    return str(__version__)
