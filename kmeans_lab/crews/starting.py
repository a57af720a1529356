"""Where the centers of each repetition begin: what draws them, relative to the middle of X."""

from __future__ import annotations  # NumPy imports numpy.random when it is asked for

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import checks
from kmeans_lab.crews.base import Crew
from kmeans_lab.kernel import Array, read_only
from kmeans_lab.metric import directed
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.seeding import INITS, greedy
from kmeans_lab.sparse.reading import as_scipy
from kmeans_lab.sparse.rows import SparseRows

Start = Callable[[checks.Draws, Crew], Array]


def make_start(
    init: Any,
    n_clusters: int,
    X: Array | SparseRows | StreamedRows,
    middle: Array,
    n_init: int,
    weights: NDArray[np.float64] | None,
    metric: str,
) -> Start:
    """Return a function that draws starting centers, relative to the middle of X."""
    named = isinstance(init, str)
    fixed = init == "first" if named else not callable(init)
    if fixed and n_init > 1:
        raise ValueError(f"n_init={n_init} would repeat one fixed start; use n_init=1")
    if fixed and not named:
        centers = checks.initial_centers(init, n_clusters, X, "init", metric)
        centers -= middle
        return lambda draws, crew: centers
    draw = INITS[checks.choice("init", init, tuple(INITS))] if named else init
    if draw is greedy:
        return lambda draws, crew: greedy(crew.rows, n_clusters, draws(), crew.prepared, weights)
    source = "init" if named else "init(X, n_clusters, rng)"
    view = _shown(X, named=named)

    weighted = {"weights": weights} if named and weights is not None else {}

    def start(draws: checks.Draws, crew: Crew) -> Array:
        centers = draw(view, n_clusters, draws(), **weighted)
        if named and metric == "cosine":
            centers = directed(centers, X)  # of a random partition, whose rows may cancel
        own = checks.initial_centers(centers, n_clusters, X, source, metric)
        own -= middle
        return own

    return start


def _shown(X: Array | SparseRows | StreamedRows, *, named: bool) -> Any:
    """Return X as a function that draws starting centers sees it: one of the caller's, SciPy's."""
    if isinstance(X, StreamedRows):
        return X
    if isinstance(X, SparseRows):
        return X if named else as_scipy(X)
    return read_only(X)
