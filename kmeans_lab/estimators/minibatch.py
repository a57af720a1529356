"""``kmeans_lab.MiniBatchKMeans``: scikit-learn's estimator of that name, on kmeans_lab's kernels.

The same names, defaults, attributes and messages as ``sklearn.cluster.MiniBatchKMeans`` of
scikit-learn 1.9, and two keyword-only parameters more: the kernel and the metric.
"""

from contextlib import nullcontext
from math import ceil, isfinite
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from kmeans_lab import checks
from kmeans_lab.centering import columns_that_lose, middle_and_variance
from kmeans_lab.crews.base import Crew
from kmeans_lab.crews.blas import one_blas_thread
from kmeans_lab.crews.forks import generation, refuse_elsewhere
from kmeans_lab.estimators.base import BaseKMeans, checked_at_first
from kmeans_lab.estimators.minibatch_batches import (
    Patience,
    batches,
    shares_of,
    some_rows,
    start_size,
    taken,
)
from kmeans_lab.estimators.minibatch_columns import running_means
from kmeans_lab.estimators.minibatch_means import ROWS_BETWEEN_LOOKS, Taken
from kmeans_lab.estimators.streamed import measuring, opened, rows_or_stream, whole_batch
from kmeans_lab.estimators.taking import Rows
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.moments import Moments
from kmeans_lab.registry import find_spec
from kmeans_lab.rows.checked import streamed_samples
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.seeding import INITS
from kmeans_lab.sparse.reading import as_scipy, is_sparse
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.weights import absolute, relative, warn_of_overflow

Weights = NDArray[np.float64] | None

#: Multiply-adds of a batch with all centers from which a second thread, woken for it, helps.
_LARGE_BATCH = 1 << 22


class MiniBatchKMeans(BaseKMeans):
    """Mini-batch k-means clustering: a drop-in for ``sklearn.cluster.MiniBatchKMeans``.

    Each batch is assigned, and each center moves to the mean of all rows that it was ever given
    (Sculley, "Web-scale k-means clustering", WWW 2010).

    Parameters
    ----------
    n_clusters : int, default=8
        Clusters to form.
    init : {"k-means++", "random"}, callable or array-like of shape (n_clusters, n_features)
        Starting centers, default "k-means++" (greedy), drawn from ``init_size`` rows. A callable
        is given these rows, n_clusters and ``random_state``.
    max_iter : int, default=100
        Maximum number of rows, in passes over X.
    batch_size : int, default=1024
        Rows in a batch. Large ones are shared by as many threads as ``predict`` takes, with the
        same bits.
    verbose : int, default=0
        Above 0, print each batch.
    compute_labels : bool, default=True
        Assign all rows at the end. Without that, ``inertia_`` is extrapolated from the batches.
    random_state : int, RandomState instance or None, default=None
        Source of starting centers, batches and reassignments.
    tol : float, default=0.0
        Squared movement of the centers in one batch that ends the fit, relative to the mean
        variance of the features; 0 disables this rule.
    max_no_improvement : int or None, default=10
        Batches in a row without a new low of the smoothed inertia that end the fit.
    init_size : int, optional
        Rows that the start is drawn from; default three batches, or 3 · n_clusters if that is more
        than three batches have.
    n_init : "auto" or int, default="auto"
        Starts that are drawn, of which the best on ``init_size`` rows is used; "auto" is 1 for
        "k-means++" and arrays, 3 for "random" and callables.
    reassignment_ratio : float, default=0.01
        A center with less than this share of the rows of the largest one is moved elsewhere.
    kernel : str, default="auto"
        A key of ``kmeans_lab.KERNELS``; "auto" is the fastest one that is available.
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine": spherical k-means (see ``kmeans_lab.metric``): each center is the mean of all rows
        that it was ever given, scaled to length 1 as they were. All methods take rows of any
        length but zero.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of X
        With metric="cosine", of length 1.
    labels_ : ndarray of shape (n_samples,), int32
        With ``compute_labels``.
    inertia_ : float
        Weighted sum of squared distances to the closest center; with metric="cosine", of 1 − cos.
    n_iter_ : int
        Number of passes over X that were begun, by the rows taken.
    n_steps_ : int
        Batches.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X has feature names that are strings.

    Notes
    -----
    What is not as in scikit-learn, and why:

    - Batches are cut from permutations of the rows, not drawn with replacement: better by up to
      1 % (``kmeans_lab.estimators.minibatch_batches``). A row's weight counts where it is added up.
    - Centers are kept as sums in float64: they lose no digits from batch to batch.
    - Which centers are starved, and where they are moved: see
      ``kmeans_lab.estimators.minibatch_means``.

    Examples
    --------
    >>> from kmeans_lab import MiniBatchKMeans
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> fitted = MiniBatchKMeans(n_clusters=2, random_state=0).fit(X)
    >>> float(fitted.inertia_), sorted(fitted.cluster_centers_.tolist())
    (16.0, [[1.0, 2.0], [10.0, 2.0]])
    """

    _repetitions = 3

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseKMeans._parameter_constraints,
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "compute_labels": ["boolean"],
        "max_no_improvement": [Interval(Integral, 0, None, closed="left"), None],
        "init_size": [Interval(Integral, 1, None, closed="left"), None],
        "reassignment_ratio": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: Any = "auto",
        reassignment_ratio: float = 0.01,
        kernel: str = "auto",
        metric: str = "euclidean",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.kernel = kernel
        self.metric = metric

    # Signatures and docstrings are written out for each method: help() and scikit-learn
    # read them there.
    @_fit_context(prefer_skip_nested_validation=True)
    @checks.numpys_own_errors
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Compute the clustering from batches of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 is kept, everything else becomes float64. Frames, Arrow tables and tensors are
            taken, and sparse matrices of SciPy: CSR as they are, other formats converted. Or rows
            that are not an array (``kmeans_lab.rows``): where half of the free memory does not hold
            them, they are read once at first and once for the labels, and batches in between.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts, ≥ 0.

        Returns
        -------
        self
        """
        if (source := opened(X)) is not None:
            X, room = rows_or_stream(source, self.metric)
        moments = None
        if isinstance(X, StreamedRows):
            X, moments = self._looked_at(X, room)
            weights = self._weights(sample_weight, X)
        else:
            X, weights = self._given(X, sample_weight, reset=True)
        self._begin(X, weights, moments=moments)
        smoothed = self._descend(X, weights, moments)
        if hasattr(self, "labels_"):  # of an earlier fit
            del self.labels_
        shares, exponent = (np.ones(len(X)), 0) if weights is None else relative(weights)
        self.inertia_ = absolute(smoothed * float(shares.sum()), exponent)
        self._finish(X, weights)
        if isinstance(X, StreamedRows):
            X.check()  # batches do not
        return self

    @checked_at_first
    @checks.numpys_own_errors
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Update the centers by one batch; the first one also provides the starting centers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The batch. The first one has at least n_clusters rows, and its dtype is kept. Rows that
            are not an array (``kmeans_lab.rows``) are read at once, if memory holds them.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts, ≥ 0.

        Returns
        -------
        self
        """
        first = not hasattr(self, "_means")
        if (source := opened(X)) is not None:
            X = whole_batch(source)
        X, weights = self._given(X, sample_weight, reset=first)
        given = self._given_centers(X) if hasattr(self, "cluster_centers_") else None
        if first:
            self._begin(X, weights, given)
            self.n_steps_ = 0
        elif given is not None and (given != self._means.centers).any():
            self._means.centers = given
        if not first:
            self._means.spare_small_values(X)
        with self._undisturbed():
            found = self._take(X, weights)
        self.n_steps_ += 1
        self._finish(X, weights, found.crew)
        return self

    @checks.numpys_own_errors
    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> NDArray[np.int32]:
        """Return the closest cluster of each row after ``fit(X)``: shape (n_samples,), int32."""
        self.fit(X, sample_weight=sample_weight)
        return np.asarray(self.labels_ if self.compute_labels else self.predict(X))

    def _given(
        self, X: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[Array | SparseRows, Weights]:
        """Return the rows and their weights, checked; no weights where all are 1."""
        kinds = [np.float64, np.float32] if reset else [self._means.dtype]
        if is_sparse(X):
            X = self._sparse(X, reset=reset, dtypes=kinds)
        else:
            X, largest = self._matrix(self._numbers(X, reset=reset), reset=reset, dtypes=kinds)
            if X.dtype not in find_spec(self._kernel_name()).dtypes:
                X = X.astype(np.float64)
            if not isfinite(largest):
                checks.finite(X, "X")  # scikit-learn may be configured to assume it
            if self.metric == "euclidean":
                checks.refuse_magnitudes(largest, X)
        X = self._compared(X)
        return X, self._weights(sample_weight, X)

    def _looked_at(self, X: StreamedRows, room: int) -> tuple[StreamedRows, Moments]:
        """Return rows that are read when they are taken, and their moments, from a look at all."""
        self._named(X, reset=True)
        able = find_spec(self._kernel_name()).dtypes
        threads = self._threads(X.size)
        return streamed_samples(X.source, able, measuring(), threads, self.metric, room)

    def _given_centers(self, X: Rows) -> Array:
        """Return the centers to go on from: they or n_clusters may have been set by hand."""
        centers, n_clusters = self._centers(X), self._count("n_clusters")
        counted = len(self._means) if hasattr(self, "_means") else n_clusters
        if not len(centers) == n_clusters == counted:
            raise ValueError(
                f"cluster_centers_ has {len(centers)} rows, n_clusters is {n_clusters} and "
                f"rows were counted for {counted} clusters, which must be the same number; begin a "
                "new estimator with init=centers for another one"
            )
        return centers

    def _begin(
        self,
        X: Rows,
        weights: Weights,
        given: Array | None = None,
        moments: Moments | None = None,
    ) -> None:
        """Draw starting centers, the best of n_init; or take those that are given."""
        init, self._n_init = self._start(X) if given is None else (given, 1)
        self._batch_size = min(self._count("batch_size"), len(X))
        wanted = None if self.init_size is None else self._count("init_size")
        n_clusters = self._count("n_clusters")
        self._init_size = start_size(wanted, self._batch_size, n_clusters, len(X))
        state = check_random_state(self.random_state)
        self._rng = np.random.default_rng(state.randint(2**32, size=4, dtype=np.uint32))
        trial = self._some_rows(len(X), weights)
        middle, _ = middle_and_variance(taken(X, trial))
        if not isinstance(X, SparseRows):
            middle[columns_that_lose(X, middle, moments)] = 0
        shares, exponent = (None, 0) if weights is None else relative(weights[trial])
        least = np.inf
        for repetition in range(1, self._n_init + 1):
            centers = self._drawn(init, X, weights, middle, state)
            inertia = 0.0
            if self._n_init > 1 or self.verbose:
                labels = self._assigned(taken(X, trial), centers)
                inertia = self._inertia(taken(X, trial), centers, labels, shares)
            if self.verbose:
                told = absolute(inertia, exponent)
                print(f"Init {repetition}/{self._n_init} with method {init}")
                print(f"Inertia for init {repetition}/{self._n_init}: {told}")
            if inertia < least:
                least, best = inertia, centers
        self._means = running_means(
            self.kernel, best, middle, self.metric, sparse=isinstance(X, SparseRows)
        )

    def _some_rows(self, n_samples: int, weights: Weights) -> NDArray[np.intp]:
        return some_rows(n_samples, self._init_size, self._count("n_clusters"), self._rng, weights)

    def _drawn(
        self, init: Any, X: Rows, weights: Weights, middle: Array, state: np.random.RandomState
    ) -> Array:
        """Return starting centers."""
        rows, n_clusters = self._some_rows(len(X), weights), self._count("n_clusters")
        if isinstance(init, str):
            near, shares = taken(X, rows), shares_of(weights, rows)
            if not isinstance(near, SparseRows):
                near = near - middle
            return np.asarray(INITS[init](near, n_clusters, self._rng, weights=shares) + middle)
        if callable(init):
            begun = generation()
            some = taken(X, rows)
            shown = as_scipy(some) if isinstance(some, SparseRows) else some
            init = init(shown, n_clusters, random_state=state)
            refuse_elsewhere(begun)
        centers = self._fitting(init, X)
        return checks.initial_centers(centers, n_clusters, X, "init", self.metric)

    def _descend(self, X: Rows, weights: Weights, moments: Moments | None) -> float:
        """Take batches until a rule ends the fit; return the smoothed inertia of a row."""
        weights = shares_of(weights, slice(None))
        counting = len(X) if weights is None else np.flatnonzero(weights)
        n_samples = counting if isinstance(counting, int) else len(counting)
        size = min(self._batch_size, n_samples)
        n_steps = self._count("max_iter") * n_samples // size
        newest = min(1.0, 2 * size / (n_samples + 1))
        least = float(self.tol) * middle_and_variance(X, moments)[1] if self.tol > 0 else 0.0
        settled = ceil(ROWS_BETWEEN_LOOKS * len(self._means) / size)
        longest = None if self.max_no_improvement is None else self._count("max_no_improvement", 0)
        loud = bool(self.verbose)
        patience = Patience(newest, n_steps, least, longest, settled, loud)
        drawn = batches(counting, size, self._rng)
        with self._undisturbed():
            for step in range(1, n_steps + 1):
                rows = next(drawn)
                share = None if weights is None else weights[rows]
                before = self._means.centers if least > 0 else None
                inertia = self._take(taken(X, rows), share).inertia
                inertia /= size if share is None else float(share.sum())
                moved = 0.0 if before is None else ((self._means.centers - before) ** 2).sum()
                if patience.ended(step, inertia, float(moved)):
                    break
        self.n_steps_, self.n_iter_ = step, ceil(step * size / n_samples)
        return patience.smoothed

    def _take(self, X: Array | SparseRows, weights: Weights) -> Taken:
        """Take one batch."""
        multiply_adds = X.size * len(self._means)
        n_threads = self._threads(multiply_adds) if multiply_adds >= _LARGE_BATCH else 1
        found = self._means.take(X, weights, n_threads)
        begun = self._means.restart_starved(float(self.reassignment_ratio), X, self._rng, weights)
        if begun and self.verbose:
            print(f"[MiniBatchKMeans] Reassigning {begun} cluster centers.")
        return found

    def _finish(self, X: Rows, weights: Weights, crew: Crew | None = None) -> None:
        """Set the attributes that follow from the centers; the crew is that of the same rows."""
        self.cluster_centers_ = self._means.centers
        if self.compute_labels and crew is not None:
            self.labels_, self.inertia_ = self._means.look_again(crew, self.cluster_centers_)
        elif self.compute_labels:
            self.labels_, self.inertia_ = self._labels_and_inertia(
                X, self.cluster_centers_, weights
            )
        warn_of_overflow(getattr(self, "inertia_", 0.0))  # partial_fit may set none

    def _undisturbed(self) -> Any:
        return one_blas_thread() if find_spec(self._means.kernel).blas else nullcontext()
