"""How much depends on where the centers start: five ways, thousands of fits.

The sources' own data, their own starts where they say what these are, and after each claim the
number that decides it. ``trials.py`` makes the fits and counts; ``starts_claims.py`` has what the
tutorial and the walk-through say.
"""

import numpy as np

from kmeans_lab import KMeansResult, kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.presets import PRESETS
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, Row, draw_clusters
from kmeans_lab.studies.sources import DEMO, POOLS, TUTORIAL, WALK, tutorial_blobs
from kmeans_lab.studies.starts_claims import RUNS, default_blobs, seeding, tutorial, walk_through
from kmeans_lab.studies.trials import SAME, STARTS, Trials, fit_to_rest, try_starts

FEWER = 200  # fits of the standard preset, each of which takes as long as ten of the others
LEGEND = {  # what the figures call them, in which colour
    "random": ("random rows", PALETTE[0]),
    "random-partition": ("random partition", PALETTE[1]),
    "first": ("first rows", PALETTE[2]),
    "d2": ("k-means++ as published (D²)", PALETTE[3]),
    "k-means++": ("k-means++, greedy", INK),
}


def run(book: Notebook) -> None:
    """Fit from all starts, then try what the sources say about them."""
    grid, standard = (PRESETS[name].load().X for name in ("grid-10000-10", "standard"))
    points, _ = tutorial_blobs()
    sets = [
        try_starts(book, "blobs", TUTORIAL, lambda seed: points, 4, RUNS),
        try_starts(
            book, "make_blobs()", WALK, lambda seed: default_blobs(seed)[0], 3, RUNS, varies=True
        ),
        try_starts(book, "grid-10000-10", POOLS, lambda seed: grid, 10, RUNS),
        try_starts(book, "standard", DEMO, lambda seed: standard, 25, FEWER),
    ]
    _tables(book, sets)
    _curves(book, sets)
    tutorial(book, sets[0], points)
    seeding(book, sets, points)
    walk_through(book, sets[1])
    _figure_two(book)
    _iterations(book, sets[2], grid)


def _tables(book: Notebook, sets: list[Trials]) -> None:
    """Say what was fitted, and write what came of it."""
    above = np.concatenate([it.ratios(start) for it in sets for start in STARTS]) - 1
    book.say(
        "Five ways to start, on the tutorial's `blobs`, the walk-through's `make_blobs()`, the "
        "multiprocessing study's `grid-10000-10` and the demo's `standard`, with the seeds 0, 1, "
        "2, … (`make_blobs()` draws its data with the same seeds); each fit goes on until no label "
        "changes. The best known inertia is the lowest of 100 repetitions, or that of a fit that "
        "is better still. A fit *finds the best* if its inertia is within one millionth of that; "
        f"the others are at least {above[above > SAME].min():.5f} above. *Repetitions* is the "
        "number of fits that find the best with a probability of 99 %, given this share; "
        "*distances* counts those of a fit and its start."
    )
    rows = [
        {
            "data": it.name,
            "start": start,
            "fits": len(it.fits[start]),
            "finds the best, %": 100 * it.found(start),
            "inertia / best, mean": float(it.ratios(start).mean()),
            "iterations, mean": it.mean(start, "n_iter"),
            "distances, mean": it.distances(start),
            "repetitions": it.repetitions(start),
        }
        for it in sets
        for start in STARTS
    ]
    book.table("ends", rows, shown=True)
    _, _, grid, standard = sets
    work = [grid.distances(it) * (grid.repetitions(it) or np.inf) for it in ("random", "k-means++")]
    book.say(
        "No start needs fewer repetitions than greedy k-means++. Even so, many of its single fits "
        f"miss the best: {100 * (1 - grid.found('k-means++')):.3g} % of them on `grid-10000-10`, "
        f"{100 * (1 - standard.found('k-means++')):.3g} % on `standard`. For the same certainty, "
        f"random rows cost {work[0] / work[1]:.0f} times as many distances on "
        "`grid-10000-10`.\n\n`first` draws nothing: there is one fit, and its result depends on "
        "the order of the rows. The rows of `standard` are sorted by blob, so the first 25 all lie "
        f"in one blob, and the fit ends at {standard.ratios('first')[0]:.1f} times the best "
        "inertia."
    )


def _curves(book: Notebook, sets: list[Trials]) -> None:
    """Draw for each set which share of the fits ends below an inertia."""
    caption = (
        "Share of the fits that end at or below a multiple of the best known inertia; a dotted "
        "line is a single fit"
    )
    with book.figure("ends", caption, 2, 2, (8.4, 6.2), sharey=True) as axes:
        for axis, it in zip(axes.flat, sets, strict=True):
            top = max(float(it.ratios(start).max()) for start in STARTS)
            for start, (label, color) in LEGEND.items():
                ratios = np.sort(it.ratios(start))
                if len(ratios) == 1:
                    axis.axvline(ratios[0], color=color, ls=":", label=label)
                    continue
                share = np.arange(1, len(ratios) + 1) / len(ratios)
                line = [1.0, *ratios, 1.3 * top], [0.0, *share, 1.0]
                axis.plot(*line, drawstyle="steps-post", color=color, label=label)
            axis.set(xscale="log", xlim=(0.97, 1.1 * top), ylim=(0, 1.02))
            axis.set_title(f"{it.source[0].upper()}{it.source[1:]}, k = {it.n_clusters}")
            ticks = (1, 2, 3, 5, 10, 20) if top > 6 else (1, 1.5, 2, 3, 4)
            axis.set_xticks(ticks, [f"{tick}×" for tick in ticks])
            axis.minorticks_off()
        handles, labels = axes[0, 1].get_legend_handles_labels()
        axes[0, 0].figure.legend(handles, labels, loc="outside lower center", ncols=3)
        for axis in axes[:, 0]:
            axis.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
            axis.set_ylabel("share of the fits")
        for axis in axes[1]:
            axis.set_xlabel("inertia, best known = 1")


def _figure_two(book: Notebook) -> None:
    """Fit as the multiprocessing study does for its second figure, and as well as we can."""
    sizes = (10, 20, 40)
    ratios, found = [], []
    for k in sizes:
        work = PRESETS[f"grid-10000-{k}"].load()
        theirs = kmeans(work.X, k, **work.settings())
        best = kmeans(work.X, k, n_init=100, tol=0.0, random_state=0)
        ratios.append(theirs.inertia / best.inertia)
        found.append((work.X, theirs, best))
    book.claim(
        POOLS,
        "Figure 2 shows the clusters of its data sets for k = 10, 20 and 40, N = 10⁴",
        "from its own start (seed 433) and with its own rule (one label in a hundred), the inertia "
        f"is {ratios[0]:.1f}, {ratios[1]:.1f} and {ratios[2]:.1f} times that of the best of 100 "
        "starts",
        all(it < 1.01 for it in ratios),
    )
    caption = "The multiprocessing study's Figure 2 (above), and the best of 100 starts (below)"
    with book.figure("figure-2", caption, 2, 3, (9.0, 6.4), sharex=True, sharey=True) as axes:
        for pair, k, ratio, (X, *results) in zip(axes.T, sizes, ratios, found, strict=True):
            for axis, result in zip(pair, results, strict=True):
                draw_clusters(axis, X, result.labels, result.centers, s=3)
                axis.set_axis_off()
            pair[0].set_title(f"k = {k}: {ratio:.1f} times the best")
            pair[1].set_title(f"k = {k}: the best")


def _iterations(book: Notebook, trials: Trials, X: Array) -> None:
    """Compare the three choices that the multiprocessing study lists, the third with an example."""
    analysed = [_analysed(X, seed) for seed in range(100)]
    least = trials.least()[0]
    rows: list[Row] = [
        {
            "start": LEGEND[start][0],
            "fits": len(trials.fits[start]),
            "iterations, mean": trials.mean(start, "n_iter"),
            "finds the best, %": 100 * trials.found(start),
        }
        for start in ("random", "random-partition")
    ]
    right = [it.inertia <= least * (1 + SAME) for it in analysed]
    rows.append(
        {
            "start": "previous analysis",
            "fits": len(analysed),
            "iterations, mean": float(np.mean([it.n_iter for it in analysed])),
            "finds the best, %": 100 * float(np.mean(right)),
        }
    )
    book.say(
        "The three choices of the multiprocessing study, on its 10 000 rows of 10 clusters. The "
        "*previous analysis* is a fit of 500 random rows, the best of 10 repetitions; its "
        "iterations cost a twentieth each and are not counted."
    )
    book.table("choices", rows, shown=True)
    means = [row["iterations, mean"] for row in rows]
    shares = [row["finds the best, %"] for row in rows]
    book.claim(
        POOLS,
        "centroids come from the data set, random assignment or previous analysis: this choice "
        "affects the convergence",
        f"{means[0]:.0f}, {means[1]:.0f} and {means[2]:.0f} iterations on average, and "
        f"{shares[0]:.3g}, {shares[1]:.3g} and {shares[2]:.3g} % of the fits find the best",
        max(means) > 1.2 * min(means),
    )


def _analysed(X: Array, seed: int) -> KMeansResult:
    """Fit from the centers of a few rows."""
    few = X[np.random.default_rng(seed).choice(len(X), 500, replace=False)]
    centers = kmeans(few, 10, n_init=10, random_state=seed).centers
    return fit_to_rest(X, 10, init=centers)
