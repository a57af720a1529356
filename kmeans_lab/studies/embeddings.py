"""Embeddings by distance, by angle, and after principal component analysis.

The rows are those of a file that ``KMEANS_LAB_EMBEDDINGS`` names, as for the presets: the package
ships none, and all tables count as measured.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import kmeans
from kmeans_lab.io.errors import Refused
from kmeans_lab.kernel import Array
from kmeans_lab.presets import embeddings
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, Row, cluster_colors
from kmeans_lab.studies.trials import SAMPLE, Judge, agreement, same_start, sums_of

CLUSTERS = (10, 100, 500)
COMPONENTS = (8, 16, 32, 64, 128)
SEEDS = 5
MOST_ITERATIONS = 300
#: Rows for each cluster, at least: in a file with fewer rows, fewer clusters are looked for.
ROWS_EACH = 10
DISTANCE, ANGLE = "distance", "angle"
ADVICE, DING = "common advice", "Ding and He (2004)"
MOST_COMPARED = 10_000  # rows, to see whether they differ
LITTLE = 1.0  # percent of inertia
ALIKE = 0.95  # an adjusted Rand index from which two partitions are the same in all but name


class Space(NamedTuple):
    """Principal components of the rows.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
    directions : ndarray of shape (n_features, n_components)
    variances : ndarray of shape (n_components,)
        Shares of the whole variance.
    seconds : float
    """

    mean: Array
    directions: Array
    variances: Array
    seconds: float


class Fit(NamedTuple):
    """One fit: how many clusters, which way, from which start, and what came of it."""

    k: int
    way: str
    labels: NDArray[Any]
    n_iter: int
    seconds: float
    scores: dict[str, float]


def run(book: Notebook) -> None:
    """Fit and judge, for each number of clusters, all ways from the same starts."""
    import sklearn.decomposition  # noqa: F401 (only what is loaded can be limited)
    from threadpoolctl import threadpool_limits

    X = read()
    clusters = [k for k in CLUSTERS if k * ROWS_EACH <= len(X)]
    with threadpool_limits(1):
        space = analyse(X)
        judge = Judge(X)
        jobs = [(k, seed) for k in clusters for seed in range(SEEDS)]
        fits = [it for job in book.track(jobs, "fitting") for it in fit_all(X, space, judge, *job)]
    introduce(book, X, space)
    rows = [summary(fits, k, way) for k in clusters for way in dict.fromkeys(it.way for it in fits)]
    book.table("ways", rows, measured=True, shown=True)
    draw_ways(book, fits, space)
    draw_map(book, X, space, fits)
    claim(book, X, space, fits)


def read() -> Array:
    """Return the rows of the file; ``Refused`` where there is none, or the study cannot use it."""
    X = embeddings()
    rows, least = ROWS_EACH * CLUSTERS[0], COMPONENTS[0]
    if len(X) < rows or X.shape[1] <= least:
        raise Refused(
            f"the study embeddings needs {rows} rows and more than {least} features, and the file "
            f"has {len(X)} × {X.shape[1]}; name a larger one"
        )
    zeros = np.flatnonzero(~X.any(axis=1))
    if len(zeros):
        raise Refused(
            f"row {zeros[0]} holds only zeros, which have no direction; leave such rows out"
        )
    different = len({row.tobytes() for row in X[:MOST_COMPARED]})
    if different < rows:
        raise Refused(
            f"the study embeddings needs {rows} different rows, and the first "
            f"{min(len(X), MOST_COMPARED)} of the file have {different}; leave copies out"
        )
    return X


def analyse(X: Array) -> Space:
    """Return all principal components, from the covariance of the features."""
    from sklearn.decomposition import PCA

    began = perf_counter()
    analysis = PCA(svd_solver="covariance_eigh").fit(X)
    spent = perf_counter() - began
    directions = np.ascontiguousarray(analysis.components_.T)
    return Space(analysis.mean_, directions, analysis.explained_variance_ratio_, spent)


def fit_all(X: Array, space: Space, judge: Judge, k: int, seed: int) -> list[Fit]:
    """Fit every way from the rows that k-means++ draws with this seed; the same for all."""
    start = same_start(X, k, "k-means++", seed)
    options: Any = {"tol": 0.0, "max_iter": MOST_ITERATIONS}
    ways: dict[str, Callable[[], Any]] = {
        DISTANCE: partial(kmeans, X, k, init=start, **options),
        ANGLE: partial(kmeans, X, k, init=start, metric="cosine", **options),
    }
    for n in COMPONENTS:
        if n < X.shape[1]:
            ways[components(n)] = partial(reduced_fit, X, space, n, start, options)
    found = []
    for way, fit in ways.items():
        began = perf_counter()
        result = fit()
        spent = perf_counter() - began
        scores = judge.scores(result.labels)
        found.append(Fit(k, way, result.labels, result.n_iter, spent, scores))
    return found


def components(n: int) -> str:
    """Return what k-means on so many components is called."""
    return f"PCA {n}"


def reduced_fit(X: Array, space: Space, n: int, start: Array, options: Any) -> Any:
    """Fit the rows as seen along the first n components; to project them is part of it."""
    along = space.directions[:, :n]
    low, begin = ((it - space.mean) @ along for it in (X, start))
    return kmeans(low, len(start), init=begin, **options)


def of(fits: Sequence[Fit], k: int, way: str) -> list[Fit]:
    """Return the fits of a way, in the order of the seeds."""
    return [it for it in fits if (it.k, it.way) == (k, way)]


def with_distance(fits: Sequence[Fit], k: int, way: str) -> list[float]:
    """Return how far a way agrees with plain k-means from the same start, seed by seed.

    Of plain k-means itself: from different starts, pair by pair.
    """
    plain = [it.labels for it in of(fits, k, DISTANCE)]
    if way == DISTANCE:
        return [agreement(*pair) for pair in combinations(plain, 2)]
    mine = [it.labels for it in of(fits, k, way)]
    return [agreement(*pair) for pair in zip(plain, mine, strict=True)]


def excess(fits: Sequence[Fit], k: int, way: str, what: str = "inertia") -> list[float]:
    """Return by how many percent a score lies above plain k-means from the same start."""
    pairs = zip(of(fits, k, way), of(fits, k, DISTANCE), strict=True)
    return [100 * (one.scores[what] / other.scores[what] - 1) for one, other in pairs]


def summary(fits: Sequence[Fit], k: int, way: str) -> Row:
    """Return the medians of a way."""
    mine, seen = of(fits, k, way), k * ROWS_EACH <= SAMPLE
    return {
        "clusters": k,
        "way": way,
        "inertia": median(it.scores["inertia"] for it in mine),
        "Σ(1 − cos)": median(it.scores["Σ(1 − cos)"] for it in mine),
        "silhouette": median(it.scores["silhouette"] for it in mine) if seen else None,
        "agreement": median(with_distance(fits, k, way)),
        "iterations": median(it.n_iter for it in mine),
        "ms": 1000 * median(it.seconds for it in mine),
    }


def introduce(book: Notebook, X: Array, space: Space) -> None:
    """Say what the rows are, and what is done with them."""
    lengths = np.sqrt(np.square(X.astype(np.float64)).sum(axis=1))
    half = int(np.searchsorted(np.cumsum(space.variances), 0.5)) + 1
    book.say(
        f"A file of {len(X):,} × {X.shape[1]} embeddings, as {X.dtype}; rows of length "
        f"{lengths.min():.4f} to {lengths.max():.4f}. Half of their variance lies along {half} of "
        "the principal components. *Another file gives other numbers, so all of this study count "
        "as measured.*"
    )
    book.say(
        "All ways start from the same rows, drawn by k-means++, and go on until no center moves; "
        f"medians of {SEEDS} seeds, one thread. *Distance* is k-means, *angle* is spherical "
        'k-means (`metric="cosine"`), *PCA n* is k-means on the first n principal components, with '
        "the time for projecting rows but not for finding the components "
        f"({1000 * space.seconds:,.0f} ms, once). Everything is judged by labels in the space of "
        "all features: inertia with the means of clusters, Σ(1 − cos) with their directions, and "
        "the silhouette by cosine of 2,000 rows, where clusters are few. Agreement is the adjusted "
        "Rand index with *distance* from the same start; in the lines of *distance*, of two "
        "different starts."
    )


def draw_ways(book: Notebook, fits: Sequence[Fit], space: Space) -> None:
    """Draw what fewer components cost, change and save."""
    caption = (
        "K-means on fewer principal components, and by angle, beside k-means on all features from "
        "the same starts; dashed: two starts of the latter"
    )
    clusters = list(dict.fromkeys(it.k for it in fits))
    every = [it for it in (components(n) for n in COMPONENTS) if of(fits, clusters[0], it)]
    every += [ANGLE]
    at = range(len(every))
    with book.figure("ways", caption, 1, 3, (9.6, 3.3)) as axes:
        for k, color in zip(clusters, (PALETTE[1], PALETTE[2], PALETTE[3]), strict=False):
            seconds = median(it.seconds for it in of(fits, k, DISTANCE))
            panels = (
                [median(excess(fits, k, it)) for it in every],
                [median(with_distance(fits, k, it)) for it in every],
                [median(it.seconds for it in of(fits, k, way)) / seconds for way in every],
            )
            for axis, values in zip(axes, panels, strict=True):
                axis.plot(at[:-1], values[:-1], "o-", ms=5, color=color, label=f"k = {k}")
                axis.plot(at[-1:], values[-1:], "D", ms=6, color=color)
            level = median(with_distance(fits, k, DISTANCE))
            axes[1].axhline(level, color=color, lw=1, ls="--")
        titles = ("inertia above distance, %", "agreement with distance", "time (distance: 1)")
        for axis, title in zip(axes, titles, strict=True):
            axis.set(title=title, xticks=at, xlim=(-0.4, len(every) - 0.6))
            axis.set_xticklabels([it.removeprefix("PCA ") for it in every])
            axis.set_xlabel("principal components, or angle")
        axes[1].set_ylim(0, 1.03)
        axes[2].axhline(1, color=INK, lw=1)
        axes[2].set_ylim(bottom=0)
        axes[0].legend()


def draw_map(book: Notebook, X: Array, space: Space, fits: Sequence[Fit]) -> None:
    """Draw the fewest clusters by distance and by angle, from one start, along two components."""
    k = fits[0].k
    one, other = (of(fits, k, way)[0].labels for way in (DISTANCE, ANGLE))
    places = (X - space.mean) @ space.directions[:, :2]
    order = np.random.default_rng(0).permutation(len(X))  # no cluster on top of the others
    colors, moved = np.array(cluster_colors(k)), one != other
    caption = (
        f"{k} clusters from the same start, along the first two principal components; on the "
        f"right, the {moved.mean():.1%} of rows that angles put elsewhere"
    )
    with book.figure("map", caption, 1, 2, (9.6, 4.6), sharex=True, sharey=True) as axes:
        style: Any = {"s": 4, "linewidths": 0, "rasterized": True}
        axes[0].scatter(*places[order].T, c=colors[one[order]], alpha=0.6, **style)
        axes[1].scatter(*places[order].T, c="#e3e5e9", **style)
        mine = order[moved[order]]
        axes[1].scatter(*places[mine].T, c=colors[other[mine]], **style | {"s": 7})
        axes[0].set_title("By distance")
        axes[1].set_title("Elsewhere by angle")
        for axis in axes:
            axis.set(xticks=[], yticks=[], aspect="equal")
            axis.grid(visible=False)
            axis.spines[:].set_visible(False)


def claim(book: Notebook, X: Array, space: Space, fits: Sequence[Fit]) -> None:
    """Try what is said of angles, and of principal components."""
    clusters = list(dict.fromkeys(it.k for it in fits))
    angle, starts = (
        [median(with_distance(fits, k, way)) for k in clusters] for way in (ANGLE, DISTANCE)
    )
    worse = max(median(excess(fits, k, ANGLE)) for k in clusters)
    more = all(one >= other for one, other in zip(angle, starts, strict=True))
    book.claim(
        ADVICE,
        "for rows of length 1, distance and angle give the same clusters",
        f"from the same start, they agree by {listed(angle)} (k = {listed(clusters, 'd')}), where "
        f"two starts of k-means agree by {listed(starts)}; the inertia of angles is at most "
        f"{worse:.2f} % higher",
        True if min(angle) >= ALIKE else None if more else False,
    )
    few = [k for k in clusters if k <= X.shape[1] // 2]
    held = [between(X, space, of(fits, k, DISTANCE)[0].labels) for k in few]
    rows = [float(space.variances[: k - 1].sum()) for k in few]
    book.claim(
        DING,
        "the centers of k clusters lie in the space of the first k − 1 principal components",
        f"{listed(held, '.0%')} of the scatter of the centers do (k = {listed(few, 'd')}), and "
        f"{listed(rows, '.0%')} of the variance of the rows",
        True if min(held) >= ALIKE else None if min(held) >= 0.8 else False,
    )
    ways = [it.way for it in fits if it.way.startswith("PCA")]
    way = components(64) if components(64) in ways else ways[-1]
    cost = [median(excess(fits, k, way)) for k in clusters]
    reduced, full = (
        [1000 * median(it.seconds for it in of(fits, k, name)) for k in clusters]
        for name in (way, DISTANCE)
    )
    book.claim(
        ADVICE,
        "a principal component analysis before k-means saves time and costs little",
        f"{way}: {listed(reduced, ',.0f')} ms in place of {listed(full, ',.0f')} (k = "
        f"{listed(clusters, 'd')}), inertia by {listed(cost, '+.2f')} % higher",
        judged(max(cost) <= LITTLE, all(a < b for a, b in zip(reduced, full, strict=True))),
    )


def listed(values: Sequence[float], form: str = ".2f") -> str:
    """Return numbers in words."""
    words = [f"{it:{form}}".replace("-", "−") for it in values]
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def judged(one: bool, other: bool) -> bool | None:
    """Return what two conditions agree on, or None: in part."""
    return one if one == other else None


def between(X: Array, space: Space, labels: NDArray[Any]) -> float:
    """Return how much of the scatter of the centers the first k − 1 components have, of 1."""
    counts = np.bincount(labels)
    means = sums_of(X, labels, len(counts))[counts > 0] / counts[counts > 0, None] - space.mean
    along = means @ space.directions[:, : len(counts) - 1]
    weights = counts[counts > 0]
    scatter = [float(weights @ np.square(it).sum(axis=1)) for it in (along, means)]
    return scatter[0] / scatter[1]
