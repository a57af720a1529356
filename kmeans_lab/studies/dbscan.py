"""DBSCAN, the second algorithm of the demo, compared and timed on the demo's two data sets.

Python and C++ must agree on every label; both meet scikit-learn, and k-means on the same shapes.
"""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter, sleep
from typing import Any

import numpy as np

from kmeans_lab import kmeans
from kmeans_lab.dbscan import dbscan, load_kernel
from kmeans_lab.kernel import Array
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook, Row, draw_clusters
from kmeans_lab.studies.sources import DEMO, clouds, fireworks, noisy_blobs

#: The demo's: name → data, eps, min_samples, and the clusters that k-means is asked for.
SETS: dict[str, tuple[Callable[[], Any], float, int, int]] = {
    "fireworks": (fireworks, 0.22, 7, 5),
    "blobs": (noisy_blobs, 0.35, 8, 3),
}
#: Radii that give 10⁵ points from a few neighbours each to a few hundred.
RADII, MIN_SAMPLES = (0.016, 0.03, 0.06, 0.13), 10
KERNELS = ("python", "cpp", "scikit-learn")


def run(book: Notebook) -> None:
    """Compare kernels on the demo's sets and on many points; draw what they find."""
    from sklearn.metrics import adjusted_rand_score

    book.say(
        "The demo has DBSCAN (Ester, Kriegel, Sander and Xu, KDD 1996) as a second example of an "
        "extension module. Here it has one driver and two kernels: nested loops over a dictionary "
        "of cells in Python, and C++ that sorts the rows so that neighbours lie in a few "
        "contiguous windows. Both count every row's neighbours, then grow clusters from core rows. "
        "Of the demo's sets, the counts and parameters are known; the positions of bursts and "
        "blobs are our choice. In the figures, core rows are ringed and noise is grey. k-means is "
        "given the number of clusters, and has no notion of noise."
    )
    facts, times = [], []
    for name, (make, eps, min_samples, k) in SETS.items():
        X, truth = make()
        seconds, found = _race(X, eps, min_samples, KERNELS, rounds=7)
        means = kmeans(X, k, n_init=10, random_state=7)
        both = found["cpp"][0], means.labels
        agreement = [float(adjusted_rand_score(truth, it)) for it in both]
        facts.append(_fact(name, X, eps, min_samples, found, agreement))
        times.append(seconds)
        _draw(book, name, X, found["cpp"], means)
    X = clouds()
    for eps in book.track(RADII, "10⁵ points"):
        kernels = KERNELS if eps == RADII[0] else KERNELS[1:]  # Python takes minutes at the largest
        seconds, found = _race(X, eps, MIN_SAMPLES, kernels, rounds=15 if book.full else 5)
        facts.append(_fact("clouds", X, eps, MIN_SAMPLES, found))
        times.append(seconds)
    _tell_results(book, facts)
    _tell_seconds(book, facts, times)
    _tell_of_the_lock(book, X)
    _tell_of_memory(book)


def _cluster(kernel: str, X: Array, eps: float, min_samples: int) -> tuple[Any, Any]:
    """Return labels and core mask."""
    if kernel != "scikit-learn":
        result = dbscan(X, eps, min_samples, kernel=kernel)
        return result.labels, result.core
    from sklearn.cluster import DBSCAN

    found = DBSCAN(eps=eps, min_samples=min_samples).fit(X)
    core = np.zeros(len(X), dtype=bool)
    core[found.core_sample_indices_] = True
    return found.labels_, core


def _race(
    X: Array, eps: float, min_samples: int, kernels: Sequence[str], rounds: int
) -> tuple[dict[str, list[float]], dict[str, tuple[Any, Any]]]:
    """Return the seconds of each round, each in another order, and what was found."""
    seconds: dict[str, list[float]] = {kernel: [] for kernel in kernels}
    found = {}
    for i in range(rounds):
        for kernel in [*kernels[i % len(kernels) :], *kernels[: i % len(kernels)]]:
            if i > 0 and kernel == "python" and seconds[kernel][0] > 1:
                continue  # once is enough to tell a factor of fifty
            start = perf_counter()
            found[kernel] = _cluster(kernel, X, eps, min_samples)
            seconds[kernel].append(perf_counter() - start)
    return seconds, found


def _ratio(spent: dict[str, list[float]], kernel: str) -> float | None:
    """Return how many times the seconds of C++ a kernel takes, in the middle of the rounds."""
    pairs = [one / other for one, other in zip(spent.get(kernel, []), spent["cpp"], strict=False)]
    return median(pairs) if pairs else None


def _fact(
    data: str,
    X: Array,
    eps: float,
    min_samples: int,
    found: dict[str, tuple[Any, Any]],
    agreement: Sequence[float | None] = (None, None),
) -> Row:
    """Return what is the same in every run: a row of the table."""
    kernel, counts = load_kernel("cpp"), np.empty(len(X), dtype=np.int64)
    kernel.count(kernel.prepare(X, eps), counts)
    labels, core = found["cpp"]
    same = dict.fromkeys(KERNELS, "–")
    for name, other in found.items():
        same[name] = "yes" if all(map(np.array_equal, other, (labels, core))) else "no"
    return {
        "data": data,
        "points": len(X),
        "eps": eps,
        "min_samples": min_samples,
        "neighbours": float(counts.mean()),
        "clusters": int(labels.max()) + 1,
        "core": int(core.sum()),
        "noise": int((labels < 0).sum()),
        "Rand index": agreement[0],
        "of k-means": agreement[1],
        "as Python": same["python"],
        "as scikit-learn": same["scikit-learn"],
    }


def _draw(book: Notebook, name: str, X: Array, found: tuple[Any, Any], means: Any) -> None:
    labels, core = found
    caption = f"{name.capitalize()}: DBSCAN with core rows ringed and noise in grey, and k-means"
    with book.figure(name, caption, 1, 2, (9.0, 3.8)) as axes:
        draw_clusters(axes[0], X, labels, alpha=1.0)
        ringed = {"alpha": 1.0, "s": 13, "linewidths": 0.35, "edgecolors": INK}
        draw_clusters(axes[0], X[core], labels[core], **ringed)
        noise = (labels < 0).sum()
        axes[0].set_title(f"DBSCAN: {labels.max() + 1} clusters, {noise} points of noise")
        # The colour of a center is that of the DBSCAN cluster that has most of its rows.
        most = [
            np.bincount(labels[(means.labels == j) & core]).argmax()
            for j in range(len(means.centers))
        ]
        draw_clusters(axes[1], X, np.array(most)[means.labels], means.centers, alpha=1.0)
        axes[1].set_title(f"k-means: {len(means.centers)} clusters, no noise")
        for axis in axes:
            axis.set_aspect("equal", adjustable="datalim")
            axis.set_axis_off()


def _tell_results(book: Notebook, facts: list[Row]) -> None:
    book.say(
        "Neighbours are counted for each point, itself included, and averaged. The adjusted Rand "
        "index compares the clusters with the bursts and blobs that were drawn, with noise as one "
        "more group: 1 is full agreement. Labels and core rows must be equal number by number: "
        "clusters are numbered by their first core row, and a border row goes to the first cluster "
        "that reaches it, as in scikit-learn."
    )
    book.table("results", facts, shown=True)
    asked = [it for it in facts if it["as Python"] != "–"]
    same = [it for it in asked if it["as Python"] == "yes"]
    theirs = [it for it in facts if it["as scikit-learn"] == "yes"]
    book.claim(
        DEMO,
        "Python and C++ give the same DBSCAN labels and core rows (its program warns where not)",
        f"on {len(same)} of {len(asked)} inputs, of up to {max(it['points'] for it in asked):,} "
        f"points; scikit-learn gives the same on {len(theirs)} of {len(facts)}",
        len(same) == len(asked),
    )


def _tell_seconds(book: Notebook, facts: list[Row], times: list[dict[str, list[float]]]) -> None:
    rows = [
        {
            "data": fact["data"],
            "points": fact["points"],
            "neighbours": fact["neighbours"],
            **{f"{it}, s": median(spent[it]) if it in spent else None for it in KERNELS},
            "Python / cpp": _ratio(spent, "python"),
            "scikit-learn / cpp": _ratio(spent, "scikit-learn"),
        }
        for fact, spent in zip(facts, times, strict=True)
    ]
    book.say(
        "Seconds with one thread, and ratios: medians over rounds in which each implementation "
        "runs once, in a different order each time (Python on 10⁵ points: one round). The input "
        "checks of the driver and of scikit-learn are included."
    )
    book.table("seconds", rows, measured=True, shown=True)
    _draw_seconds(book, rows)
    slow = [row["Python / cpp"] for row in rows if row["Python / cpp"] is not None]
    theirs = [row["scikit-learn / cpp"] for row in rows]
    book.claim(
        DEMO,
        "Python for orchestration, C++ for the computational kernel, where performance is critical",
        f"DBSCAN in C++ is {min(slow):.0f} to {max(slow):.0f} times as fast as in Python, and "
        f"{min(theirs):.1f} to {max(theirs):.1f} times as fast as scikit-learn",
        min(slow) > 1,
    )


def _draw_seconds(book: Notebook, rows: list[Row]) -> None:
    many = [row for row in rows if row["data"] == "clouds"]
    with book.figure(
        "seconds", "10⁵ points: seconds against the number of neighbours", size=(6.4, 3.6)
    ) as axis:
        for kernel, color in zip(KERNELS, (PALETTE[2], PALETTE[0], PALETTE[1]), strict=True):
            some = [row for row in many if row[f"{kernel}, s"] is not None]
            x, y = [it["neighbours"] for it in some], [it[f"{kernel}, s"] for it in some]
            axis.loglog(x, y, "o-", color=color)
            axis.annotate(kernel, (x[-1], y[-1]), (8, -3), textcoords="offset points", color=color)
        axis.set(xlabel="neighbours of a point, on average", ylabel="seconds")
        axis.set(xlim=(4, 1000), ylim=(0.01, 10))
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter("{x:g}")


def _tell_of_the_lock(book: Notebook, X: Array) -> None:
    """Count in another thread while C++ computes, and while nothing else does."""
    shares = []
    for _ in range(5):
        beside = _counted(lambda: dbscan(X, RADII[-1], MIN_SAMPLES))
        shares.append(beside / _counted(lambda: sleep(0.2)))
    share = median(shares)
    book.claim(
        DEMO,
        "the C++ implementation releases the GIL during the hot loop",
        f"here a thread that counts in Python runs at {100 * share:.0f} % of its speed while "
        "DBSCAN runs in C++, and would stand still if the GIL were held; the demo's own DBSCAN "
        "extension never releases the GIL, as its source shows",
        None if share > 0.25 else False,  # two virtual cores may share one real one
    )


def _counted(task: Callable[[], Any]) -> float:
    """Return how far a thread counts per second while this one does something."""
    counts, done = [0], threading.Event()

    def count() -> None:
        while not done.is_set():
            counts[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    before, start = counts[0], perf_counter()
    task()
    speed = (counts[0] - before) / (perf_counter() - start)
    done.set()
    thread.join()
    return speed


_PEAK = """
import sys
from kmeans_lab.studies.dbscan import MIN_SAMPLES, _cluster, clouds

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

X, kernel, eps = clouds(), sys.argv[1], float(sys.argv[2])
_cluster(kernel, X[:100], eps, MIN_SAMPLES)  # imports
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak so far does not count
before = status("VmRSS")
_cluster(kernel, X, eps, MIN_SAMPLES)
print(status("VmHWM") - before)
"""


def _tell_of_memory(book: Notebook) -> None:
    """Measure what a call takes beyond X, each in a process of its own."""
    words = "the C++ layer makes minimal allocations"
    if not sys.platform.startswith("linux"):
        book.claim(DEMO, words, "not measured: only Linux reports the peak memory of a call", None)
        return
    rows = []
    for eps in (RADII[0], RADII[-1]):
        row: Row = {"eps": eps}
        for kernel in KERNELS[1:]:
            command = [sys.executable, "-c", _PEAK, kernel, str(eps)]
            run = subprocess.run(command, capture_output=True, text=True, check=True)
            row[f"{kernel}, MiB"] = float(run.stdout)
        rows.append(row)
    book.say(
        "Memory beyond X (1.5 MiB) on the 10⁵ points. The C++ kernel counts neighbours, searches "
        "for them again while clusters grow, and never stores them; scikit-learn stores them all."
    )
    book.table("memory", rows, measured=True, shown=True)
    few, many = rows[0]["cpp, MiB"], rows[1]["cpp, MiB"]
    book.claim(
        DEMO,
        words,
        f"here {few:.1f} MiB for 10⁵ points with few neighbours and {many:.1f} with hundreds; the "
        "demo's DBSCAN allocates one byte per point anew for every cluster, as its source shows",
        None if many < 1.5 * few + 2 else False,
    )
