"""Labels, sums and inertia of sparse rows against compensated products.

What ``judging`` does for rows in arrays, with the same functions: the difference of two squared
distances is ‖a‖² − ‖b‖² − 2x·(a − b), added up in twice the digits of float64. Kernels compute in
float64 whatever the dtype of the rows, and move no origin, so that rounding explains

- (d + m + 8)·u of ‖a‖² + ‖b‖² + 2Σ|x|(|a| + |b|) in a difference: d features are added up in a
  norm and the m values of a row in a product, u = 2⁻⁵³.
"""

from math import fsum

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array, Labels
from kmeans_lab.measure.judging import refuse_label, require_inertia, require_labels
from kmeans_lab.numerics.double_double import Doubles, sums_by_label, two_product
from kmeans_lab.sparse.numerics import own_squares, squared_lengths, squared_norms
from kmeans_lab.sparse.reading import as_scipy
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.weights import absolute

_U = float(np.finfo(np.float64).eps) / 2
_BLOCK_PAIRS = 2**20


def check_labels(
    X: SparseRows, middle: Array, centers: Array, labels: Labels, n_samples: int | None = None
) -> int:
    """Return how many labels are ties; raise when one is farther than rounding explains."""
    require_labels(labels, len(centers))
    wide = centers.astype(np.float64)
    norms, lost = squared_norms(wide)
    columns = np.ascontiguousarray(wide.T)
    sizes = np.abs(columns)
    step, ties = max(1, _BLOCK_PAIRS // len(centers)), 0
    for first in range(0, len(X), step):
        block = X[first : first + step].astype(np.dtype(np.float64))
        chosen, every = labels[first : first + step], np.arange(len(block))
        rows = as_scipy(block)
        scores = norms - 2.0 * (rows @ columns)
        rounding = norms + 2.0 * (abs(rows) @ sizes)
        roundings = X.n_features + np.diff(block.indptr)[:, None] + 8
        bound = roundings * _U * (rounding + rounding[every, chosen][:, None])
        near = ~(scores - scores[every, chosen][:, None] > 2 * bound)
        near[every, chosen] = False
        i, j = np.nonzero(near)
        lead = _lead(block.take(i), wide, chosen[i], j)
        lead += (norms[chosen[i]] - norms[j]) + (lost[chosen[i]] - lost[j])
        lead[np.abs(lead) <= 2.0**-40 * bound[i, j]] = 0  # what these sums round, at most
        preferred = (lead > 0) | ((lead == 0) & (j < chosen[i]))
        wrong = np.flatnonzero(~(lead <= bound[i, j]))
        if len(wrong):
            worst = wrong[lead[wrong].argmax()]
            refuse_label(
                int(first + i[worst]), int(chosen[i[worst]]), int(j[worst]), lead[worst],
                bound[i[worst], j[worst]], len(np.unique(i[wrong])),
            )  # fmt: skip
        ties += len(np.unique(i[preferred]))
    return ties


def _lead(rows: SparseRows, centers: Doubles, a: Labels, b: NDArray[np.intp]) -> Doubles:
    """Return −2x·(c_a − c_b) of each row, in compensated products."""
    columns, owners = rows.stored()[1], rows.owners()
    values = rows.stored()[0].astype(np.float64)
    parts = []
    for which, sign in ((a, -2.0), (b, 2.0)):
        product, rest = two_product(sign * values, centers[which[owners], columns])
        parts += [product, rest]
    high, low, _ = sums_by_label(np.concatenate(parts), np.tile(owners, 4), len(rows))
    return np.asarray(high + low)


def check_inertia(
    X: SparseRows,
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
    norms, _ = squared_norms(centers)
    sums = []
    for part, block, direct in own_squares(X, centers, labels):
        own = [direct, squared_lengths(block), norms[labels[part]]]
        if weights is not None:
            own = [it * weights[part] for it in own]
        sums.append([float(it.sum()) for it in own])
    total, rows, means = (fsum(column) for column in zip(*sums, strict=True))
    roundings = len(X) + 2 * X.n_features + 64
    bound = roundings * _U * total + 2.0**-96 * (rows + means)
    if expanded:
        bound += 2 * roundings * _U * (rows + means)
    require_inertia(inertia, absolute(total, exponent), absolute(bound, exponent), who)


def direct_sums(
    X: SparseRows, middle: Array, labels: Labels, n_clusters: int, weights: Doubles | None = None
) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return sums of (weighted) rows, what rounding took, sizes and magnitudes.

    As ``judging.direct_sums`` does.
    """
    values, columns = X.stored()
    owners = X.owners()
    places = labels[owners].astype(np.intp) * X.n_features + columns
    product, rest = values.astype(np.float64), np.zeros(0)
    if weights is not None:
        product, rest = two_product(product, weights[owners])
    found = sums_by_label(product, places, n_clusters * X.n_features)
    sums, lost, magnitudes = (it.reshape(n_clusters, X.n_features) for it in found)
    if weights is None:
        return sums, lost, np.bincount(labels, minlength=n_clusters).astype(np.float64), magnitudes
    lost += np.bincount(places, rest, sums.size).reshape(sums.shape)
    return sums, lost, sums_by_label(weights, labels, n_clusters)[0], magnitudes
