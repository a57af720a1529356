"""The speedup by several processes, and what limits it.

The multiprocessing study printed 45 speedups without a second beside them. Here its program runs
again on its nine data sets, with seconds, start-up apart, and the same sets go through our kernels
with threads and with processes that share memory.
"""

import pickle
from functools import partial
from math import ceil
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab import kmeans
from kmeans_lab.formatting import digits
from kmeans_lab.measure.roofline import arithmetic_alone
from kmeans_lab.presets import PRESETS, Workload
from kmeans_lab.registry import FLAGSHIP
from kmeans_lab.studies import pools
from kmeans_lab.studies.notebook import FAINT, INK, PALETTE, Notebook, Row, draw_clusters
from kmeans_lab.studies.originals import pools_nearest
from kmeans_lab.studies.pools import CLUSTERS, PUBLISHED, PUBLISHED_SERIAL, SIZES, WORKERS
from kmeans_lab.studies.sources import POOLS

REPEATS = 3
SMALL, LARGE, MANY = SIZES[0], SIZES[-1], WORKERS[-1]
#: Kernels and modes, each with 1, 2, 4, 8 and 16 workers.
OURS = {
    "numpy": ("numpy", "threads"),
    "cpp, threads": ("cpp", "threads"),
    "cpp, processes": ("cpp", "processes"),
    FLAGSHIP: (FLAGSHIP, "serial"),
}
Cell = tuple[int, int]  # n_clusters, n_samples


def run(book: Notebook) -> None:
    """Count the iterations, run the study's program, run ours, and say what limits both."""
    sets = {(k, n): PRESETS[f"grid-{n}-{k}"].load() for n in SIZES for k in CLUSTERS}
    n_iter = count_iterations(book, sets)
    some = sets if book.full else {(k, n): it for (k, n), it in sets.items() if n == SMALL}
    theirs, starts = run_theirs(book, some)
    seconds, speedups = extrapolate(book, n_iter, theirs, starts)
    ours = run_ours(book, sets)
    draw(book, speedups, ours)
    draw_seconds(book, seconds, ours)
    what_limits(book, n_iter, theirs, starts)


def count_iterations(book: Notebook, sets: dict[Cell, Workload]) -> dict[Cell, int]:
    """Cluster each set as the study does, with our kernel; draw the small ones."""
    rows, found = [], {}
    for (k, n), it in sets.items():
        found[k, n] = kmeans(it.X, k, **it.settings())
        result = found[k, n]
        rows.append(
            {
                "k": k,
                "N": n,
                "iterations": result.n_iter,
                "distances": result.n_iter * n * k,
                "inertia per row": result.inertia / n,
            }
        )
    book.say(
        "Nine sets: N points around k centers in the unit square, from the study's own seeds. A "
        "fit stops when at most one label in a hundred changes. The study's slides do not say how "
        "many iterations that takes; the number varies by a factor of four, and the seconds vary "
        "with it from set to set."
    )
    book.table("iterations", rows, shown=True)
    caption = f"The sets of {SMALL:,} points, clustered as in the study: one start, no repetition"
    with book.figure("sets", caption, 1, 3, (9.6, 3.4)) as axes:
        for axis, k in zip(axes, CLUSTERS, strict=True):
            result = found[k, SMALL]
            draw_clusters(axis, sets[k, SMALL].X, result.labels, result.centers, s=2)
            axis.set_title(f"k = {k}")
            axis.set_axis_off()
    return {cell: result.n_iter for cell, result in found.items()}


#: (n_clusters, n_samples), workers (0: the serial program) → what each repeat spent.
Theirs = dict[tuple[Cell, int], list[pools.Spent]]


def run_theirs(book: Notebook, sets: dict[Cell, Workload]) -> tuple[Theirs, dict[int, float]]:
    """Run the study's program; return what each fit spent, and the seconds that pools start in."""
    theirs: Theirs = {}
    starts: dict[int, float] = {}
    labels: dict[Cell, Any] = {}
    repeats = 1 if book.full else REPEATS
    same = True
    for p in WORKERS:
        with pools.start_pool(p) as (pool, starts[p]):
            # Beside each pool the serial program once more: a machine is not the same all day.
            work = [(cell, it) for cell in sets for it in (None, *[pool] * repeats)]
            for cell, helper in book.track(work, f"the study's program, {p} processes"):
                it = sets[cell]
                found, spent = pools.fit(it.X, it.centers, helper)
                same &= np.array_equal(found, labels.setdefault(cell, found))
                theirs.setdefault((cell, p if helper else 0), []).append(spent)
    book.claim(
        POOLS,
        "the serial and the parallel program give the same labels",
        f"{sum(map(len, theirs.values()))} fits, {'all' if same else 'not all'} with equal labels",
        same,
    )
    return theirs, starts


def extrapolate(
    book: Notebook, n_iter: dict[Cell, int], theirs: Theirs, starts: dict[int, float]
) -> tuple[dict[Cell, list[float]], dict[Cell, list[float]]]:
    """Return the seconds of 0 (serial), 1 … 16 processes for each of nine sets, and speedups."""
    seconds, speedups, rows = {}, {}, []
    for k, n in n_iter:
        base = (k, n) if ((k, n), 0) in theirs else (k, SMALL)
        times = n / base[1] * n_iter[k, n] / n_iter[base]
        serial = [times * it.whole for it in theirs[base, 0]]  # one beside each pool
        parallel = [starts[p] + times * median(it.whole for it in theirs[base, p]) for p in WORKERS]
        seconds[k, n] = [median(serial), *parallel]
        speedups[k, n] = [alone / t for alone, t in zip(serial, parallel, strict=True)]
        row: Row = {"k": k, "N": n, "serial s": seconds[k, n][0]}
        row["then"] = PUBLISHED_SERIAL[k, n]
        for p, found, then in zip(WORKERS, speedups[k, n], PUBLISHED[k, n], strict=True):
            row |= {f"S{p}": found, f"then S{p}": then}
        rows.append(row)
    book.say(
        "The study's program on this machine, and (`then`) the published values. The time to start "
        "the pool is included."
        + (
            ""
            if book.full
            else f" Medians of {REPEATS} fits of {SMALL:,} points, each pool compared with a "
            "serial fit run beside it; **the larger sets are extrapolated** in proportion to "
            "their rows and iterations, with the start counted once (`--full` runs them, which "
            "takes an hour)."
        )
    )
    book.table("speedups", rows, measured=True, shown=True)
    judge(book, rows)
    return seconds, speedups


def judge(book: Notebook, rows: list[Row]) -> None:
    """Say whether the speedups grow with the size, and whether they are linear."""
    best = [max(row[f"S{p}"] for p in WORKERS) for row in rows]
    many = [row[f"S{MANY}"] for row in rows]
    sizes = len(CLUSTERS)
    grows = all(a < b for a, b in zip(best[:sizes], best[-sizes:], strict=True))
    book.claim(
        POOLS,
        "the speedup is not linear, and gets better with N and k",
        f"the best speedup of each set is {min(best):.2f} to {max(best):.2f}; with {MANY} "
        f"processes it is {min(many):.2f} to {max(many):.2f}",
        grows and max(many) < MANY / 2,
    )


Ours = dict[tuple[Cell, str, int], float]


def run_ours(book: Notebook, sets: dict[Cell, Workload]) -> Ours:
    """Run our kernels with as many threads or processes; return the median seconds of a fit."""
    spent: dict[tuple[Cell, str, int], list[float]] = {}
    starts: dict[tuple[Cell, str, int], list[float]] = {}
    jobs = [
        (cell, name, p)
        for cell in sets
        for _ in range(1 if cell[1] == LARGE and not book.full else REPEATS)
        for name in OURS
        for p in WORKERS
    ]
    for job in book.track(jobs, "our kernels"):
        cell, name, p = job
        it, (kernel, mode) = sets[cell], OURS[name]
        settings = it.settings() | {"n_threads": p, "mode": mode}
        start = perf_counter()
        result = kmeans(it.X, cell[0], kernel=kernel, **settings)
        spent.setdefault(job, []).append(perf_counter() - start)
        starts.setdefault(job, []).append(result.seconds["prepare"])
    found = {job: median(times) for job, times in spent.items()}
    rows = []
    for k, n in sets:
        for name in OURS:
            times = [found[(k, n), name, p] for p in WORKERS]
            row: Row = {"k": k, "N": n, "kernel": name, "1 worker, ms": 1e3 * times[0]}
            row["of it start and layout, ms"] = 1e3 * median(starts[(k, n), name, 1])
            rows.append(row | {f"S{p}": times[0] / t for p, t in zip(WORKERS, times, strict=True)})
    book.say(
        "The same nine sets, with the same starts and stop rule, and our own kernels: whole fits, "
        "including the start of threads and processes. Processes share one copy of the rows; only "
        "centers, sums and counts go back and forth."
    )
    book.table("kernels", rows, measured=True, shown=True)
    return found


def draw(book: Notebook, speedups: dict[Cell, list[float]], ours: Ours) -> None:
    """Draw the speedups as the study does."""
    caption = (
        "Speedup against the number of processes: published, the same program here, and our kernels"
    )
    with book.figure("speedups", caption, 1, 3, (9.6, 3.4), sharey=True) as axes:
        for axis, k in zip(axes, CLUSTERS, strict=True):
            axis.plot(WORKERS, WORKERS, ":", color=INK, lw=1, label="ideal")
            for n, color in zip((SMALL, LARGE), (PALETTE[1], PALETTE[2]), strict=True):
                label = f"$N = 10^{len(str(n)) - 1}$"
                then, here = PUBLISHED[k, n], speedups[k, n]
                axis.plot(WORKERS, then, "o--", ms=3, lw=1, color=color, label=f"{label}, then")
                axis.plot(WORKERS, here, "o-", ms=4, color=color, label=f"{label}, here")
            mine = [ours[(k, LARGE), "cpp, threads", p] for p in WORKERS]
            curve = [mine[0] / t for t in mine]
            axis.plot(
                WORKERS, curve, "s-", ms=4, color=PALETTE[0], label="$N = 10^6$, cpp, threads"
            )
            axis.set(title=f"k = {k}", xlabel="workers", ylim=(0, 3), xscale="log")
            axis.set_xticks(WORKERS, WORKERS)
            axis.minorticks_off()
        axes[0].set_ylabel("serial / parallel seconds")
        axes[2].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def draw_seconds(book: Notebook, seconds: dict[Cell, list[float]], ours: Ours) -> None:
    """Draw the seconds, which the study does not."""
    cell = (CLUSTERS[-1], LARGE)
    ways = {
        "published, serial": PUBLISHED_SERIAL[cell],
        "published, the best": PUBLISHED_SERIAL[cell] / max(PUBLISHED[cell]),
        "the same here, serial": seconds[cell][0],
        "the same here, 2 processes": seconds[cell][1 + WORKERS.index(2)],
        "numpy, one thread": ours[cell, "numpy", 1],
        "cpp, one thread": ours[cell, "cpp, threads", 1],
        "cpp, 2 processes": ours[cell, "cpp, processes", 2],
        f"{FLAGSHIP}, one thread": ours[cell, FLAGSHIP, 1],
        f"{FLAGSHIP}, 2 threads": ours[cell, FLAGSHIP, 2],
    }
    caption = "Seconds for the largest set: a million points, k = 40"
    with book.figure("seconds", caption, size=(7.6, 3.2)) as axis:
        colors = [FAINT, FAINT, *[PALETTE[1]] * 2, *[PALETTE[0]] * 5]
        axis.barh(list(ways), list(ways.values()), color=colors, log=True)
        for place, value in enumerate(ways.values()):
            text = f" {digits(value, 2)} s"
            axis.annotate(text, (value, place), va="center")
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        axis.set(xlabel="seconds", xlim=(0.01, 6000))


def what_limits(
    book: Notebook, n_iter: dict[Cell, int], theirs: Theirs, starts: dict[int, float]
) -> None:
    """Take a parallel fit's seconds apart: start, the parent's own loops, everything else."""
    rows = []
    for k, n in ((k, n) for n in (SMALL, LARGE) for k in (CLUSTERS[0], CLUSTERS[-1])):
        base = (k, n) if ((k, n), 0) in theirs else (k, SMALL)
        times = n / base[1] * n_iter[k, n] / n_iter[base]
        for p in (2, MANY):
            parts = theirs[base, p]
            update = times * median(it.update for it in parts)
            whole = starts[p] + times * median(it.whole for it in parts)
            rows.append(
                {
                    "k": k,
                    "N": n,
                    "processes": p,
                    "seconds": whole,
                    "start %": 100 * starts[p] / whole,
                    "the parent's loop %": 100 * update / whole,
                    "distances, there and back %": 100 * (1 - (starts[p] + update) / whole),
                    "MB pickled per iteration": pickled(k, n, p) / 1e6,
                }
            )
    gain = (
        2
        * median(arithmetic_alone(1) for _ in range(5))
        / median(arithmetic_alone(2) for _ in range(5))
    )
    book.say(
        "How the time of a parallel fit is spent. The parent process alone moves sums and "
        "counters, row by row, while the others wait. The machine is a limit, too: two threads of "
        f"pure arithmetic do {gain:.2f} times the work of one here, and there are no cores for "
        "more than two."
    )
    book.table("limits", rows, measured=True, shown=True)
    few, many = rows[1], rows[-1]
    book.claim(
        POOLS,
        "creating processes is the cost, and only large N and few processes make up for it",
        f"starting {MANY} processes takes {starts[MANY]:.1f} s: {few['start %']:.0f} % of the "
        f"smallest set's time, {many['start %']:.1f} % of the largest's",
        None if many["start %"] < 5 < few["start %"] else few["start %"] > 5,
    )


def pickled(k: int, n: int, workers: int) -> int:
    """Return the bytes that an iteration sends to the pool: rows one by one, and the counters."""
    some = 1000
    rows = pickle.dumps((partial(pools_nearest, centers=np.zeros((k, 2))), [*np.zeros((some, 2))]))
    means = pickle.dumps(partial(pools.recenter, sums=np.zeros((k, 2)), counters=np.zeros(n)))
    tasks = ceil(k / ceil(k / (4 * workers)))  # as many as Pool.map makes of k calls
    return len(rows) * n // some + len(means) * tasks
