"""``kmeans_lab.KMeans``: scikit-learn's estimator on kmeans_lab's kernels. Needs the extra sklearn.

The same names, defaults, attributes and messages as ``sklearn.cluster.KMeans`` of scikit-learn 1.9,
and three keyword-only parameters more: the kernel, the number of threads and the metric.
"""

import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from kmeans_lab import checks
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.driver import Run, kmeans
from kmeans_lab.estimators.base import BaseKMeans
from kmeans_lab.estimators.callbacks import Callbacks, FitTasks, Fitted, fitted
from kmeans_lab.estimators.streamed import mean_of, opened, rows_or_stream
from kmeans_lab.estimators.taking import Rows, usual_threads
from kmeans_lab.kernel import Array, read_only
from kmeans_lab.metric import exponent_of
from kmeans_lab.registry import find_spec
from kmeans_lab.result import Iteration
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.reading import as_scipy, is_sparse
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.stopping import Step
from kmeans_lab.weights import absolute, relative, warn_of_overflow

_SMALL = 200_000  # n·k·d: with less, starting a thread takes longer than it helps


@dataclass(frozen=True, slots=True)
class Strict:
    """scikit-learn's rule: no label changed, or the squared shift ≤ tol · mean variance."""

    tol: float
    voice: "_Voice | None" = None
    tasks: FitTasks | None = None
    name: str = "strict"
    needs_changed: bool = True

    @property
    def needs_centers(self) -> bool:
        """Whether callbacks look at them."""
        return self.tasks is not None

    def fired(self, step: Step) -> bool:
        """Return True when no label changed, or the centers hardly moved."""
        near = self.tol * step.variance
        rest = step.changed == 0
        converged = rest or step.moved_within(near)
        if self.voice is not None and converged:
            shift = step.squared_shift()
            why = "strict convergence" if rest else f"center shift {shift} within tolerance {near}"
            print(f"Converged at iteration {self.voice.iteration}: {why}.")
        if self.tasks is not None:
            return self.tasks.iterated(step, last=converged) or converged
        return converged

    def begin(self) -> None:
        """Tell the callbacks that a repetition begins."""
        if self.tasks is not None:
            self.tasks.begin()

    def end(self, run: Run) -> bool:
        """Tell the callbacks what a repetition found; return True where one ends the fit."""
        return self.tasks is not None and self.tasks.end(run)


class _Voice:
    """Prints what scikit-learn's ``verbose`` prints."""

    iteration = 0

    def __init__(self, exponent: int) -> None:
        self._exponent = exponent  # kmeans sees weights relative to a power of two

    def told(self, it: Iteration) -> None:
        """Say how an iteration went."""
        self.iteration = it.n_iter - 1
        if it.n_iter == 1:
            print("Initialization complete")
        print(f"Iteration {self.iteration}, inertia {absolute(it.inertia, self._exponent)}.")


class KMeans(Callbacks, BaseKMeans):
    """K-means clustering: a drop-in for ``sklearn.cluster.KMeans``.

    Parameters
    ----------
    n_clusters : int, default=8
        Clusters to form.
    init : {"k-means++", "random"}, callable or array-like of shape (n_clusters, n_features)
        Starting centers, default "k-means++" (greedy). A callable is given X, n_clusters and
        ``random_state``.
    n_init : "auto" or int, default="auto"
        Repetitions, of which the lowest inertia wins; "auto" is 1 for "k-means++" and arrays, 10
        for "random" and callables.
    max_iter : int, default=300
        Iterations at most, each repetition.
    tol : float, default=1e-4
        Squared movement of the centers that ends a repetition, relative to the mean variance of
        the features. A repetition also ends when no label changes.
    verbose : int, default=0
        Above 0, print each iteration.
    random_state : int, RandomState instance or None, default=None
        Source of the starting centers.
    copy_x : bool, default=True
        Accepted; X is never modified.
    algorithm : {"lloyd", "elkan"}, default="lloyd"
        Accepted; kernels skip distances that cannot matter in either case.
    kernel : str, default="auto"
        A key of ``kmeans_lab.KERNELS``; "auto" is the fastest one that is available.
    n_threads : int, optional
        Threads; default all cores that this process may use, fewer if OMP_NUM_THREADS says so.
    metric : {"euclidean", "cosine"}, default="euclidean"
        "cosine": spherical k-means (see ``kmeans_lab.metric``). All methods take rows of any length
        but zero and compare their directions; ``tol`` refers to rows scaled to length 1, which a
        callable ``init`` is given.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of X
        With metric="cosine", of length 1.
    labels_ : ndarray of shape (n_samples,), int32
    inertia_ : float
        Weighted sum of squared distances to the closest center; with metric="cosine", of 1 − cos.
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X has feature names that are strings.

    Notes
    -----
    ``set_callbacks`` takes callbacks of ``sklearn.callback``, where the installed scikit-learn has
    it: they are told of each iteration and, where n_init > 1, each repetition, and may end it.

    Examples
    --------
    >>> from kmeans_lab import KMeans
    >>> X = [[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]
    >>> fitted = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> float(fitted.inertia_), sorted(fitted.cluster_centers_.tolist())
    (16.0, [[1.0, 2.0], [10.0, 2.0]])
    """

    _repetitions = 10

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseKMeans._parameter_constraints,
        "copy_x": ["boolean"],
        "algorithm": [StrOptions({"lloyd", "elkan"})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        kernel: str = "auto",
        n_threads: int | None = None,
        metric: str = "euclidean",
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.kernel = kernel
        self.n_threads = n_threads
        self.metric = metric

    @_fit_context(prefer_skip_nested_validation=True)
    @checks.numpys_own_errors
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Compute the clustering.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 is kept, everything else becomes float64. Frames, Arrow tables and tensors are
            taken, and sparse matrices of SciPy: CSR as they are, other formats converted. Or rows
            that are not an array (``kmeans_lab.rows``): they are read once, or block by block in
            each pass where half of the free memory does not hold them, to the same bits.
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts, ≥ 0.

        Returns
        -------
        self
        """
        source = opened(X)
        more: dict[str, Any] = {}
        if source is not None:
            X, room = rows_or_stream(source, self.metric)
        if isinstance(X, StreamedRows):
            X, more = self._named(X, reset=True), {"mode": "stream", "memory": room}
        elif is_sparse(X):
            X = self._sparse(X, reset=True)
        else:
            X, _ = self._matrix(self._numbers(X, reset=True), reset=True)
        X = self._compared(X)
        init, self._n_init = self._start(X)
        weights, n_clusters = self._weights(sample_weight, X), self._count("n_clusters")
        # Sums of huge weights overflow, and could not be compared: kmeans sees them relative.
        shares, exponent = (None, 0) if weights is None else relative(weights)
        if self.algorithm == "elkan" and n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=2,
            )
        state, voice = (
            check_random_state(self.random_state),
            _Voice(exponent) if self.verbose else None,
        )
        tasks = self._tasks(X, y, weights, exponent)
        if isinstance(init, str):
            seed = state.randint(2**32, size=4, dtype=np.uint32)
        else:
            seed = np.zeros(1, np.uint32)  # nothing is drawn, so that the state stays as it is
        result = kmeans(
            source if more else X,
            n_clusters,
            init=init if isinstance(init, (str, np.ndarray)) else self._adapted(init, state),
            max_iter=self._count("max_iter"),
            stop=Strict(float(self.tol), voice, tasks),
            random_state=np.random.default_rng(seed),
            sample_weight=shares,
            callback=None if voice is None else voice.told,
            n_init=self._n_init,
            metric=self.metric,
            **more,
            **self._who_computes(X, n_clusters),
        )
        distinct = np.count_nonzero(np.bincount(result.labels, minlength=n_clusters))
        if distinct < n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters "
                f"({n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=2,
            )
        inertia = warn_of_overflow(absolute(result.inertia, exponent))
        attributes = fitted(result.centers, result.labels, inertia, result.n_iter)
        for name, value in attributes.items():
            setattr(self, name, value)
        if tasks is not None:
            tasks.finish()
        return self

    def _adapted(self, init: Any, state: np.random.RandomState) -> Any:
        """Return scikit-learn's kind of init function as kmeans_lab's: it is given X centered.

        With cosine it is given X as it is: directions from the mean are others.
        """
        centered = self.metric == "euclidean"

        def start(X: Any, n_clusters: int, rng: np.random.Generator) -> Array:
            if is_sparse(X):
                return self._fitting(init(X, n_clusters, random_state=state), X)
            if isinstance(X, StreamedRows):  # which the callable slices like an array
                mean = mean_of(X) if centered else np.zeros(X.shape[1], X.dtype)
                shown = X.relative_to(mean)
            else:
                mean = X.mean(axis=0) if centered else np.zeros(X.shape[1], X.dtype)
                shown = X - mean
            centers = init(shown, n_clusters, random_state=state)
            return np.asarray(self._fitting(centers, X) + mean)

        return start

    def _tasks(
        self, X: Rows, y: Any, weights: NDArray[np.float64] | None, exponent: int
    ) -> FitTasks | None:
        """Return the fit's tasks; None where no callback is set."""
        if not getattr(self, "_skl_callbacks", None):
            return None

        def fitted_after(step: Step, n_iter: int) -> Fitted:
            centers = step.new + middle_and_variance(X)[0]  # steps are relative to the middle
            labels = self._assigned(X, centers)
            return fitted(centers, labels, self._inertia(X, centers, labels, weights), n_iter)

        metadata = None if weights is None else {"sample_weight": read_only(weights)}
        shown: Any = as_scipy(X) if isinstance(X, SparseRows) else X
        shown = read_only(X) if isinstance(X, np.ndarray) else shown
        told = {"X": shown, "y": y, "metadata": metadata}  # they see, and change nothing
        return FitTasks(
            self, self._n_init, fitted_after, exponent + exponent_of(self.metric), **told
        )

    def _who_computes(self, X: Rows, n_clusters: int) -> dict[str, Any]:
        """Return the kernel and n_threads of ``kmeans``."""
        name, values = self._kernel_name(X), X.n_values if isinstance(X, SparseRows) else X.size
        if self.n_threads is not None:
            return {"kernel": self.kernel, "n_threads": self._count("n_threads")}
        takes = ("own",) if isinstance(X, StreamedRows) else ("own", "nogil")
        helps = values * n_clusters > _SMALL and find_spec(name).threading in takes
        return {"kernel": self.kernel, "n_threads": usual_threads() if helps else 1}
