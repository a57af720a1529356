"""Labels, sums and inertia against a direct computation, and how far rounding may take them.

A distance is Σ(x − c)² of differences in the coordinates of X, never an expansion. An unrounded
one is compared with what arithmetic in the dtype of X can make of it, and with nothing more:

- d differences, squares and additions lose (d + 4)·u of a squared distance, u = eps / 2;
- relative to the middle m of X, a coordinate of a row loses u·|x − m|, one of a center 3u·|c − m|;
- n numbers add up, in any order, to within n·u of the sum of their magnitudes. So the mean of n
  equal rows may lie n·u·|c − m| from them, and nearer centers than that cannot be told apart.

All comparisons are written as "within", so that NaN fails them.
"""

from math import fsum
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array, Labels
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.numerics.double_double import Doubles, excess, sums_by_label, two_product
from kmeans_lab.weights import absolute

_BLOCK_VALUES = 2**18
_U = float(np.finfo(np.float64).eps) / 2


class CertificateError(AssertionError):
    """A result that must not be given a number; the message says what is wrong with it."""


def require(holds: bool, sentence: str) -> None:
    """Raise ``CertificateError`` with the sentence unless it holds."""
    if not holds:
        raise CertificateError(sentence)


def require_labels(labels: Labels, n_clusters: int) -> None:
    """Raise unless each label names a cluster."""
    outside = np.flatnonzero((labels < 0) | (labels >= n_clusters))
    require(
        len(outside) == 0,
        f"{len(outside)} labels are outside 0 … {n_clusters - 1}, the first in row "
        f"{outside[0] if len(outside) else 0}",
    )


def refuse_label(
    row: int, label: int, nearer: int, lead: float, bound: float, n_rows: int
) -> NoReturn:
    """Raise because a row's center is farther than another one, by more than rounding explains."""
    raise CertificateError(
        f"row {row} is not given its nearest center: {label} is farther than {nearer} by "
        f"{lead:.3g}, squared, where rounding explains {bound:.2g} ({n_rows} rows of this block)"
    )


def require_inertia(inertia: float, direct: float, bound: float, who: str) -> None:
    """Raise unless an inertia is the direct sum, within a bound."""
    require(
        inertia == direct or abs(inertia - direct) <= bound,
        f"{who} returned the inertia {inertia!r} and the direct sum is {direct!r}, which is "
        f"{abs(inertia - direct):.2g} from it where rounding explains {bound:.2g}",
    )


@np.errstate(over="ignore", invalid="ignore")
def check_labels(
    X: Array, middle: Array, centers: Array, labels: Labels, n_samples: int | None = None
) -> int:
    """Return how many labels are ties; raise when one is farther than rounding explains.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
    middle : ndarray of shape (n_features,)
        What the kernel's rows and centers were relative to.
    centers : ndarray of shape (n_clusters, n_features)
        In the coordinates of X.
    labels : ndarray of shape (n_samples,), int32
    n_samples : int, optional
        Number of rows that the centers are means of, where it is not that of X.
    """
    n_clusters, n_features = centers.shape
    require_labels(labels, n_clusters)
    distances = _Distances(X.dtype, middle, centers, n_samples or len(X))
    ties = 0
    for some in row_blocks(len(X), max(n_clusters, n_features), _BLOCK_VALUES):
        points, chosen = X[some].astype(np.float64), labels[some]
        i, j, lead, bound = distances.nearer(points, chosen)
        wrong = np.flatnonzero(~(lead <= bound))
        if len(wrong):
            row = i[wrong[0]]
            worst = wrong[i[wrong] == row]
            worst = worst[lead[worst].argmax()]
            refuse_label(
                int(some.start + row), int(chosen[row]), int(j[worst]), lead[worst], bound[worst],
                len(np.unique(i[wrong])),
            )  # fmt: skip
        ties += len(np.unique(i))
    return ties


class _Distances:
    """Which centers are nearer to a row than the chosen one, by how much, and what is rounding."""

    def __init__(self, dtype: np.dtype[Any], middle: Array, centers: Array, n_samples: int) -> None:
        self.u = float(np.finfo(dtype).eps) / 2
        self.vanishing = 8 * len(middle) * float(np.finfo(dtype).smallest_subnormal)
        self.middle, self.centers = middle.astype(np.float64), centers.astype(np.float64)
        self.around = self.centers - self.middle
        self.squares = _squared(self.around)
        self.indistinct = (n_samples * _U) ** 2 * self.squares

    def nearer(
        self, points: Doubles, chosen: Labels
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], Doubles, Doubles]:
        """Return rows, centers that a row prefers to its own, by how much, and the bounds.

        A product of matrices leaves out what is farther by more than its rounding, direct
        differences what is farther by more than theirs; unrounded ones judge what is left.
        """
        n_features = points.shape[1]
        rows, others = self._not_surely_farther(points, chosen)
        step = max(1, _BLOCK_VALUES // (4 * n_features))
        found = []
        for first in range(0, max(1, len(rows)), step):
            i, j = rows[first : first + step], others[first : first + step]
            x, a, b = points[i], self.centers[chosen[i]], self.centers[j]
            mine, other = _squared(x - a), _squared(x - b)
            rounding = (n_features + 4) * (mine + other)
            near = ~(other - mine > _U * rounding)
            i, j, x, a, b = i[near], j[near], x[near], a[near], b[near]
            lead = excess(x, a, b)
            bound = self.u * rounding[near] + self.vanishing
            bound += self._moved(x, a) + self.indistinct[chosen[i]]
            bound += self._moved(x, b) + self.indistinct[j]
            preferred = ~((lead < 0) | ((lead == 0) & (chosen[i] < j)))
            found.append((i[preferred], j[preferred], lead[preferred], bound[preferred]))
        i, j, lead, bound = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return i, j, lead, bound

    def _not_surely_farther(
        self, points: Doubles, chosen: Labels
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return pairs of rows and centers, other than the chosen, by the expansion's bound."""
        x = points - self.middle
        slack = 4 * (x.shape[1] + 8) * _U  # of ‖x‖² + ‖c‖²: at least (d + 2)·u·(‖x‖ + ‖c‖)²
        scores = x @ (-2.0 * self.around.T)
        scores += self.squares * (1 - slack)
        every = np.arange(len(x))
        own = scores[every, chosen] + 2 * slack * (_squared(x) + self.squares[chosen])
        near = ~(scores > own[:, None])
        near[every, chosen] = False
        i, j = np.nonzero(near)
        return i, j

    def _moved(self, x: Doubles, c: Doubles) -> Doubles:
        """Return what rounding of the coordinates makes of squared distances."""
        moved = self.u * (np.abs(x - self.middle) + 3 * np.abs(c - self.middle))
        return np.asarray(np.einsum("if,if->i", 2 * np.abs(x - c) + moved, moved))


@np.errstate(over="ignore", invalid="ignore")
def check_inertia(
    X: Array,
    middle: Array,
    centers: Array,
    labels: Labels,
    inertia: float,
    who: str,
    *,
    weights: Doubles | None = None,
    exponent: int = 0,
    expanded: bool = False,
) -> None:
    """Raise unless an inertia is the direct sum of (weighted) squared distances, within rounding.

    ``weights`` are relative to a power of two with this ``exponent``. ``expanded``: the inertia may
    come of ‖x‖² − 2 x·c + ‖c‖², as what a kernel's step returns may.
    """
    n_samples, n_features = X.shape
    wide, around = centers.astype(np.float64), (centers - middle).astype(np.float64)
    sums = []
    for some in row_blocks(n_samples, n_features, _BLOCK_VALUES):
        points, chosen = X[some].astype(np.float64), labels[some]
        own = [_squared(points - wide[chosen]), _squared(points - middle), _squared(around[chosen])]
        if weights is not None:
            own = [it * weights[some] for it in own]
        sums.append([float(it.sum()) for it in own])
    direct, rows, means = (fsum(column) for column in zip(*sums, strict=True))
    u = float(np.finfo(X.dtype).eps) / 2
    adding = (n_samples * n_features + 2 * n_features + 64) * _U
    moved = 2 * u**2 * (rows + 9 * means) if middle.any() else 0.0
    bound = adding * direct + 2 * (direct * moved) ** 0.5 + moved
    if expanded:
        bound += (adding + (4 * n_features + 8) * u) * (2 * rows + 2 * means)
    bound += 8 * n_samples * n_features * float(np.finfo(X.dtype).smallest_subnormal)
    require_inertia(inertia, absolute(direct, exponent), absolute(bound, exponent), who)


def direct_sums(
    X: Array, middle: Array, labels: Labels, n_clusters: int, weights: Doubles | None = None
) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return sums of (weighted) rows around the middle, what rounding took, sizes and magnitudes.

    Returns
    -------
    sums, lost, magnitudes : ndarray of shape (n_clusters, n_features), float64
        The sums are ``sums + lost``; magnitudes are the sums of absolute values.
    sizes : ndarray of shape (n_clusters,), float64
        Numbers of rows or, with weights, the mass.
    """
    sums, lost, magnitudes = np.empty((3, n_clusters, X.shape[1]))
    for f in range(X.shape[1]):
        column, rest = (X[:, f] - middle[f]).astype(np.float64), None
        if weights is not None:
            column, rest = two_product(column, weights)
        sums[:, f], lost[:, f], magnitudes[:, f] = sums_by_label(column, labels, n_clusters)
        if rest is not None:
            lost[:, f] += np.bincount(labels, rest, n_clusters)
    if weights is None:
        return sums, lost, np.bincount(labels, minlength=n_clusters).astype(np.float64), magnitudes
    return sums, lost, sums_by_label(weights, labels, n_clusters)[0], magnitudes


def beyond(errors: Array, bound: Array) -> list[list[int]]:
    """Return the place of the first entry that is not within its bound, if there is one."""
    places: list[list[int]] = np.argwhere(~(np.abs(errors) <= bound))[:1].tolist()
    return places


def _squared(rows: Doubles) -> Doubles:
    return np.asarray(np.einsum("if,if->i", rows, rows))
