"""Where k-means fails: moons, circles, and clusters that are long, wide or few.

The tutorial shows two sets and names two assumptions. Here are five sets beside DBSCAN and spectral
clustering (scikit-learn's), and each assumption is then broken by degrees. Agreement with the truth
is the adjusted Rand index: 1 is the truth, 0 what chance would do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, Row, draw_clusters
from kmeans_lab.studies.sources import TUTORIAL, tutorial_start

Labels = NDArray[Any]

SEED = 42  # the tutorial's
APART = 6.0  # standard deviations between two centers
ROWS, DRAWS = 600, 20  # of each degree
RATIOS = (1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 100)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """A cluster: how many rows, around where, how wide in each direction."""

    n: int
    mean: tuple[float, float]
    std: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A set of rows with its truth, and what DBSCAN and spectral clustering are told of it."""

    X: Array
    truth: Labels
    best: Labels  # what one would say who knows how the rows were drawn
    eps: float
    gamma: float


def run(book: Notebook) -> None:
    """Show five sets, then break the assumptions by degrees."""
    cases = make_cases()
    _grid(book, cases)
    _settings(book, cases)
    _degrees(book)


def make_cases() -> dict[str, Case]:
    """Return the tutorial's two sets and three that break one assumption each."""
    from sklearn.datasets import make_circles, make_moons

    moons = make_moons(n_samples=300, noise=0.05, random_state=SEED)
    circles = make_circles(n_samples=300, noise=0.05, factor=0.5, random_state=SEED)
    wide = [Gaussian(100, (x, 0), (s, s)) for x, s in ((-6, 0.4), (0, 2.0), (6, 0.4))]
    few = [Gaussian(n, (x, y), (1, 1)) for n, x, y in ((260, 0, 0), (20, 4, 2), (20, 4, -2))]
    long = [Gaussian(100, (0, y), (4, 0.4)) for y in (-3, 0, 3)]
    return {
        "moons": Case(moons[0], moons[1], moons[1], eps=0.2, gamma=50.0),
        "circles": Case(circles[0], circles[1], circles[1], eps=0.2, gamma=50.0),
        "unequal widths": Case(*draw(wide, SEED), eps=0.95, gamma=2.0),
        "unequal numbers": Case(*draw(few, SEED), eps=0.7, gamma=5.0),
        "long": Case(*draw(long, SEED), eps=1.35, gamma=2.0),
    }


def draw(clusters: list[Gaussian], seed: int) -> tuple[Array, Labels, Labels]:
    """Return rows, which cluster each was drawn from, and which is the likeliest for it."""
    rng = np.random.default_rng(seed)
    X = np.concatenate([rng.normal(it.mean, it.std, (it.n, 2)) for it in clusters])
    scores = [
        np.log(it.n / np.prod(it.std)) - (((X - it.mean) / it.std) ** 2).sum(axis=1) / 2
        for it in clusters
    ]
    sizes = [it.n for it in clusters]
    return X, np.repeat(np.arange(len(clusters)), sizes), np.argmax(scores, axis=0)


def agreement(truth: Labels, labels: Labels) -> float:
    """Return the adjusted Rand index, in six digits."""
    from sklearn.metrics import adjusted_rand_score

    return round(float(adjusted_rand_score(truth, labels)), 6)


def in_words(index: float) -> str:
    """Return it with two digits, and zero without a sign."""
    return f"{round(index, 2) + 0.0:.2f}"


def three_ways(case: Case) -> Iterator[tuple[str, Labels]]:
    """Yield each method's name and labels."""
    k = len(np.unique(case.truth))
    yield "k-means", kmeans(case.X, k, n_init=10, tol=0.0, random_state=SEED).labels
    yield "DBSCAN", dbscan(case.X, case.eps)
    yield "spectral", spectral(case.X, k, case.gamma)


def dbscan(X: Array, eps: float) -> Labels:
    """Return DBSCAN's labels, −1 for noise."""
    from sklearn.cluster import DBSCAN

    return np.asarray(DBSCAN(eps=eps, min_samples=5).fit(X).labels_)


def spectral(X: Array, n_clusters: int, gamma: float) -> Labels:
    """Return the labels of spectral clustering; its last step draws nothing."""
    from sklearn.cluster import SpectralClustering

    options = {"gamma": gamma, "assign_labels": "cluster_qr", "random_state": SEED}
    return np.asarray(SpectralClustering(n_clusters, **options).fit(X).labels_)


def _grid(book: Notebook, cases: dict[str, Case]) -> None:
    rows: list[Row] = []
    caption = "Five sets, and what three methods make of them (adjusted Rand index)"
    heights = [float(np.divide(*np.ptp(case.X, axis=0)[::-1])) for case in cases.values()]
    size = (9.0, 2.1 * sum(heights) + 0.4 * len(heights))
    book.say(
        "The tutorial's two sets, and three more of 300 rows around three centers each: with one "
        "cluster five times as wide as the others, with one of 13 times as many rows, and with all "
        "three ten times as long as wide. k-means (the best of ten starts) and spectral clustering "
        "are given the number of clusters; DBSCAN is not, and the rows that it labels as noise are "
        "grey and count as one more cluster in the index. The eps of DBSCAN and the gamma of "
        "spectral clustering were chosen with the true labels at hand, which are not available in "
        "practice. The best possible labels are those that follow from how the rows were drawn."
    )
    with book.figure("sets", caption, len(cases), 4, size, height_ratios=heights) as axes:
        for line, (name, case) in zip(axes, cases.items(), strict=True):
            draw_clusters(line[0], case.X, case.truth, s=5)
            line[0].set_title(name)
            row: Row = {"rows": name}
            for axis, (method, labels) in zip(line[1:], three_ways(case), strict=True):
                row[method] = agreement(case.truth, labels)
                draw_clusters(axis, case.X, like(case.truth, labels), s=5)
                axis.set_title(f"{method}: {in_words(row[method])}")
            for axis in line:
                axis.set_axis_off()
            known = agreement(case.truth, case.best)
            rows.append(row | {"best possible": known, "eps": case.eps, "gamma": case.gamma})
    book.table("sets", rows, shown=True)
    _claim_shapes(book, cases, rows[:2])


def _claim_shapes(book: Notebook, cases: dict[str, Case], rows: list[Row]) -> None:
    """Judge the tutorial's two sets."""
    for row in rows:
        case = cases[row["rows"]]
        start = tutorial_start(case.X, 2, SEED)
        own = kmeans(case.X, 2, init=start, stop="allclose", max_iter=100).labels
        book.claim(
            TUTORIAL,
            f"k-means fails on {row['rows']}",
            f"adjusted Rand index {in_words(agreement(case.truth, own))} from the tutorial's "
            f"start, {in_words(row['k-means'])} with the best of ten",
            row["k-means"] < 0.5,
        )
    others = [row[method] for row in rows for method in ("DBSCAN", "spectral")]
    book.claim(
        TUTORIAL,
        "for these shapes, use DBSCAN or spectral clustering",
        f"adjusted Rand index {in_words(min(others))} with both methods on both sets, for eps = "
        f"{rows[0]['eps']:g} (and min_samples = 5) and gamma = {rows[0]['gamma']:g}",
        min(others) == 1.0,
    )


def like(truth: Labels, labels: Labels) -> Labels:
    """Return labels renamed so that clusters have the number of the truth they share most with."""
    found = labels.max() + 1
    shared = np.zeros((max(found, truth.max() + 1), truth.max() + 1), dtype=int)
    np.add.at(shared, (labels[labels >= 0], truth[labels >= 0]), 1)
    names = np.full(len(shared) + 1, -1)  # the last one is noise, −1
    for _ in range(min(shared.shape)):
        j, c = np.unravel_index(shared.argmax(), shared.shape)
        names[j] = c
        shared[j], shared[:, c] = -1, -1
    free = np.flatnonzero(names[:-1] < 0)
    names[free] = np.arange(shared.shape[1], shared.shape[1] + len(free))
    return np.asarray(names[labels])


def _settings(book: Notebook, cases: dict[str, Case]) -> None:
    """Say for which settings the two others find the tutorial's sets exactly."""
    rows: list[Row] = []
    for name in book.track(("moons", "circles"), "settings"):
        case = cases[name]
        right = [
            eps / 100
            for eps in range(5, 61)
            if agreement(case.truth, dbscan(case.X, eps / 100)) == 1
        ]
        sharp = [
            gamma
            for gamma in (1, 2, 5, 10, 20, 30, 50, 100, 200, 500)
            if agreement(case.truth, spectral(case.X, 2, float(gamma))) == 1
        ]
        rows.append(
            {"rows": name, "least eps": right[0], "largest eps": right[-1]}
            | {"least gamma": sharp[0], "largest gamma": sharp[-1]}
        )
    book.say(
        "Both methods have a parameter that k-means does not have, and its value matters. Of eps = "
        "0.05, 0.06 … 0.60 and gamma = 1, 2, 5 … 500, these recover the tutorial's sets without a "
        "mistake:"
    )
    book.table("settings", rows, shown=True)


#: What is unequal → the two clusters for a ratio.
BROKEN: dict[str, Callable[[float], list[Gaussian]]] = {
    "length to width": lambda r: [Gaussian(ROWS // 2, (0, y), (r, 1)) for y in (0, APART)],
    "width to width": lambda r: [
        Gaussian(ROWS // 2, (0, y), (s, s)) for y, s in ((0, r), (APART / 2 * (1 + r), 1))
    ],
    "rows to rows": lambda r: [
        Gaussian(n, (0, y), (1, 1))
        for y, n in ((0, ROWS - round(ROWS / (1 + r))), (APART, round(ROWS / (1 + r))))
    ],
}


def _degrees(book: Notebook) -> None:
    """Break one assumption at a time, by degrees; claim what came of it."""
    rows: list[Row] = []
    for what, clusters in BROKEN.items():
        for ratio in book.track(RATIOS, what):
            found, best = [], []
            for seed in range(DRAWS):
                X, truth, known = draw(clusters(ratio), seed)
                fit = kmeans(X, 2, n_init=10, tol=0.0, random_state=SEED)
                found.append(agreement(truth, fit.labels))
                best.append(agreement(truth, known))
            rows.append(
                {"unequal": what, "ratio": float(ratio), "k-means": float(np.mean(found))}
                | {"lowest": min(found), "highest": max(found)}
                | {"best possible": float(np.mean(best))}
            )
    book.table("degrees", rows)
    _draw_degrees(book, rows)
    _claim_assumptions(book, rows)


def _draw_degrees(book: Notebook, rows: list[Row]) -> None:
    """Draw the index against the ratio, a curve for each assumption."""
    book.say(
        f"Which assumption matters? Two clusters of {ROWS} rows in total, their centers {APART:g} "
        f"standard deviations apart (where the widths differ, three of each): {DRAWS} draws for "
        "each ratio, the best of ten starts. Long clusters side by side are cut across once that "
        "lowers the inertia more than a cut between them, (2/π) r² > (6/2)², r > "
        f"{3 * np.sqrt(np.pi / 2):.2f}; a small cluster loses its center once splitting the large "
        "one in two lowers the inertia more. Up to that point, k-means is barely affected. With "
        "unequal widths it never fails as badly: it puts the border in the middle, and mislabels "
        "the rows of the wide cluster that lie beyond it."
    )
    caption = "Two clusters, more and more unequal: mean, lowest and highest of twenty draws"
    with book.figure("degrees", caption, size=(7.2, 3.8)) as axis:
        for what, color in zip(BROKEN, PALETTE, strict=False):
            mine = [row for row in rows if row["unequal"] == what]
            low, high, mean = ([r[key] for r in mine] for key in ("lowest", "highest", "k-means"))
            axis.fill_between(RATIOS, low, high, color=color, alpha=0.15, lw=0)
            axis.plot(RATIOS, mean, "o-", ms=4, color=color, label=what)
        least = min(row["best possible"] for row in rows)
        axis.axhline(least, color=INK, lw=1, ls="--")
        words = f"best possible: at least {least:.2f}"
        axis.annotate(words, (1, least), (0, 5), textcoords="offset points")
        axis.set(xscale="log", xlabel="ratio", ylabel="adjusted Rand index", ylim=(-0.05, 1.15))
        axis.set_xticks([1, 2, 5, 10, 20, 50, 100], [1, 2, 5, 10, 20, 50, 100])
        axis.minorticks_off()
        axis.legend(loc="center left")


def _claim_assumptions(book: Notebook, rows: list[Row]) -> None:
    def at(what: str, ratio: float) -> float:
        return float(
            next(r["k-means"] for r in rows if (r["unequal"], r["ratio"]) == (what, ratio))
        )

    fails = {what: next((r for r in RATIOS if at(what, r) < 0.5), None) for what in BROKEN}
    least = min(at(what, 2) for what in BROKEN)
    early = [at(what, 2) < 0.9 for what in BROKEN]
    late = [at(what, 10) < 0.9 for what in BROKEN]
    book.claim(
        TUTORIAL,
        "k-means assumes spherical, equally-sized clusters",
        "with clusters unequal by 2 : 1 in any respect, k-means reaches an adjusted Rand index of "
        f"at least {least:.2f}. It fails on clusters {fails['length to width']} times as long as "
        f"wide, and where one has {fails['rows to rows']} times as many rows as the other; where "
        f"one is 10 times as wide, it reaches {at('width to width', 10):.2f}",
        True if all(early) else None if any(late) else False,
    )
