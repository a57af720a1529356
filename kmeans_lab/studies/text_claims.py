"""What is said of clustering texts, tried on the fits of the study ``text``."""

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import kmeans
from kmeans_lab.formatting import digits, plural
from kmeans_lab.studies.documents import Texts
from kmeans_lab.studies.notebook import Notebook, Row
from kmeans_lab.studies.trials import FEW, agreement, same_start

CLOSE = 0.01  # of two V-measures: starts change them by more
MOST, ROUNDS = 300, 3  # iterations beside scikit-learn's, and how often they are measured

PLAIN, SPHERICAL, BATCHES, REDUCED = "k-means", "spherical", "mini-batch", "k-means after LSA"
STARTS = ("random", "k-means++")
ADVICE, EXAMPLE = "common advice", "scikit-learn's example of text clustering"
MODHA = "Dhillon and Modha (2001)"
PROMISE = "the flagship's promise"


class Fit(NamedTuple):
    """One fit, and what is said of it."""

    method: str
    start: str
    labels: NDArray[Any]
    n_iter: int
    seconds: float
    scores: dict[str, float]


def middle(fits: Sequence[Fit], method: str, start: str, what: str) -> float:
    """Return the median of a score, or of seconds, over the seeds."""
    mine = [it for it in fits if (it.method, it.start) == (method, start)]
    if what == "seconds":
        return median(it.seconds for it in mine)
    return float(median(it.scores[what] for it in mine))


def claim_methods(book: Notebook, texts: Texts, fits: list[Fit]) -> None:
    """Try what scikit-learn's example says of starts, of LSA, batches and the silhouette."""
    random, plus = STARTS
    at = partial(middle, fits)
    small = [at(PLAIN, it, f"under {FEW} rows") for it in (plus, random)]
    v = [at(PLAIN, it, "V-measure") for it in (plus, random)]
    book.claim(
        EXAMPLE,
        "k-means++ draws texts that are far from all others; they keep a cluster to themselves, "
        "so sparse rows are better started at random",
        f"clusters with fewer than {FEW} rows: {small[0]:.0f} with k-means++ and {small[1]:.0f} "
        f"from random rows, of {len(texts.modules)}; V-measure {v[0]:.3f} and {v[1]:.3f}",
        _both(small[0] > small[1], v[0] < v[1]),
    )
    seconds = [at(PLAIN, random, "seconds"), at(REDUCED, plus, "seconds") + texts.seconds]
    low = at(REDUCED, plus, "V-measure")
    book.claim(
        EXAMPLE,
        "after LSA, k-means takes less time, and its clusters are nearer to the truth",
        f"{1000 * seconds[1]:,.0f} ms, {1000 * texts.seconds:,.0f} of them for LSA, against "
        f"{1000 * seconds[0]:,.0f} on the sparse rows; V-measure {low:.3f} against {v[1]:.3f}",
        _both(seconds[1] < seconds[0], low > v[1]),
    )
    took = [at(it, random, "seconds") for it in (BATCHES, PLAIN)]
    inertia = [at(it, random, "inertia") for it in (BATCHES, PLAIN)]
    book.claim(
        EXAMPLE,
        "mini-batches take less time, at the expense of quality",
        f"{1000 * took[0]:,.0f} ms against {1000 * took[1]:,.0f}; inertia "
        f"{100 * (inertia[0] / inertia[1] - 1):.1f} % higher, V-measure "
        f"{at(BATCHES, random, 'V-measure'):.3f} against {v[1]:.3f}",
        _both(took[0] < took[1], inertia[0] > inertia[1]),
    )
    pairs = np.array([(it.scores["silhouette"], it.scores["V-measure"]) for it in fits])
    ranks = pairs.argsort(axis=0).argsort(axis=0)
    together = float(np.asarray(np.corrcoef(ranks.T))[0, 1])
    book.claim(
        EXAMPLE,
        "with so many dimensions, the silhouette does not show what the V-measure shows",
        f"{len(fits)} fits have silhouettes of {pairs[:, 0].min():.3f} to {pairs[:, 0].max():.3f}; "
        f"their ranks correlate with those of the V-measure by {together:.2f}",
        together < 0.5,
    )


def claim_spherical(book: Notebook, fits: Sequence[Fit]) -> None:
    """Ask whether angles change the clusters of rows of length 1, and how much a start does."""
    labels = {
        method: [it.labels for it in fits if (it.method, it.start) == (method, STARTS[0])]
        for method in (PLAIN, SPHERICAL)
    }
    pairs = zip(labels[PLAIN], labels[SPHERICAL], strict=True)
    one_start = median(agreement(*it) for it in pairs)
    two_starts = median(agreement(*it) for it in combinations(labels[PLAIN], 2))
    v = [middle(fits, it, STARTS[0], "V-measure") for it in (PLAIN, SPHERICAL)]
    large = [middle(fits, it, STARTS[0], "largest, %") for it in (PLAIN, SPHERICAL)]
    book.claim(
        ADVICE,
        "for rows of length 1, k-means is as good as spherical k-means: both compare angles",
        f"from the same random rows, their adjusted Rand index is {one_start:.2f}, where two "
        f"starts of k-means come to {two_starts:.2f}; V-measure {v[0]:.3f} by distance and "
        f"{v[1]:.3f} by angle, largest cluster {large[0]:.0f} and {large[1]:.0f} % of the rows",
        abs(v[0] - v[1]) < CLOSE,
    )


def claim_directions(book: Notebook, rows: Sequence[Row]) -> None:
    """Try what Dhillon and Modha say of concepts."""
    first, last = rows[0], rows[-1]
    local, spread = last["terms of half a concept"], last["of half a singular vector"]
    cosines = [it["mean cosine of two"] for it in (first, last)]
    book.claim(
        MODHA,
        "the concepts of text are local (few terms each), sparse, and ever nearer to orthogonal "
        "as there are more; singular vectors are global and dense",
        f"half of a concept is in {plural(round(local), 'term')}, of a singular vector in "
        f"{spread:.0f}; "
        f"{last['zeros of concepts, %']:.0f} % of a concept is 0; the mean cosine of two falls "
        f"from {cosines[0]:.2f} (k = {first['clusters']}) to {cosines[1]:.2f} (k = "
        f"{last['clusters']})",
        cosines[1] < cosines[0] and local < spread,
    )
    ratio = [
        (100 - it["kept by concepts, %"]) / (100 - it["by singular vectors, %"]) for it in rows
    ]
    book.claim(
        MODHA,
        "concepts approximate the rows nearly as well as singular vectors, the best there are",
        f"what the rows lose is at most {100 * (max(ratio) - 1):.1f} % more with as many concepts",
        max(ratio) < 1.05,
    )


def race(book: Notebook, texts: Texts) -> None:
    """Let scikit-learn fit the same rows from the same start, until no center moves."""
    from sklearn.cluster import KMeans

    k = len(texts.modules)
    start = same_start(texts.X, k, STARTS[0], 0)
    options: Any = {"init": start, "n_init": 1, "max_iter": MOST, "tol": 0.0}
    ours, theirs = partial(kmeans, texts.X, k, **options), KMeans(k, **options)
    seconds: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for spent, fit in zip(seconds, (ours, partial(theirs.fit, texts.X)), strict=True):
            began = perf_counter()
            fit()
            spent.append(perf_counter() - began)
    one, other = map(median, seconds)
    book.claim(
        PROMISE,
        "a fit of short texts takes a quarter to a thirtieth of scikit-learn's time",
        f"k = {k}, {theirs.n_iter_} iterations from the same rows, one thread: {1000 * one:,.0f} "
        f"and {1000 * other:,.0f} ms, {digits(other / one)} times as long",
        True if other / one >= 4 else None if other > one else False,
    )


def _both(one: bool, other: bool) -> bool | None:
    return one if one == other else None
