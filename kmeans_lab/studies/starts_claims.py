"""What the tutorial and the walk-through say about starts; a part of the study ``starts``."""

from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import KMeansResult, kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.seeding import d2
from kmeans_lab.studies.notebook import Notebook, Row, draw_clusters
from kmeans_lab.studies.originals import walk_through_loop
from kmeans_lab.studies.sources import TUTORIAL, WALK, tutorial_plus_plus, tutorial_start
from kmeans_lab.studies.trials import SAME, STARTS, Trials, between

RUNS = 1000
BAD = 1.1  # times the best known inertia: two blobs share a center, and two centers a blob


def default_blobs(seed: int) -> tuple[Array, NDArray[Any]]:
    """Return the walk-through's data, which it draws without a seed: 100 rows of three blobs."""
    from sklearn.datasets import make_blobs

    X, truth = make_blobs(random_state=seed)
    return X, truth


def tutorial(book: Notebook, trials: Trials, X: Array) -> None:
    """Try the tutorial's seed 0, and a thousand others, by its own recipe."""
    least = trials.least()[0]

    def fit(start: Array) -> KMeansResult:
        return kmeans(X, 4, init=start, stop="allclose", max_iter=100)

    starts = {"random": tutorial_start, "k-means++": tutorial_plus_plus}
    ratios = {
        name: np.array([fit(draw(X, 4, seed)).inertia for seed in range(RUNS)]) / least
        for name, draw in starts.items()
    }
    bad = {name: int((it > BAD).sum()) for name, it in ratios.items()}
    book.claim(
        TUTORIAL,
        "seed 0 is a bad seed for the random start that k-means++ is compared with",
        f"random ends at {ratios['random'][0]:.1f} times the best inertia, k-means++ at "
        f"{ratios['k-means++'][0]:.1f} times",
        bool(ratios["random"][0] > BAD >= ratios["k-means++"][0]),
    )
    book.claim(
        TUTORIAL,
        "a random start can give bad results",
        f"{bad['random']} of {RUNS:,} seeds end more than 10 % above the best inertia; with the "
        f"tutorial's k-means++, {bad['k-means++']} do",
        bad["random"] > 0,
    )
    _seed_0(book, X, {name: fit(draw(X, 4, 0)) for name, draw in starts.items()})
    spread = {name: trials.median(name, "spread") for name in ("random", "d2")}
    each = {name: trials.mean(name, "one_each") for name in spread}
    book.claim(
        TUTORIAL,
        "k-means++ picks initial centroids that are spread out",
        f"the two closest centers are {spread['d2']:.1f} times as far apart as the two closest "
        f"blobs (random rows: {spread['random']:.1f} times; medians), and {100 * each['d2']:.3g} % "
        f"of the starts have one center in each blob (random rows: {100 * each['random']:.3g} %)",
        spread["d2"] > 2 * spread["random"],
    )


def _seed_0(book: Notebook, X: Array, found: dict[str, KMeansResult]) -> None:
    caption = (
        "The tutorial's seed 0: where the fits from its random start and from its k-means++ end"
    )
    with book.figure("seed-0", caption, 1, 2, (8.0, 3.8)) as axes:
        for axis, (name, result) in zip(axes, found.items(), strict=True):
            draw_clusters(axis, X, result.labels, result.centers)
            axis.set_title(f"{name}: inertia {result.inertia:,.0f}")
            axis.set_axis_off()


def seeding(book: Notebook, sets: list[Trials], X: Array) -> None:
    """Look at the starts before the first iteration, k-means++'s above all."""
    rows: list[Row] = [
        {
            "data": it.name,
            "start": start,
            "inertia / best, mean": float(it.first_ratios(start).mean()),
            "8 (ln k + 2)": 8 * (log(it.n_clusters) + 2),
            "closest two, median": it.median(start, "spread"),
            "one in each cluster, %": 100 * it.mean(start, "one_each"),
        }
        for it in sets
        for start in STARTS
    ]
    book.say(
        "Before the first iteration: the inertia of the starting centers; the distance between the "
        "closest two of them, in units of that between the closest two centers of the best fit; "
        "and how often each cluster of the best fit has one of them."
    )
    book.table("begins", rows, shown=True)
    published = [row for row in rows if row["start"] == "d2"]
    found = [row["inertia / best, mean"] for row in published]
    bounds = [row["8 (ln k + 2)"] for row in published]
    book.claim(
        "Arthur and Vassilvitskii (2007)",
        "on average, a k-means++ start has at most 8 (ln k + 2) times the least possible inertia",
        f"{min(found):.1f} to {max(found):.1f} times the best known on the four sets, where the "
        f"bound is {min(bounds):.0f} to {max(bounds):.0f}",
        all(mean <= bound for mean, bound in zip(found, bounds, strict=True)),
    )
    _plus_plus(book, sets, X)
    _scikit_learn(book, sets, X)


def _plus_plus(book: Notebook, sets: list[Trials], X: Array) -> None:
    """Try what the walk-through says about k-means++, which it leaves out."""
    deviations = [[float(it.ratios(start).std()) for start in ("random", "d2")] for it in sets]
    book.claim(
        WALK,
        "k-means++ produces more stable clusters",
        "standard deviation of the final inertia, as a multiple of the best, with random rows and "
        "with k-means++: " + ", ".join(f"{a:.2f} and {b:.2f}" for a, b in deviations),
        all(b < a for a, b in deviations),
    )
    share = float(np.mean([_farthest(X, seed) for seed in range(RUNS)]))
    book.claim(
        WALK,
        "k-means++ maximizes the distance between a centroid and the others",
        f"{100 * share:.3g} % of its draws on the tutorial's blobs take the farthest row: any row "
        "may be drawn, with a probability proportional to D²",
        share == 1,
    )


def _farthest(X: Array, seed: int) -> float:
    """Return the share of D² draws that take the row farthest from the centers before it."""
    centers = d2(X, 4, np.random.default_rng(seed))
    taken = []
    for j in range(1, len(centers)):
        nearest = between(X, centers[:j]).min(axis=1)
        taken.append(between(centers[j : j + 1], centers[:j]).min() >= nearest.max())
    return float(np.mean(taken))


def _scikit_learn(book: Notebook, sets: list[Trials], X: Array) -> None:
    """Ask scikit-learn itself which rows it starts from."""
    from sklearn.cluster import KMeans, kmeans_plusplus

    def rows(seed: int, **options: Any) -> list[int]:
        return list(kmeans_plusplus(X, 4, random_state=seed, **options)[1])

    greedy = all(rows(seed) == rows(seed, n_local_trials=2 + int(log(4))) for seed in range(20))
    published = all(rows(seed) == rows(seed, n_local_trials=1) for seed in range(20))
    shares = [(100 * it.found("d2"), 100 * it.found("k-means++")) for it in sets]
    named = KMeans().init == "k-means++"
    book.claim(
        WALK,
        "k-means++ is the initialization algorithm used in scikit-learn",
        "scikit-learn uses this name, but draws 2 + ⌊ln k⌋ candidates for each center and keeps "
        "the best of them: greedy k-means++. Share of the fits that find the best, as published "
        "and greedy: " + ", ".join(f"{a:.3g} and {b:.3g} %" for a, b in shares),
        named if published else None if named and greedy else False,
    )


def walk_through(book: Notebook, trials: Trials) -> None:
    """Run the walk-through's example a thousand times, each time with data of its own."""
    runs: dict[str, list[KMeansResult]] = {"a random start": [], "the best of 100": trials.best}
    agreed: dict[str, list[float]] = {name: [] for name in runs}
    for seed in range(RUNS):
        X, truth = default_blobs(seed)
        again = kmeans(X, 3, init="random", tol=0.0, random_state=RUNS + seed)
        runs["a random start"].append(again)
        for name, found in agreed.items():
            found.append(_agreement(truth, runs[name][seed].labels))
    least = trials.least()
    inertias = {name: np.array([it.inertia for it in found]) for name, found in runs.items()}
    rows: list[Row] = [
        {
            "run": name,
            "finds the best, %": 100 * float((inertias[name] <= least * (1 + SAME)).mean()),
            "exactly the blobs, %": 100 * float((np.array(found) == 1).mean()),
            "ARI, mean": float(np.mean(found)),
        }
        for name, found in agreed.items()
    ]
    book.say(
        f"The walk-through's example, {RUNS:,} times: `make_blobs()` with the seeds 0, 1, …, and a "
        "random start. The adjusted Rand index (ARI) is 1 where the clusters are exactly the "
        "blobs."
    )
    book.table("walk-through", rows, shown=True)
    first = np.array([it.inertia for it in trials.fits["random"]])
    second = inertias["a random start"]
    _found_by_chance(book, int((np.abs(first - second) > SAME * least).sum()), rows)
    failed = int(np.flatnonzero(second > BAD * least)[0])
    _three(book, failed, {name: found[failed] for name, found in runs.items()})
    _compared(book)


def _found_by_chance(book: Notebook, differing: int, rows: list[Row]) -> None:
    once, best = rows
    share = once["finds the best, %"]
    book.claim(
        WALK,
        "random centroids can result in different clusters in different runs",
        f"two runs end in different clusters on {differing} of {RUNS:,} data sets",
        differing > 0,
    )
    book.claim(
        WALK,
        "this time it looks like our implementation was able to find the correct clusters",
        f"{share:.3g} % of the runs find the clusters of the lowest inertia, "
        f"{once['exactly the blobs, %']:.3g} % exactly the blobs that were drawn (the best of 100: "
        f"{best['exactly the blobs, %']:.3g} %; blobs may overlap)",
        True if share > 99 else None if share > 1 else False,
    )


def _agreement(truth: NDArray[Any], labels: NDArray[Any]) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(truth, labels))


def _three(book: Notebook, seed: int, runs: dict[str, KMeansResult]) -> None:
    """Draw the first data set that a random start fails on: as found, as best, as drawn."""
    X, truth = default_blobs(seed)
    caption = f"The walk-through's pictures, for data on which a single run fails (seed {seed})"
    panels: list[tuple[str, Any, Any]] = [
        (f"{name}: inertia {it.inertia:,.0f}", it.labels, it.centers) for name, it in runs.items()
    ]
    panels.append(("the blobs as drawn", truth, None))
    with book.figure("walk-through", caption, 1, 3, (9.0, 2.6)) as axes:
        for axis, (title, labels, centers) in zip(axes, panels, strict=True):
            draw_clusters(axis, X, _left_to_right(X, labels), centers, s=14)
            axis.set_title(title)
            axis.set_axis_off()


def _left_to_right(X: Array, labels: NDArray[Any]) -> NDArray[Any]:
    """Renumber clusters by their means' first feature: the same cluster, the same colour."""
    means = [X[labels == j, 0].mean() for j in range(labels.max() + 1)]
    return np.asarray(np.argsort(np.argsort(means))[labels])


def _compared(book: Notebook) -> None:
    """Do the comparison that the walk-through announces: with what scikit-learn returns."""
    from sklearn.cluster import KMeans

    same, drawn = [], []
    for seed in range(200):
        X, truth = default_blobs(seed)
        start = X[np.random.default_rng(seed).choice(len(X), 3, replace=False)]
        loop = walk_through_loop(X, 3, init=start).labels
        returned = KMeans(3, init=start, n_init=1, tol=0.0, max_iter=500).fit(X).labels_
        same.append(np.array_equal(loop, returned))
        drawn.append(_agreement(truth, returned) == 1)
    book.claim(
        WALK,
        "the second plot has the clusters returned by scikit-learn",
        "it shows the blobs that `make_blobs` drew. From the same start, scikit-learn's `KMeans` "
        f"returns these on {sum(drawn)} of 200 data sets, and the walk-through's clusters on "
        f"{sum(same)}",
        all(drawn),
    )
