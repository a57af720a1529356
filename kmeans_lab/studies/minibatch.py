"""What mini-batches save, and what they cost.

The tutorial's exercise: batches of 50 points instead of all of them. All ways begin at the same
centers; the inertia is always that of all rows, computed off the clock.
"""

from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.presets import PRESETS
from kmeans_lab.seeding import d2
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook
from kmeans_lab.studies.sources import TUTORIAL, tutorial_blobs

SEEDS, START = 9, 2
FLOOR = 0.005  # percent: what is drawn as nothing
BATCHES = (50, 1024)
LARGE = "grid-100000-20"
Trace = list[tuple[int, float, float]]  # distances, seconds so far, inertia of all rows


def run(book: Notebook) -> None:
    """Follow one fit of each kind on two sets, then compare whole fits from many starts."""
    sets: dict[str, tuple[Any, int]] = {"the tutorial's 300 points": (tutorial_blobs()[0], 4)}
    sets["100 000 points"] = PRESETS[LARGE].load().X, 20
    traces = {name: follow(X, k) for name, (X, k) in book.track(list(sets.items()), "traces")}
    rows = [
        {"set": name, "way": way, "distances": distances, "inertia": inertia}
        for name, ways in traces.items()
        for way, trace in ways.items()
        if not way.startswith("scikit-learn")
        for distances, _, inertia in trace
    ]
    book.table("traces", rows)
    book.say(
        "One fit each, all from the same k-means++ start: how the inertia of all rows falls with "
        "the distances that are computed, and with the seconds that it takes."
    )
    draw(book, traces)
    whole_fits(book, sets)


def follow(X: Any, k: int) -> dict[str, Trace]:
    """Return the traces of full k-means and of mini-batches, ours and scikit-learn's."""
    from sklearn.cluster import MiniBatchKMeans as Theirs

    start = d2(X, k, np.random.default_rng(START))
    ways = {"full k-means": full(X, start)}
    for size in BATCHES:
        if size < len(X):
            ways[f"batches of {size}"] = batchwise(MiniBatchKMeans, X, start, size)
            ways[f"scikit-learn, {size}"] = batchwise(Theirs, X, start, size)
    return ways


def full(X: Any, start: Any) -> Trace:
    """Follow Lloyd's iterations: as many distances for each as there are pairs."""
    n_pairs = len(X) * len(start)
    seen = kmeans(X, len(start), init=start, stop="labels", tol=0, history=True).history
    trace = []
    for it in seen[1:]:  # inertia is that of the centers an iteration begins with
        begin = perf_counter()
        kmeans(X, len(start), init=start, stop="max-iter", max_iter=it.n_iter - 1)
        trace.append(((it.n_iter - 1) * n_pairs, perf_counter() - begin, it.inertia))
    return trace


def batchwise(estimator: Any, X: Any, start: Any, size: int) -> Trace:
    """Follow an estimator's ``partial_fit``; it is looked at more and more rarely."""
    k, rng = len(start), np.random.default_rng(1)
    fit = estimator(k, init=start, n_init=1, random_state=0, batch_size=size)
    if estimator is MiniBatchKMeans:
        fit.set_params(compute_labels=False)
    shown = {round(2 ** (i / 2)) for i in range(40)}
    last = max(6 * len(X), 200 * size) // size
    trace, spent, order = [], 0.0, rng.permutation(len(X))
    for step in range(1, last + 1):
        if len(order) < size:
            order = rng.permutation(len(X))
        batch, order = X[order[:size]], order[size:]
        begin = perf_counter()
        fit.partial_fit(batch)
        spent += perf_counter() - begin
        if step in shown or step == last:
            trace.append((step * size * k, spent, inertia_of(X, fit.cluster_centers_)))
    return trace


def inertia_of(X: Any, centers: Any) -> float:
    """Return the inertia of all rows."""
    found = kmeans(X, len(centers), init=np.array(centers), max_iter=1, history=True)
    return found.history[0].inertia


def draw(book: Notebook, traces: dict[str, dict[str, Trace]]) -> None:
    """Draw each trace against distances and against seconds."""
    colors = {"full k-means": INK}
    for size, color in zip(BATCHES, (PALETTE[1], PALETTE[0]), strict=True):
        colors[f"batches of {size}"] = colors[f"scikit-learn, {size}"] = color
    caption = "Inertia above the lowest that any way reached, by distances and by seconds"
    with book.figure("traces", caption, 2, 2, (9.2, 6.2)) as axes:
        for row, (name, ways) in zip(axes, traces.items(), strict=True):
            least = min(trace[-1][2] for trace in ways.values())
            for way, trace in ways.items():
                theirs = way.startswith("scikit-learn")
                style = {"color": colors[way], "ls": ":" if theirs else "-", "label": way}
                inertia = [max(100 * (it[2] / least - 1), FLOOR) for it in trace]
                if not theirs:
                    row[0].plot([it[0] for it in trace], inertia, **style)
                row[1].plot([it[1] for it in trace], inertia, **style)
            row[0].set(title=f"{name}: by distances", ylabel="percent above the lowest")
            row[1].set_title("by seconds")
            for axis in row:
                axis.set(xscale="log", yscale="log", ylim=(FLOOR, 200))
        axes[1, 1].legend(loc="upper right")


def makers_for(X: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return what makes each way's estimator."""
    from sklearn.cluster import KMeans as TheirKMeans
    from sklearn.cluster import MiniBatchKMeans as Theirs

    makers: dict[str, Any] = {"full k-means": (KMeans, {}), "scikit-learn": (TheirKMeans, {})}
    for size in BATCHES:
        if size < len(X):
            makers[f"batches of {size}"] = (MiniBatchKMeans, {"batch_size": size})
        if size < len(X) < 1000 * size:  # half a minute for each fit where batches are so small
            makers[f"scikit-learn, {size}"] = (Theirs, {"batch_size": size})
    return makers


def whole_fits(book: Notebook, sets: dict[str, tuple[Any, int]]) -> None:
    """Compare whole fits, each until its own rule ends it, from the same k-means++ starts."""
    ends: list[dict[str, Any]] = []
    times: list[dict[str, Any]] = []
    for name, (X, k) in sets.items():
        makers = makers_for(X)
        fits: dict[str, list[Any]] = {way: [] for way in makers}
        for seed in book.track(range(SEEDS), name):
            start = kmeans(X, k, max_iter=1, random_state=seed).centers
            for way, (maker, options) in makers.items():
                estimator = maker(k, init=start, n_init=1, random_state=seed, **options)
                begin = perf_counter()
                estimator.fit(X)
                fits[way].append((estimator, perf_counter() - begin))
        best = min(inertia_of(X, it.cluster_centers_) for it, _ in fits["full k-means"])
        for way, found in fits.items():
            gap = median(100 * (inertia_of(X, it.cluster_centers_) / best - 1) for it, _ in found)
            batchwise = "batch_size" in makers[way][1]
            rows = median(
                it.n_steps_ * it.batch_size if batchwise else it.n_iter_ * len(X) for it, _ in found
            )
            row = {"set": name, "way": way, "distances": rows * k, "gap, %": round(gap, 3)}
            if not way.startswith("scikit-learn"):
                ends.append(row)
            times.append(row | {"ms": 1e3 * median(seconds for _, seconds in found)})
    book.table("ends", ends)
    book.say(
        f"Whole fits, each until its own rule ends it, from {SEEDS} k-means++ starts; medians. The "
        "gap is that of the inertia of all rows above the lowest of the full fits. Distances are "
        "counted as if each were computed; the full fits here leave out most of theirs."
    )
    book.table("fits", times, measured=True, shown=True)
    judge(book, {(row["set"], row["way"]): row for row in times}, list(sets)[-1])


def judge(book: Notebook, found: dict[tuple[str, str], Any], name: str) -> None:
    """Say what the exercise comes to."""
    whole, small = found[name, "full k-means"], found[name, f"batches of {BATCHES[0]}"]
    usual = found[name, f"batches of {BATCHES[1]}"]
    saved = small["distances"] < whole["distances"]
    book.claim(
        TUTORIAL,
        "exercise: batches of 50 points; compare the speed of convergence with the accuracy",
        f"on {name} they need {small['distances'] / whole['distances']:.1%} of the distances and "
        f"end {small['gap, %']:.1f} % above the best (batches of {BATCHES[1]}: "
        f"{usual['distances'] / whole['distances']:.1%} and {usual['gap, %']:.1f} %, full: "
        f"{whole['gap, %']:.1f} %); in seconds {small['ms'] / whole['ms']:.1f} and "
        f"{usual['ms'] / whole['ms']:.1f} times the full fit with a kernel that leaves out what "
        "cannot matter",
        saved if small["ms"] < whole["ms"] else None,
    )
