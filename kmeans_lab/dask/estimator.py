"""``kmeans_lab.dask.KMeans``: the estimator whose rows lie on a cluster.

Needs the extras dask and sklearn.
"""

from __future__ import annotations

from copy import copy, deepcopy
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin, _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from kmeans_lab import checks
from kmeans_lab.arrays import read
from kmeans_lab.dask import tasks
from kmeans_lab.dask.fit import fit, hold
from kmeans_lab.dask.source import ClusterRows, refuse_dimensions
from kmeans_lab.estimators import kmeans as local
from kmeans_lab.metric import METRICS
from kmeans_lab.weights import absolute, relative, warn_of_overflow


class KMeans(ClusterMixin, TransformerMixin, BaseEstimator):
    """K-means clustering of rows on a cluster; the bits of ``kmeans_lab.KMeans`` in memory.

    Parameters
    ----------
    n_clusters : int, default=8
    init : {"k-means||", "k-means++", "random"} or array-like of shape (n_clusters, n_features)
        Starting centers. The default, "k-means||", takes six passes over the rows, "k-means++" one
        for each cluster.
    n_init : "auto" or int, default="auto"
        Repetitions, of which the lowest inertia wins; "auto" is 10 for "random", otherwise 1.
    max_iter : int, default=300
        Iterations at most, each repetition.
    tol : float, default=1e-4
        Squared movement of the centers that ends a repetition, relative to the mean variance of
        the features. A repetition also ends when no label changes.
    random_state : int, RandomState instance or None, default=None
    kernel : str, default="auto"
        One whose sums are exact: "cpp-simd", "cython-tiled" or "numba-tiled".
    metric : {"euclidean", "cosine"}, default="euclidean"
    client : distributed.Client, optional
        By default the current one.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features)
    labels_ : dask array of shape (n_samples,), int32
        On the workers, in the blocks that X has.
    inertia_ : float
    n_iter_ : int
    n_features_in_ : int
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means||", "k-means++", "random"}), "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "kernel": [str],
        "metric": [StrOptions(set(METRICS))],
        "client": "no_validation",
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means||",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        random_state: Any = None,
        kernel: str = "auto",
        metric: str = "euclidean",
        client: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.kernel = kernel
        self.metric = metric
        self.client = client

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Compute the clustering.

        Parameters
        ----------
        X : dask array, dask frame, list of delayed blocks or ``kmeans_lab.rows.RowSource``
            (n_samples, n_features); see ``kmeans_lab.dask.kmeans``.
        y : ignored
        sample_weight : array-like or dask array of shape (n_samples,), optional
            How much each row counts, ≥ 0; it comes to the client.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As ``kmeans_lab.dask.kmeans``.
        """
        named = isinstance(self.init, str)
        n_init = self.n_init
        if n_init == "auto":
            n_init = 10 if named and self.init == "random" else 1
        seed = np.zeros(1, np.uint32)  # nothing is drawn, so that the state stays as it is
        if named:
            seed = check_random_state(self.random_state).randint(2**32, size=4, dtype=np.uint32)
        settings = {
            "init": self.init if named else np.asarray(read("init", self.init)),
            "n_init": n_init,
            "max_iter": checks.integer("max_iter", self.max_iter, 1),
            "stop": local.Strict(float(self.tol)),
            "random_state": np.random.default_rng(seed),
            "kernel": self.kernel,
            "metric": self.metric,
        }
        n_clusters = checks.integer("n_clusters", self.n_clusters, 1)
        rows = hold(X, self.client, settings)
        rows.keeps_labels = True
        settings["sample_weight"], exponent = self._relative(sample_weight, len(rows))
        found = fit(rows, n_clusters, settings)
        self.cluster_centers_ = found.centers
        self.labels_ = _in_blocks(rows, found.labels, X)
        self.inertia_ = warn_of_overflow(absolute(found.inertia, exponent))
        self.n_iter_ = found.n_iter
        self.n_features_in_ = rows.shape[1]
        return self

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Return ``fit(X).labels_``."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Return ``fit(X).transform(X)``."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def predict(self, X: Any) -> Any:
        """Return the closest cluster of each row, int32: a dask array that computes when asked.

        Of an array in memory, an array in memory.
        """
        return self._by_blocks(X, "predict", np.dtype(np.int32), ())

    def transform(self, X: Any) -> Any:
        """Return the distance of each row to each center, (n_samples, n_clusters), as ``predict``.

        With metric="cosine", 1 − cos, between 0 and 2.
        """
        return self._by_blocks(X, "transform", None, (len(self.to_local().cluster_centers_),))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return minus the (weighted) inertia of X, a dask array or frame or an array in memory."""
        fitted = self.to_local()
        if not hasattr(X, "to_delayed"):
            return float(fitted.score(X, sample_weight=sample_weight))
        from dask.delayed import delayed

        blocks, sent = _blocks_of(X), delayed(fitted, traverse=False)
        heavy: list[Any] = [None] * len(blocks)
        if sample_weight is not None:
            ends = np.cumsum(self._computed([delayed(len)(block) for block in blocks]))
            weights = self._weights(sample_weight, int(ends[-1]))
            if weights is not None:
                heavy = np.split(weights, ends[:-1])
        scores = [
            delayed(_score)(sent, block, weights)
            for block, weights in zip(blocks, heavy, strict=True)
        ]
        return float(sum(self._computed(scores)))

    def to_local(self) -> local.KMeans:
        """Return a fitted ``kmeans_lab.KMeans`` with these centers, without labels."""
        check_is_fitted(self)
        named = isinstance(self.init, str) and self.init != "k-means||"
        fitted = local.KMeans(
            self.n_clusters,
            init=self.init if named or not isinstance(self.init, str) else "k-means++",
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=self.random_state,
            kernel=self.kernel,
            metric=self.metric,
            n_threads=1,
        )
        fitted.cluster_centers_ = copy(self.cluster_centers_)
        fitted.inertia_, fitted.n_iter_ = self.inertia_, self.n_iter_
        fitted.n_features_in_ = self.n_features_in_
        fitted._n_threads = 1
        return fitted

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: all but the client, which is of this process."""
        return super().__getstate__() | {"client": None}  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy with the same client."""
        memo[id(self.client)] = self.client
        copied = type(self).__new__(type(self))
        copied.__dict__.update(deepcopy(self.__dict__, memo))
        return copied

    def __sklearn_clone__(self) -> Self:
        """Return an estimator with the same parameters, unfitted, and the same client."""
        parameters = self.get_params(deep=False)
        return type(self)(
            **{
                name: value if name == "client" else clone(value, safe=False)
                for name, value in parameters.items()
            }
        )

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def _weights(self, sample_weight: Any, n_samples: int) -> Any:
        """Return weights as an array, (n_samples,); None where all are 1."""
        if hasattr(sample_weight, "compute"):
            (sample_weight,) = self._computed([sample_weight])
        # The rows themselves are looked at where they are.
        return checks.weights(sample_weight, np.broadcast_to(np.ones(1), (n_samples, 1)))

    def _relative(self, sample_weight: Any, n_samples: int) -> tuple[Any, int]:
        """Return weights divided by a power of two, and its exponent: their sums stay finite."""
        weights = self._weights(sample_weight, n_samples)
        return (None, 0) if weights is None else relative(weights)

    def _computed(self, delayed: list[Any]) -> Any:
        if self.client is not None:
            return self.client.gather(self.client.compute(delayed))
        from dask.base import compute

        return compute(*delayed)

    def _by_blocks(
        self, X: Any, method: str, dtype: np.dtype[Any] | None, width: tuple[int, ...]
    ) -> Any:
        fitted = self.to_local()
        if not hasattr(X, "to_delayed"):
            return getattr(fitted, method)(X)
        refuse_dimensions(X)
        import dask.array as da
        from dask.delayed import delayed

        if dtype is None:  # of a frame it is not known: that of most
            own = getattr(X, "dtype", np.dtype(np.float64))
            dtype = np.result_type(self.cluster_centers_, np.float32, own)
        sent = delayed(fitted, traverse=False)
        heights = X.chunks[0] if hasattr(X, "chunks") else [np.nan] * X.npartitions
        return da.concatenate(
            [
                da.from_delayed(
                    delayed(_apply)(sent, method, block, dtype, width), (n, *width), dtype
                )
                for block, n in zip(_blocks_of(X), heights, strict=True)
            ],
            allow_unknown_chunksizes=True,
        )


def _blocks_of(X: Any) -> list[Any]:
    """Return delayed blocks of whole rows."""
    whole = X.rechunk({1: -1}) if hasattr(X, "rechunk") else X
    found: list[Any] = np.asarray(whole.to_delayed(), dtype=object).ravel().tolist()
    return found


def _apply(
    fitted: local.KMeans, method: str, block: Any, dtype: np.dtype[Any], width: tuple[int, ...]
) -> Any:
    """Call a method of rows; of none, return none."""
    rows = tasks.load(block)
    if len(rows) == 0:
        return np.empty((0, *width), dtype)
    return np.asarray(getattr(fitted, method)(rows), dtype)


def _score(fitted: local.KMeans, block: Any, weights: Any) -> float:
    rows = tasks.load(block)
    if len(rows) == 0 or not (weights is None or weights.any()):
        return 0.0
    return float(fitted.score(rows, sample_weight=weights))


def _in_blocks(rows: ClusterRows, futures: Any, X: Any) -> Any:
    """Return labels on workers as a dask array, in the blocks of X where it says how large."""
    import dask.array as da

    sizes = np.diff(rows.ends, prepend=0).tolist()
    parts = zip(futures, sizes, strict=True)
    labels = da.concatenate([da.from_delayed(future, (n,), np.int32) for future, n in parts])
    chunks = getattr(X, "chunks", ((np.nan,),))[0]
    return labels.rechunk((chunks,)) if np.all(np.array(chunks) > 0) else labels
