"""Cells of whole calls: shapes and overlaps that no tuning has seen, drawn from a seed.

The seed was written down before the engines that the cells judge were begun.
"""

from dataclasses import dataclass
from math import log, log10

import numpy as np

from kmeans_lab.kernel import Array

SEED = 20261127


@dataclass(frozen=True, slots=True)
class Cell:
    """Blobs of one shape: n_clusters normal clouds around normal centers.

    Attributes
    ----------
    spread : float
        Standard deviation of the centers in each feature, in those of a cloud: 2 overlaps mildly,
        ½ heavily.
    """

    n_samples: int
    n_features: int
    n_clusters: int
    max_iter: int
    spread: float = 2.0

    def __str__(self) -> str:
        return _in_words(self)

    def draw(self) -> tuple[Array, Array]:
        """Return X and starting centers; both follow from the shape."""
        r = np.random.default_rng(self.n_samples)
        c = r.normal(size=(self.n_clusters, self.n_features)) * self.spread
        X = c[r.integers(0, self.n_clusters, self.n_samples)]
        X = X + r.normal(size=(self.n_samples, self.n_features))
        return X, X[r.choice(self.n_samples, self.n_clusters, replace=False)]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """The rows of a file, or n_samples of them drawn with replacement and moved a little.

    The noise has half the standard deviation of each feature, so that two copies of a row are half
    as far from each other as two rows are on average.
    """

    rows: Array
    n_samples: int
    n_clusters: int
    max_iter: int = 20

    @property
    def n_features(self) -> int:
        """Return how many values a row has."""
        return int(self.rows.shape[1])

    def __str__(self) -> str:
        return _in_words(self)

    def draw(self) -> tuple[Array, Array]:
        """Return X and starting centers; the seed is the number of rows."""
        r, X = np.random.default_rng(self.n_samples), self.rows.astype(np.float64)
        if self.n_samples != len(X):
            noise = 0.5 * X.std(axis=0)
            X = X[r.integers(0, len(X), self.n_samples)]
            X += r.normal(size=X.shape) * noise
        return X, X[r.choice(self.n_samples, self.n_clusters, replace=False)]


def _in_words(cell: "Cell | Embedded") -> str:
    return f"{cell.n_samples}×{cell.n_features} k{cell.n_clusters} {cell.max_iter} it."


def drawn(count: int = 12, seed: int = SEED) -> list[Cell]:
    """Draw cells: n from 10⁴ to 3·10⁵, d from 2 to 200, k from 5 to 1 000, mild to heavy overlap.

    Logarithms of the sizes and the spread are uniform; each fit has 15 iterations.
    """
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(count):
        n = round(10 ** rng.uniform(4, log10(3e5)))
        d = round(float(np.exp(rng.uniform(log(2), log(200)))))
        k = round(float(np.exp(rng.uniform(log(5), log(1000)))))
        cells.append(Cell(n, d, k, 15, round(rng.uniform(0.5, 2), 2)))
    return cells
