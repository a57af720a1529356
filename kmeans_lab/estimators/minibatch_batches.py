"""Draw the rows of starts and batches, and decide after which batch a fit ends."""

import warnings
from collections.abc import Iterator
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.estimators.taking import Rows
from kmeans_lab.numerics.magnitudes import largest_of
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.weights import relative


def batches(
    rows: int | NDArray[np.intp], size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Yield batches of one size for ever, cut from permutations of the rows.

    Each pass has every row once. Drawn with replacement, rows leave the same number of batches with
    an inertia up to 1 % higher: 300 points, batches of 50, three passes: 0.45 ± 0.09 % (40 seeds).
    Never lower: on six other data sets the difference was smaller, or within its error.
    """
    left = np.empty(0, dtype=np.intp)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(rows)])
        yield left[:size]
        left = left[size:]


def some_rows(
    n_samples: int,
    size: int,
    n_clusters: int,
    rng: np.random.Generator,
    weights: NDArray[np.float64] | None,
) -> NDArray[np.intp]:
    """Draw rows to start from, none twice: those that count, and others where these are too few."""
    if weights is None:
        return rng.choice(n_samples, size, replace=False)
    drawn = rng.permutation(np.flatnonzero(weights))[:size]
    others = rng.permutation(np.flatnonzero(weights == 0))
    return np.concatenate([drawn, others[: max(0, n_clusters - len(drawn))]])


def shares_of(weights: NDArray[np.float64] | None, rows: Any) -> NDArray[np.float64] | None:
    """Return the weights of some rows, relative to the largest of them."""
    if weights is None:
        return None
    return relative(weights[rows])[0]


def start_size(init_size: int | None, batch_size: int, n_clusters: int, n_samples: int) -> int:
    """Return how many rows a start is drawn from, by scikit-learn's rule."""
    if init_size is None:
        wanted = 3 * batch_size if 3 * batch_size >= n_clusters else 3 * n_clusters
    elif init_size >= n_clusters:
        wanted = init_size
    else:
        warnings.warn(
            f"init_size={init_size} should be larger than n_clusters={n_clusters}. Setting it to "
            "min(3*n_clusters, n_samples)",
            RuntimeWarning,
            stacklevel=5,
        )
        wanted = 3 * n_clusters
    return min(int(wanted), n_samples)


def taken(X: Rows, rows: NDArray[np.intp]) -> Any:
    """Return some rows of X, as a copy."""
    if isinstance(X, StreamedRows):
        found = X[rows]
        if not isfinite(largest_of(found)):
            raise ValueError(
                f"{X.name} has returned values that are not finite and were finite at first; it "
                "must return the same rows each time"
            )
        return found
    return X.take(rows) if isinstance(X, SparseRows) else X.take(rows, axis=0)


class Patience:
    """scikit-learn's two rules: hardly any movement, or no new low of the smoothed inertia.

    Parameters
    ----------
    newest : float
        Share of the newest batch in the average, which weakens exponentially.
    n_steps : int
        Batches at most, to be printed.
    least_movement : float
        A squared movement of the centers that is small enough; 0 disables this rule.
    longest : int or None
        Batches in a row without a new low.
    settled : int
        The first batch after which starved centers have been moved: those up to it do not count.
    loud : bool
        Print each batch.
    """

    def __init__(
        self,
        newest: float,
        n_steps: int,
        least_movement: float,
        longest: int | None,
        settled: int,
        loud: bool,
    ) -> None:
        self.smoothed = np.inf
        self._newest, self._n_steps = newest, n_steps
        self._least_movement, self._longest, self._loud = least_movement, longest, loud
        self._settled, self._lowest, self._idle = settled, np.inf, 0

    def ended(self, step: int, inertia: float, moved: float) -> bool:
        """Return True when the fit should end after a batch of this mean inertia."""
        # The first batch only reflects the start: the average begins with the second.
        newest = 1.0 if step <= 2 else self._newest
        self.smoothed = inertia if newest == 1 else (1 - newest) * self.smoothed + newest * inertia
        where = f"step {step}/{self._n_steps}"
        rest = "" if step == 1 else f", ewa inertia: {self.smoothed}"
        self._say(f"Minibatch {where}: mean batch inertia: {inertia}{rest}")
        if step == 1:
            return False
        if self._least_movement > 0 and moved <= self._least_movement:
            self._say(f"Converged (small centers change) at {where}")
            return True
        waiting = step > self._settled and self.smoothed >= self._lowest
        self._idle = self._idle + 1 if waiting else 0
        self._lowest = min(self._lowest, self.smoothed)
        if self._longest is not None and self._idle >= self._longest:
            self._say(f"Converged (lack of improvement in inertia) at {where}")
            return True
        return False

    def _say(self, text: str) -> None:
        if self._loud:
            print(text)
