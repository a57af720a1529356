"""Centers that are running means of a kernel's sums, for mini-batch k-means.

Sculley, "Web-scale k-means clustering", WWW 2010. A kernel assigns a batch, and each center moves
to the mean of all rows that it was ever given. The sums of these rows are kept, so that a center is
one division away from them. A learning rate of 1/count, which is the same on paper, rounds again
with each batch.
"""

from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import Centered, Samples, columns_that_lose
from kmeans_lab.crews.base import Crew, Job
from kmeans_lab.crews.serial import SerialCrew
from kmeans_lab.kernel import Array, Labels, read_only
from kmeans_lab.metric import Directions, exponent_of
from kmeans_lab.numerics.grids import Grid, in_steps, shares
from kmeans_lab.numerics.moments import moments_of
from kmeans_lab.registry import find_spec, load_kernel, load_sparse, sparse_spec
from kmeans_lab.seeding import keep_best, squared_distances
from kmeans_lab.sparse.numerics import plain_squares, squared_lengths
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.weights import Weighting, absolute

Floats = NDArray[np.float64]
Weights = Floats | None

#: Rows per cluster between two looks for starved centers: enough to tell starved from small. With
#: scikit-learn's 10, clusters of a tenth of the usual size lost their centers.
ROWS_BETWEEN_LOOKS = 100

#: Multiply-adds of a batch with all centers from which it pays to remember what a pass has found.
_WORTH_REMEMBERING = 1 << 19


class Taken(NamedTuple):
    """What is known of a batch that was taken."""

    inertia: float  # (weighted), before the centers moved
    crew: Crew | None = None  # whose rows remember how much nearer their center was than any other


class RunningMeans:
    """Centers, each the mean of all rows that it was given since it began.

    Parameters
    ----------
    kernel : str
        A key of ``KERNELS``.
    centers : ndarray of shape (n_clusters, n_features)
        Where they begin. They count as no row: a center's first rows decide where it goes.
    middle : ndarray of shape (n_features,)
        Somewhere in the data: what is added up is relative to it, and loses no digits to an offset.
        ``spare_small_values`` checks whether rows lose any to it.
    metric : {"euclidean", "cosine"}
        With "cosine", rows and centers have length 1: means are scaled where they are taken.
    """

    _metric = "euclidean"  # of what 0.1.0 has pickled

    def __init__(
        self, kernel: str, centers: Array, middle: Array, metric: str = "euclidean"
    ) -> None:
        self.kernel = kernel
        self._metric = metric
        self._middle = middle.astype(centers.dtype)
        self._near = np.ascontiguousarray(centers - self._middle)
        self._sums = np.zeros(centers.shape)
        self._mass = np.zeros(len(centers))
        # Sums and mass of a center count in units of 2 to this power: what weighs little beside
        # another center is not lost.
        self._exponents = np.zeros(len(centers), dtype=np.int64)
        self._lately = np.zeros(len(centers))  # mass since the last look
        self._latest = 0  # exponent of its unit
        self._since = 0

    def __len__(self) -> int:
        """Return the number of centers."""
        return len(self._near)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the centers."""
        return self._near.dtype

    @property
    def centers(self) -> Array:
        """(n_clusters, n_features), in the coordinates of the rows."""
        return np.ascontiguousarray(self._near + self._middle)

    @centers.setter
    def centers(self, centers: Array) -> None:
        """Move the centers; each counts as the mean of as many rows as before."""
        self._forget()
        self._near = np.ascontiguousarray(centers - self._middle, dtype=self._near.dtype)
        self._sums = self._near * self._mass[:, None]

    def _forget(self) -> None:
        """Forget what is known of the centers: they are about to be others."""

    def spare_small_values(self, X: Array | SparseRows) -> None:
        """Set the middle to zero in columns where it would cost some value of X digits."""
        if isinstance(X, SparseRows) or not self._middle.any():  # nothing is moved
            return
        measures = "measuring" in find_spec(self.kernel).provides
        kernel: Any = load_kernel(self.kernel) if measures else None
        columns = columns_that_lose(X, self._middle, moments_of(X, kernel))
        if len(columns) == 0:
            return
        middle = self._middle[columns]
        self._near[:, columns] += middle
        self._sums[:, columns] += self._mass[:, None] * middle
        self._middle[columns] = 0

    def take(self, X: Array | SparseRows, weights: Weights = None, n_threads: int = 1) -> Taken:
        """Assign a batch and move the centers.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            C-contiguous, of the dtype of the centers.
        weights : ndarray of shape (n_samples,), float64, optional
            How much each row counts, ≥ 0.
        n_threads : int, default=1
            For kernels that have threads of their own.
        """
        rows = self._rows(X)
        sparse = isinstance(X, SparseRows)
        weighting = None if weights is None else Weighting(weights)
        spec = sparse_spec(self.kernel) if sparse else find_spec(self.kernel)
        job = Job(
            load_sparse(self.kernel) if sparse else _for_batches(self.kernel),
            self.kernel,
            spec,
            rows,
            len(self._near),
            weighting=weighting,
            n_threads=n_threads if spec.threading == "own" else 1,
            weighs_inertia=True,
        )
        crew = SerialCrew(job)
        found = crew.assign_update(read_only(np.ascontiguousarray(self._near)))
        self._add(crew.sums, crew.counts, crew.exponent)
        self._take_means()
        self._since += len(X)
        inertia = absolute(found.inertia, crew.exponent + exponent_of(self._metric))
        pays = not sparse and X.size * len(self._near) >= _WORTH_REMEMBERING
        remembers = pays and getattr(crew.prepared, "engine", None) == "bound per row"
        return Taken(inertia, crew if remembers else None)

    def look_again(self, crew: Crew, centers: Array) -> tuple[Labels, float]:
        """Return the labels and the (weighted) inertia of a batch by ``centers``, as they are now.

        Most rows are near their center still, by what the crew of ``take`` remembers of them.
        """
        near = read_only(centers - self._middle if self._middle.any() else centers)
        crew.settle(near)
        inertia = crew.inertia(near, crew.labels)
        return crew.labels, absolute(inertia, crew.exponent + exponent_of(self._metric))

    def _take_means(self) -> None:
        if self._metric == "euclidean" and self._mass.all():  # without a copy of all sums
            np.divide(self._sums, self._mass[:, None], out=self._near, casting="same_kind")
            return
        given = self._mass > 0
        means = self._sums[given] / self._mass[given, None]
        if self._metric == "euclidean":
            self._near[given] = means
            return
        old = self._near[given]
        new = np.empty_like(old)
        Directions(len(means), self._middle, 0).scale(means, old, new)
        self._near[given] = new

    def _add(self, sums: NDArray[np.float64], mass: NDArray[Any], exponent: int) -> None:
        """Add what the batch gave, in the larger of both units: nothing overflows."""
        given: NDArray[Any] = mass
        if exponent != 0 or self._exponents.any():
            self._exponents[self._mass == 0] = exponent
            up = np.where(mass > 0, exponent - self._exponents, 0)
            mine, its = -up.clip(min=0), up.clip(max=0)
            self._exponents -= mine
            self._sums, self._mass = np.ldexp(self._sums, mine[:, None]), np.ldexp(self._mass, mine)
            sums, given = np.ldexp(sums, its[:, None]), np.ldexp(mass.astype(np.float64), its)
        self._sums += sums
        self._mass += given
        rise = exponent - self._latest
        if rise > 0:
            self._lately, self._latest = np.ldexp(self._lately, -rise), exponent
        self._lately += mass if rise >= 0 else np.ldexp(mass.astype(np.float64), rise)

    def restart_starved(
        self, ratio: float, X: Array | SparseRows, rng: np.random.Generator, weights: Weights = None
    ) -> int:
        """Move centers that got too few rows to rows of the batch, now and then.

        Parameters
        ----------
        ratio : float
            A center with less than this share of the rows of the largest one, since the last look,
            is starved.
        X : ndarray of shape (n_samples, n_features)
            The batch that was taken last.
        rng : numpy.random.Generator
            Draws the rows.
        weights : ndarray of shape (n_samples,), float64, optional
            Those of the batch.

        Returns
        -------
        int
            How many centers were moved: 0 unless a hundred rows per cluster came since the last
            look.

        Notes
        -----
        The rows are those that greedy k-means++ would choose next, given the other centers.
        scikit-learn draws all rows alike, wherever a center is already. It counts rows since the
        beginning, so that a center that gets none any more stays where it is. And where a center
        has no row yet, it checks after each batch: with small batches that throws good starts away.
        """
        if self._since < ROWS_BETWEEN_LOOKS * len(self._near):
            return 0
        lately, self._lately, self._since = self._lately, np.zeros(len(self._near)), 0
        starved = lately < ratio * lately.max()
        starved[lately.argmax()] = False
        # At most half of the batch: as many centers as rows would fit it, and nothing else.
        poorest = np.argsort(lately, kind="stable")[: min(np.count_nonzero(starved), len(X) // 2)]
        if len(poorest) == 0:
            return 0
        others = np.delete(np.arange(len(lately)), poorest)
        drawn = self._next_rows(X, others, len(poorest), rng, weights)
        begun = poorest[: len(drawn)]
        self._forget()
        self._near[begun] = self._rows(X)[drawn]
        self._sums[begun] = self._mass[begun] = 0
        return len(begun)

    def _next_rows(
        self,
        X: Array | SparseRows,
        others: NDArray[np.intp],
        n_rows: int,
        rng: np.random.Generator,
        weights: Weights,
    ) -> list[int]:
        """Draw candidates by their squared distance to the other centers; keep the best of each."""
        near: Any = self._rows(X)[:]
        nearest, lengths = self._apart(near, others)
        # A row that lies off a center by rounding alone is that center.
        nearest[nearest <= (8 * np.finfo(X.dtype).eps) ** 2 * lengths] = 0
        worth = np.ones(len(X)) if weights is None else weights / weights.max()
        drawn: list[int] = []
        trials = np.empty((2 + int(np.log(len(self._near))), len(X)))
        while len(drawn) < n_rows and (largest := (nearest * worth).max()) > 0:
            weigh = partial(_shares_of, worth, largest)
            share = weigh(nearest)
            grid = in_steps(share, Grid())[2]
            rows = rng.choice(len(X), len(trials), p=shares(share))
            drawn.append(keep_best(near, rows, nearest, trials, weigh, grid))
        return drawn

    def _apart(self, near: Any, others: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return the squared distance of each row to the nearest of some centers, and its length.

        Both for each of the rows, (n_samples,).
        """
        labels: Labels = np.empty(len(near), dtype=np.int32)
        kept = np.ascontiguousarray(self._near[others])
        if isinstance(near, SparseRows):
            load_sparse(self.kernel).assign(near, kept, labels)
            return plain_squares(near, kept, labels), squared_lengths(near)
        load_kernel(self.kernel).assign(near, kept, labels)
        points, wide = near.astype(np.float64), kept.astype(np.float64)
        return _squares(points - wide[labels]), _squares(points)

    def _rows(self, X: Array | SparseRows) -> Samples:
        if isinstance(X, SparseRows) or not self._middle.any():
            return X
        return Centered(X, self._middle)


def _shares_of(
    worth: NDArray[np.float64], largest: float, distances: NDArray[np.float64]
) -> NDArray[np.float64]:
    return distances * worth / largest


def _squares(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's squared length, the same bits on every machine."""
    origin = np.zeros((1, rows.shape[1]))
    return np.ravel(squared_distances(rows, origin, np.empty((1, len(rows)))))


def _for_batches(name: str) -> Any:
    """Return a kernel as it is best used for rows that are seen once."""
    kernel: Any = load_kernel(name)
    if not find_spec(name).balls:
        return kernel
    # To find neighbours takes as long as all else: 72 µs instead of 36 for 1024 × 16, k = 64.
    return SimpleNamespace(
        assign=kernel.assign,
        update=kernel.update,
        assign_update=kernel.assign_update,
        inertia=kernel.inertia,
        prepare=partial(kernel.prepare, balls=False),
    )
