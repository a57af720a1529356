"""Which way to find nearest centers is fastest, over rows, features and clusters.

The flagship has four engines and one rule that chooses among them. Each engine fits the same blobs
of many shapes; the map says which was fastest, where the rule chose another, and how long
scikit-learn takes for the whole fit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab import kmeans
from kmeans_lab.formatting import digits
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.measure.certify import fingerprint
from kmeans_lab.registry import FLAGSHIP
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, Row
from kmeans_lab.tuned import simd

FEATURES = (2, 4, 8, 16, 32, 64, 128, 256)
CLUSTERS = (8, 32, 128, 512)
ROWS, MANY_ROWS = (10_000, 100_000), 1_000_000
#: Values of the largest X: more than this is left out of the map.
MOST_VALUES = 32_000_000
ITERATIONS, ROUNDS = 10, 3
#: What ``prepare`` of the flagship calls its engines, and their colours on the map.
ENGINES = {
    "cells": PALETTE[0],
    "bound per row": PALETTE[1],
    "bounds per group": PALETTE[7],
    "all pairs": PALETTE[9],
}
MOST_CELL_FEATURES = 5
#: Losing less than this is no mistake of the rule: a run does not tell such engines apart.
SLACK = 1.15
RULE, README = "the flagship's rule", "the flagship's promise"


@dataclass(slots=True)
class Place:
    """One shape, and the seconds that each way took for it, round by round."""

    n_samples: int
    n_features: int
    n_clusters: int
    chosen: str = ""
    labels: set[str] = field(default_factory=set)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def middle(self, way: str) -> float:
        """Return the median of a way's seconds."""
        return median(self.seconds[way])

    @property
    def fastest(self) -> str:
        """The engine with the shortest fits."""
        return min((it for it in ENGINES if it in self.seconds), key=self.middle)

    @property
    def loss(self) -> float:
        """How many times as long as the fastest engine the chosen one takes."""
        return self.middle(self.chosen) / self.middle(self.fastest)

    @property
    def ratio(self) -> float:
        """How many times as long as ours a whole fit of scikit-learn takes."""
        pairs = zip(self.seconds["scikit-learn"], self.seconds[FLAGSHIP], strict=True)
        return median(theirs / ours for theirs, ours in pairs)


def run(book: Notebook) -> None:
    """Measure every shape, draw the map, and judge the rule by it."""
    sizes = (*ROWS, MANY_ROWS) if book.full else ROWS
    shapes = [
        Place(n, d, k)
        for n in sizes
        for d in FEATURES
        for k in CLUSTERS
        if n * d <= MOST_VALUES and k < n
    ]
    for place in book.track(shapes, "shapes"):
        measure(place)
    book.say(
        "Normal clouds around k normal centers (twice as far from the middle as the clouds are "
        f"wide, so that neighbours overlap), at most {ITERATIONS} iterations from k rows, float64, "
        f"one thread; medians of {ROUNDS} interleaved rounds. An engine's time is that of its "
        "preparation and passes, the ratio that of whole fits."
    )
    draw(book, shapes)
    tell(book, shapes)


def blobs(n_samples: int, n_features: int, n_clusters: int) -> tuple[Array, Array]:
    """Return rows around random centers, and rows to start from; the seed is ``n_samples``."""
    rng = np.random.default_rng(n_samples)
    centers = rng.normal(size=(n_clusters, n_features)) * 2
    X = centers[rng.integers(0, n_clusters, n_samples)]
    X += rng.normal(size=X.shape)
    return X, X[rng.choice(n_samples, n_clusters, replace=False)]


def passes(X: Array, start: Array, engine: str) -> tuple[str, Labels]:
    """Prepare rows for an engine ("": the chosen one) and let it iterate.

    Returns
    -------
    engine : str
        The one that ran.
    labels : ndarray (n_samples,) of int32
    """
    (k, d), centers = start.shape, start
    rows = simd.prepare(X, k, 1, engine=engine)
    labels = np.full(len(X), -1, np.int32)
    for _ in range(ITERATIONS):
        sums, counts = np.zeros((k, d)), np.zeros(k, np.int64)
        simd.assign_update(rows, centers, labels, sums, counts)
        # A cluster that lost its rows stays where it was.
        means = sums / np.maximum(counts, 1)[:, None]
        centers = np.where((counts > 0)[:, None], means, centers)
    return rows.engine, labels


def measure(place: Place) -> None:
    """Time all engines and both libraries in rounds, each way first in turn."""
    X, start = blobs(place.n_samples, place.n_features, place.n_clusters)
    place.chosen = simd.prepare(X, place.n_clusters, 1).engine

    def look(engine: str) -> None:
        place.labels.add(fingerprint(passes(X, start, engine)[1]))

    ways: dict[str, Callable[[], Any]] = {
        name: partial(look, name)
        for name in ENGINES
        if name != "cells" or place.n_features <= MOST_CELL_FEATURES
    }
    ways[FLAGSHIP] = lambda: kmeans(
        X, len(start), kernel=FLAGSHIP, init=start, max_iter=ITERATIONS, tol=0.0, empty="keep"
    )
    ways["scikit-learn"] = other_fit(X, start)
    names = list(ways)
    for turn in range(ROUNDS):
        for i in range(len(names)):
            name = names[(i + turn) % len(names)]
            began = perf_counter()
            ways[name]()
            place.seconds.setdefault(name, []).append(perf_counter() - began)


def other_fit(X: Array, start: Array) -> Callable[[], Any]:
    """Return scikit-learn's fit with one thread."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    estimator = KMeans(
        len(start), init=start, n_init=1, max_iter=ITERATIONS, tol=0.0, algorithm="lloyd"
    )

    def fit() -> None:
        with threadpool_limits(1):
            estimator.fit(X)

    return fit


def draw(book: Notebook, shapes: list[Place]) -> None:
    """Draw two maps for each number of rows: the fastest engine, and the ratio."""
    from matplotlib.patches import Patch

    sizes = sorted({it.n_samples for it in shapes})
    isa = simd.isa()
    caption = (
        "The engine with the fastest fit and its milliseconds (a ring: the rule chooses another); "
        f"beside it, how many times as long scikit-learn takes. One thread, float64, {isa}"
    )
    options: Any = {"squeeze": False, "sharex": True, "sharey": True}
    with book.figure("map", caption, len(sizes), 2, (9.6, 2.5 * len(sizes) + 0.5), **options) as it:
        for (left, right), n in zip(it, sizes, strict=True):
            here = [place for place in shapes if place.n_samples == n]
            for axis in (left, right):
                axis.set_xticks(range(len(FEATURES)), [f"{d}" for d in FEATURES])
                axis.set_yticks(range(len(CLUSTERS)), [f"{k}" for k in CLUSTERS])
                axis.set(xlim=(-0.5, len(FEATURES) - 0.5), ylim=(-0.5, len(CLUSTERS) - 0.5))
                axis.grid(visible=False)
                axis.tick_params(length=0)
            left.set(title=f"{n:,} rows: fastest engine", ylabel="clusters")
            right.set_title("times as fast as scikit-learn")
            for place in here:
                engine_square(left, place)
                ratio_square(right, place)
        for axis in it[-1]:
            axis.set_xlabel("features")
        names = [name for name in ENGINES if any(name == place.fastest for place in shapes)]
        patches = [Patch(color=ENGINES[name], label=name) for name in names]
        it[-1][0].figure.legend(handles=patches, loc="outside lower center", ncols=len(patches))


def square(axis: Any, place: Place, fill: Any, text: str, ink: str = INK) -> tuple[int, int]:
    """Draw one shape's square; return where."""
    from matplotlib.patches import Rectangle

    x, y = FEATURES.index(place.n_features), CLUSTERS.index(place.n_clusters)
    axis.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, color=fill, lw=0))
    axis.text(x, y, text, ha="center", va="center", fontsize=7.5, color=ink)
    return x, y


def engine_square(axis: Any, place: Place) -> None:
    """Draw the fastest engine's colour and milliseconds."""
    color = ENGINES[place.fastest]
    x, y = square(axis, place, color, digits(1e3 * place.middle(place.fastest), 2))
    if place.loss > SLACK:
        axis.plot([x + 0.36], [y + 0.3], "o", ms=5, mfc=ENGINES[place.chosen], mec=INK, mew=0.8)


def ratio_square(axis: Any, place: Place) -> None:
    """Draw the ratio on a logarithmic scale from white (as fast) to blue (32 times)."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("ratio", ["#ffffff", PALETTE[0], "#16406b"])
    depth = float(np.clip(np.log2(place.ratio) / 5, 0.0, 1.0))
    color = PALETTE[2] if place.ratio < 1 else scale(depth)
    ink = "white" if depth > 0.55 or place.ratio < 1 else INK
    square(axis, place, color, digits(place.ratio, 2), ink)


def tell(book: Notebook, shapes: list[Place]) -> None:
    """Write the table; judge the rule and the promise."""
    rows: list[Row] = []
    for it in shapes:
        row: Row = {"n": it.n_samples, "d": it.n_features, "k": it.n_clusters}
        for name in ENGINES:
            row[f"{name}, ms"] = 1e3 * it.middle(name) if name in it.seconds else ""
        row |= {"chosen": it.chosen, "whole fit, ms": 1e3 * it.middle(FLAGSHIP)}
        rows.append(row | {"scikit-learn, ms": 1e3 * it.middle("scikit-learn")})
    book.table("shapes", rows, measured=True)
    same = all(len(it.labels) == 1 for it in shapes)
    book.claim(
        RULE,
        "all engines find the same labels",
        f"{len(shapes)} shapes, {'all' if same else 'not all'} with equal labels",
        same,
    )
    right, worst = [it for it in shapes if it.loss <= SLACK], max(shapes, key=lambda it: it.loss)
    book.claim(
        RULE,
        "the engine that is chosen is the fastest",
        f"it is, or loses at most {SLACK - 1:.0%}, for {len(right)} of {len(shapes)} shapes; the "
        f"most that it loses is a factor of {digits(worst.loss)} ({_shape(worst)})",
        True if len(right) == len(shapes) else None if len(right) >= 0.8 * len(shapes) else False,
    )
    slow, ratios = min(shapes, key=lambda it: it.ratio), [it.ratio for it in shapes]
    book.claim(
        README,
        "a whole fit is faster than scikit-learn's, whatever the shape",
        f"{digits(median(ratios))} times as fast at the median of {len(shapes)} shapes, "
        f"{digits(slow.ratio)} times at least ({_shape(slow)})",
        slow.ratio > 1,
    )


def _shape(it: Place) -> str:
    return f"{it.n_samples:,} × {it.n_features}, k = {it.n_clusters}"
