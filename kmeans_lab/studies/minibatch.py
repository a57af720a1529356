"""Mini-batches against all rows: inertia reached per distance computed, and per second.

The tutorial's third exercise. Work is counted in passes: as many distances as one iteration of full
k-means computes, rows times clusters, whether or not a kernel can leave some of them out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from kmeans_lab import kmeans, load_kernel
from kmeans_lab.estimators.minibatch_batches import batches
from kmeans_lab.estimators.minibatch_means import RunningMeans
from kmeans_lab.isolation.availability import choose_kernel
from kmeans_lab.kernel import Array
from kmeans_lab.presets import find_preset
from kmeans_lab.seeding import d2
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, Row
from kmeans_lab.studies.sources import TUTORIAL, tutorial_blobs, tutorial_plus_plus

SIZES = (1024, 50)  # rows in a batch: the default, and the tutorial's
LARGE = ("grid-100000-20", "blobs-100000-16-64")
PASSES = 3
SEEDS = 5  # what is said of mini-batches is the median of as many
COLORS = {"all rows": INK, "batches of 1024": PALETTE[0], "batches of 50": PALETTE[1]}


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A data set, a start for everybody, and where full k-means comes to rest from there."""

    name: str
    X: Array
    start: Array
    inertias: list[float]  # of full k-means, from the start on

    def gap(self, inertia: float) -> float:
        """Return by how many percent an inertia lies above that of full k-means at rest."""
        return 100 * (inertia / self.inertias[-1] - 1)

    @property
    def sizes(self) -> list[int]:
        """Batch sizes, none larger than the data."""
        return [size for size in SIZES if size < len(self.X)]


def run(book: Notebook) -> None:
    """Count the work, then measure the seconds."""
    X, _ = tutorial_blobs()
    problems = [_problem("the tutorial's 300 points", X, tutorial_plus_plus(X, 4, 0))]
    for name in LARGE:
        preset = find_preset(name).load()
        k = len(preset.centers)
        problems.append(_problem(name, preset.X, d2(preset.X, k, np.random.default_rng(1))))
    curves = {}
    for problem in book.track(problems, "counting"):
        for size in problem.sizes:
            curves[problem.name, size] = [_curve(problem, size, seed) for seed in range(SEEDS)]
    _work(book, problems, curves)
    _seconds(book, problems[1:])


def _problem(name: str, X: Array, start: Array) -> Problem:
    """Run full k-means until nothing moves."""
    rest = kmeans(X, len(start), init=start, tol=0.0, max_iter=1000, history=True)
    return Problem(name, X, start, [*(it.inertia for it in rest.history), rest.inertia])


def _curve(problem: Problem, size: int, seed: int) -> list[tuple[float, float]]:
    """Return passes and gap after some of the batches."""
    X, rng = problem.X, np.random.default_rng(seed)
    kernel = choose_kernel()
    means = RunningMeans(kernel, problem.start, np.zeros(X.shape[1]))
    labels, assign = np.empty(len(X), dtype=np.int32), load_kernel(kernel).assign
    drawn, n_steps = batches(len(X), size, rng), PASSES * len(X) // size
    seen = set(np.geomspace(1, n_steps, 40).astype(int).tolist())
    points = [(0.0, problem.gap(problem.inertias[0]))]
    for step in range(1, n_steps + 1):
        batch = X.take(next(drawn), axis=0)
        means.take(batch)
        means.restart_starved(0.01, batch, rng)
        if step in seen:
            inertia = assign(X, means.centers, labels)
            points.append((step * size / len(X), problem.gap(inertia)))
    return points


def _within(points: list[tuple[float, float]], percent: float) -> float | None:
    """Return the passes after which a curve comes, and stays, within a gap."""
    found = None
    for passes, gap in reversed(points):
        if gap > percent:
            return found
        found = passes
    return found


def _middle(curves: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Return the median of curves, point by point."""
    return [
        (points[0][0], median(gap for _, gap in points)) for points in zip(*curves, strict=True)
    ]


def _work(book: Notebook, problems: list[Problem], curves: dict[Any, Any]) -> None:
    """Show what a distance buys."""
    rows = []
    for problem in problems:
        full = [(float(i), problem.gap(it)) for i, it in enumerate(problem.inertias)]
        found = {"all rows": full}
        found |= {f"batches of {n}": _middle(curves[problem.name, n]) for n in problem.sizes}
        for who, points in found.items():
            rows.append(
                {
                    "data": problem.name,
                    "who": who,
                    "passes to within 10 %": _within(points, 10),
                    "passes to within 1 %": _within(points, 1),
                    "above rest after one pass, %": round(_at(points, 1), 6),
                    f"after {PASSES}, %": round(_at(points, PASSES), 6),
                }
            )
    book.say(
        "All methods start from the same array, which k-means++ drew as published. A batch is cut "
        "from a permutation of the rows, and each center moves to the mean of all rows assigned to "
        "it so far (Sculley, 2010). After some of the batches, the inertia of *all* rows is "
        f"computed. Median of {SEEDS} orders of the rows; a pass is as many distances as one "
        "iteration of full k-means computes, rows times clusters."
    )
    book.table("work", rows, shown=True)
    caption = "Inertia against passes over the data"
    with book.figure("work", caption, 1, 3, (10.0, 3.6), sharey=True) as axes:
        for axis, problem in zip(axes, problems, strict=True):
            for size in problem.sizes:
                who = f"batches of {size}"
                for points in curves[problem.name, size]:
                    _line(axis, points[1:], COLORS[who], alpha=0.25, linewidth=0.8)
                _line(axis, _middle(curves[problem.name, size])[1:], COLORS[who], label=who)
            full = [(float(i), problem.gap(it)) for i, it in enumerate(problem.inertias)]
            _line(axis, full[1:], INK, label="all rows", marker="o", ms=3)
            _gap_axis(axis, problem.name, "passes")
        axes[0].set_ylabel("inertia above rest, percent")
        axes[-1].legend()
    _claim(book, rows)


def _claim(book: Notebook, rows: list[Row]) -> None:
    """Try the exercise on the tutorial's own points: which method comes near the best first."""
    named = {row["who"]: row for row in rows if row["data"] == rows[0]["data"]}
    full, few = named["all rows"], named["batches of 50"]
    near, nearer = (f"passes to within {percent} %" for percent in (10, 1))
    late = f"not within {PASSES}" if few[nearer] is None else f"after {few[nearer]:.1f}"
    sooner = [few[it] is not None and few[it] < full[it] for it in (near, nearer)]
    book.claim(
        TUTORIAL,
        "instead of all points, randomly sample a batch of 50 each iteration: "
        "compare convergence speed vs accuracy",
        f"on its 300 points, batches come within 10 % of the inertia at rest after {few[near]:.1f} "
        f"passes, and all rows after {full[near]:.0f}; within 1 %, all rows come after "
        f"{full[nearer]:.0f}, and batches {late}",
        all(sooner) if sooner[0] == sooner[1] else None,
    )


def _at(points: list[tuple[float, float]], passes: float) -> float:
    """Return the gap of the last point that was reached by then."""
    return [gap for when, gap in points if when <= passes + 1e-9][-1]


def _line(axis: Any, points: list[tuple[float, float]], color: Any, **options: Any) -> None:
    axis.plot(*zip(*points, strict=True), **{"color": color} | options)


def _gap_axis(axis: Any, name: str, what: str) -> None:
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=0.1, linscale=0.5)
    low, high = axis.get_xlim()
    for steps in ((1,), (1, 2, 5)):  # more of them where there are few powers of ten
        ticks = [step * 10.0**power for power in range(-4, 5) for step in steps]
        ticks = [it for it in ticks if low <= it <= high]
        if len(ticks) > 3:
            break
    axis.set_xticks(ticks, [f"{it:,g}" for it in ticks])
    axis.set_xticks([], minor=True)
    axis.set_yticks([0, 0.1, 1, 10, 100], ["0", "0.1", "1", "10", "100"])
    axis.set_yticks([], minor=True)
    axis.set(title=name, xlabel=what)


class Timed(NamedTuple):
    """A whole fit: its data, who ran it, passes at most, seconds, and how far from rest it got."""

    data: str
    who: str
    passes: int
    seconds: float
    above_rest: float  # percent of the inertia


def _seconds(book: Notebook, problems: list[Problem]) -> None:
    """Measure whole fits that end after so many passes."""
    from threadpoolctl import threadpool_limits

    found: list[Timed] = []
    jobs = [(problem, *job) for problem in problems for job in _jobs(problem)]
    with threadpool_limits(1):
        for problem, who, passes, repeats, fit in book.track(jobs, "measuring"):
            spent = []
            for _ in range(repeats + (repeats > 1)):
                began = perf_counter()
                inertia = fit(passes)
                spent.append(perf_counter() - began)
            middle = median(spent[1:] or spent)  # the first one warms up
            found.append(Timed(problem.name, who, passes, middle, problem.gap(inertia)))
    headings = ("data", "who", "passes", "seconds", "above rest, %")
    rows = [dict(zip(headings, it, strict=True)) for it in found]
    book.table("seconds", rows, measured=True)
    _show_seconds(book, problems, found)


def _jobs(problem: Problem) -> list[tuple[str, int, int, Callable[[int], float]]]:
    """Return whole fits: who, passes at most, how often to measure, and the fit itself."""
    from sklearn.cluster import KMeans as TheirKMeans
    from sklearn.cluster import MiniBatchKMeans as TheirMiniBatch

    from kmeans_lab import MiniBatchKMeans

    X, k, rest = problem.X, len(problem.start), len(problem.inertias) - 1
    start = {"init": problem.start, "n_init": 1}

    def flagship(passes: int) -> float:
        return kmeans(X, k, init=problem.start, tol=0.0, max_iter=passes).inertia

    def theirs(passes: int) -> float:
        return float(TheirKMeans(k, **start, tol=0, max_iter=passes).fit(X).inertia_)

    def mini(who: Any, size: int, passes: int) -> float:
        options = {"max_iter": passes, "max_no_improvement": None, "random_state": 0}
        return float(who(k, **start, batch_size=size, **options).fit(X).inertia_)

    few = [p for p in (1, 2, 3, 5, 8, 13, 20, 30, 50) if p < rest]
    jobs: list[Any] = [("all rows", p, 5, flagship) for p in (*few, rest)]
    jobs += [("scikit-learn, all rows", p, 1, theirs) for p in (1, 3, 8, 20)]
    for size in problem.sizes:
        ours, other = partial(mini, MiniBatchKMeans, size), partial(mini, TheirMiniBatch, size)
        most = (1, 2, 5) if size == SIZES[0] else (1,)
        jobs += [(f"batches of {size}", p, 3, ours) for p in most]
        jobs += [(f"scikit-learn, batches of {size}", p, 1, other) for p in most]
    return jobs


def _show_seconds(book: Notebook, problems: list[Problem], found: list[Timed]) -> None:
    book.say(
        "The same in seconds, with one thread: whole fits including their checks and final labels, "
        "stopped after a given number of passes. scikit-learn's estimators start from the same "
        "array."
    )
    caption = "Inertia against the time of a whole fit"
    with book.figure("seconds", caption, 1, 2, (9.6, 4.0), sharey=True) as axes:
        for axis, problem in zip(axes, problems, strict=True):
            for who in dict.fromkeys(it.who for it in found):
                points = [
                    (1000 * it.seconds, it.above_rest)
                    for it in found
                    if (it.data, it.who) == (problem.name, who)
                ]
                theirs, name = who.startswith("scikit-learn"), who.removeprefix("scikit-learn, ")
                style = {"linestyle": ":", "mfc": "white"} if theirs else {}
                _line(axis, points, COLORS[name], label=who, marker="o", ms=4, **style)
            _gap_axis(axis, problem.name, "milliseconds")
        axes[0].set_ylabel("inertia above rest, percent")
        axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    races = [_race(problem, found) for problem in problems]
    book.table("race", races, measured=True, shown=True)
    plane, blobs = (list(it.values())[1:] for it in races)
    order = "before" if plane[3] < plane[0] else "after"
    book.say(
        "When are mini-batches worth using? Not for 300 points: full k-means is at rest after a "
        "few passes. Not in the plane, with a kernel that skips distances that cannot matter: on "
        f"{problems[0].name} full k-means is at rest {order} one pass of batches is over "
        f"({plane[3]:.0f} and {plane[0]:.0f} ms). They are worth using for many rows, clusters and "
        f"features, where a rough result is enough: on {problems[1].name} one pass gets to "
        f"{blobs[1]:.1f} % above rest in {blobs[0]:.0f} ms, where full k-means takes "
        f"{blobs[2]:.0f}; the last percent needs full k-means. They are also worth using where "
        "rows arrive one after another and are never in memory together: that is what "
        "`partial_fit` is for."
    )


def _race(problem: Problem, found: list[Timed]) -> Row:
    """Return which method is first to reach the inertia of one pass of mini-batches."""
    mine = [it for it in found if it.data == problem.name]
    mini = next(it for it in mine if it.who == "batches of 1024")
    full = [it for it in mine if it.who == "all rows"]
    level = next(it for it in full if it.above_rest <= max(mini.above_rest, 0))
    return {
        "data": problem.name,
        "one pass of batches of 1024, ms": 1000 * mini.seconds,
        "gets to, % above rest": mini.above_rest,
        "all rows get there in, ms": 1000 * level.seconds,
        "and come to rest in, ms": 1000 * full[-1].seconds,
    }
