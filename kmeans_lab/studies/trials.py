"""Many fits of the same data: held against the best that is known, or judged by their labels.

The study of starts counts with ``Trials``; so can any question of how much luck an answer needs.
``Judge`` compares methods that work in other spaces, or with other centers: what it computes
follows from labels alone, of rows in an array or a sparse matrix.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import ceil, log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import KMeansResult, kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.studies.notebook import Notebook

#: The five ways, as ``kmeans`` calls them.
STARTS = ("random", "random-partition", "first", "d2", "k-means++")
#: As good as the best known: within this share of it. No fit of the study is near the border.
SAME = 1e-6
#: Rows of the silhouette, which looks at all pairs of them.
SAMPLE = 2000
#: A cluster with fewer rows is hardly one.
FEW = 10
#: Until no label changes: whether no center moves is a question of rounding, and of the kernel.
fit_to_rest = partial(kmeans, stop="labels", tol=0, max_iter=1000)


class Fit(NamedTuple):
    """One fit, from its start to where it rests."""

    first: float  # inertia of the starting centers
    inertia: float
    n_iter: int
    spread: float  # smallest distance of two starting centers, of two of the best fit's as unit
    one_each: bool  # every center of the best fit is nearest to one starting center


@dataclass
class Trials:
    """The fits of one set of data; ``best`` has the best known answer to every run.

    Attributes
    ----------
    name, source : str
        What the data are called, and whose they are.
    n_samples, n_clusters : int
    varies : bool
        Every run has data of its own.
    fits : dict of str to list of Fit
        By the name of the start.
    best : list of KMeansResult
    """

    name: str
    source: str
    n_samples: int
    n_clusters: int
    varies: bool
    fits: dict[str, list[Fit]] = field(default_factory=lambda: {name: [] for name in STARTS})
    best: list[KMeansResult] = field(default_factory=list)

    def least(self) -> Array:
        """Return the lowest inertia of every run's data that any fit came to."""
        found = [[it.inertia for it in self.best]]
        found += [[it.inertia for it in fits] for fits in self.fits.values()]
        if self.varies:
            return np.asarray(np.min(found, axis=0))
        return np.full(len(self.best), min(map(min, found)))

    def ratios(self, start: str) -> Array:
        """Return each fit's inertia, with the lowest as unit."""
        fits = self.fits[start]
        return np.array([it.inertia for it in fits]) / self.least()[: len(fits)]

    def first_ratios(self, start: str) -> Array:
        """Return each start's inertia before the first iteration, with the lowest as unit."""
        fits = self.fits[start]
        return np.array([it.first for it in fits]) / self.least()[: len(fits)]

    def found(self, start: str) -> float:
        """Return the share of fits that are as good as the best known."""
        return float((self.ratios(start) <= 1 + SAME).mean())

    def mean(self, start: str, what: str) -> float:
        """Return the mean of an attribute of ``Fit``."""
        return float(np.mean([getattr(it, what) for it in self.fits[start]]))

    def median(self, start: str, what: str) -> float:
        """Return the median of an attribute of ``Fit``."""
        return float(np.median([getattr(it, what) for it in self.fits[start]]))

    def distances(self, start: str) -> float:
        """Return the mean number of distances of a fit, those of its start included."""
        k = self.n_clusters
        seeding = {"d2": k, "k-means++": 1 + (k - 1) * (2 + int(log(k)))}
        per_row = seeding.get(start, 0) + k * self.mean(start, "n_iter")
        return self.n_samples * per_row

    def repetitions(self, start: str) -> int | None:
        """Return how many fits find the best with 99 %; None where no fit did."""
        share = self.found(start)
        if share in (0.0, 1.0):
            return None if share == 0 else 1
        return ceil(log(0.01) / log(1 - share))


def try_starts(
    book: Notebook,
    name: str,
    source: str,
    make: Callable[[int], Array],
    n_clusters: int,
    n_runs: int,
    *,
    varies: bool = False,
) -> Trials:
    """Fit from every start with the seeds 0, 1, …; ``make(seed)`` returns the data.

    The best known is the best of 100 repetitions and of all these fits. A start that draws nothing
    is tried once where the data stay the same.
    """
    trials = Trials(name, source, len(make(0)), n_clusters, varies)
    for seed in book.track(range(n_runs), name, n_runs):
        if varies or seed == 0:
            X = make(seed)
            best = kmeans(X, n_clusters, n_init=100, tol=0.0, random_state=seed)
        trials.best.append(best)
        for start, fits in trials.fits.items():
            if start != "first" or varies or seed == 0:
                fits.append(_fit(X, start, best.centers, seed))
    return trials


def _fit(X: Array, start: str, best: Array, seed: int) -> Fit:
    result = fit_to_rest(X, len(best), init=start, random_state=seed, history=True)
    before = result.history[0]
    apart = between(before.centers, best)
    one_each = len(set(apart.argmin(axis=1).tolist())) == len(best)
    spread = closest(before.centers) / closest(best)
    return Fit(before.inertia, result.inertia, result.n_iter, spread, one_each)


def between(a: Array, b: Array) -> Array:
    """Return all squared distances of the rows of a to those of b: for few rows."""
    return np.asarray(((a[:, None] - b) ** 2).sum(axis=2))


def closest(centers: Array) -> float:
    """Return the smallest distance between two centers."""
    return float(np.sqrt(between(centers, centers)[np.triu_indices(len(centers), 1)].min()))


def same_start(X: Any, n_clusters: int, init: str, seed: int) -> Array:
    """Return the centers that ``kmeans`` starts from, for others to start from them, too."""
    seen: list[Array] = []

    def look(iteration: Any) -> bool:
        seen.append(iteration.centers)
        return True

    kmeans(X, n_clusters, init=init, random_state=seed, callback=look)
    return seen[0]


def sums_of(X: Any, labels: NDArray[Any], n_clusters: int) -> Array:
    """Return the sum of the rows of each cluster, (n_clusters, n_features), in float64."""
    from scipy.sparse import csr_array

    rows = np.arange(len(labels))
    members = csr_array((np.ones(len(rows)), (labels, rows)), shape=(n_clusters, len(rows)))
    sums = members @ X
    return np.asarray(sums.toarray() if hasattr(sums, "toarray") else sums)


def agreement(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the adjusted Rand index of two partitions: 1 the same, 0 by chance."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(one, other))


class Judge:
    """Judges partitions of X.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        No row holds only zeros.
    truth : ndarray of shape (n_samples,), optional
        Where each row comes from: 0, 1, …
    """

    def __init__(self, X: Any, truth: NDArray[Any] | None = None) -> None:
        from sklearn.metrics.pairwise import cosine_distances
        from sklearn.preprocessing import normalize

        self.X, self.truth, self._units = X, truth, normalize(X)
        self._squares = float(
            (X.multiply(X) if hasattr(X, "multiply") else X.astype(float) ** 2).sum()
        )
        rng = np.random.default_rng(0)
        self._sample = np.sort(rng.permutation(X.shape[0])[:SAMPLE])
        self._apart = cosine_distances(X[self._sample])
        np.fill_diagonal(self._apart, 0.0)

    def inertia(self, labels: NDArray[Any]) -> float:
        """Return Σ‖x − m‖², m being the mean of the row's cluster."""
        counts = np.bincount(labels)
        sums = sums_of(self.X, labels, len(counts))
        return self._squares - float(
            (np.square(sums).sum(axis=1)[counts > 0] / counts[counts > 0]).sum()
        )

    def by_angle(self, labels: NDArray[Any]) -> float:
        """Return Σ(1 − cos) of the angle between a row and the mean direction of its cluster."""
        sums = sums_of(self._units, labels, int(labels.max()) + 1)
        return len(labels) - float(np.sqrt(np.square(sums).sum(axis=1)).sum())

    def silhouette(self, labels: NDArray[Any]) -> float:
        """Return the mean silhouette by cosine of ``SAMPLE`` rows, the same ones each time."""
        from sklearn.metrics import silhouette_score

        return float(silhouette_score(self._apart, labels[self._sample], metric="precomputed"))

    def scores(self, labels: NDArray[Any]) -> dict[str, float]:
        """Return everything that can be said of a partition."""
        sizes = np.bincount(labels)
        found = {
            "inertia": self.inertia(labels),
            "Σ(1 − cos)": self.by_angle(labels),
            "silhouette": self.silhouette(labels),
            "largest, %": 100 * float(sizes.max()) / len(labels),
            f"under {FEW} rows": int((sizes < FEW).sum()),
        }
        return found | (self._against_the_truth(labels) if self.truth is not None else {})

    def _against_the_truth(self, labels: NDArray[Any]) -> dict[str, float]:
        from sklearn.metrics import adjusted_rand_score, v_measure_score
        from sklearn.metrics.cluster import contingency_matrix

        table = contingency_matrix(self.truth, labels)
        return {
            "V-measure": float(v_measure_score(self.truth, labels)),
            "adjusted Rand": float(adjusted_rand_score(self.truth, labels)),
            "purity": float(table.max(axis=0).sum() / len(labels)),
        }
