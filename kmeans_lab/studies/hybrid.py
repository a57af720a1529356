"""How much faster C++ is than Python, which depends on the Python it is compared with.

The demo's preset, 16 250 × 10 and k = 25, by its own two loops and by every kernel, from one
starting array: seconds, and labels compared at every iteration. Then from generators of their own,
under its profiler, and two at a time, as on its page.
"""

import cProfile
import pstats
from collections.abc import Callable
from functools import partial
from math import log
from statistics import median
from threading import Thread
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab import KERNELS, kmeans
from kmeans_lab.formatting import digits
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.measure.certify import fingerprint
from kmeans_lab.presets import PRESETS, FitSettings, Workload
from kmeans_lab.registry import FLAGSHIP
from kmeans_lab.seeding import d2
from kmeans_lab.studies.notebook import PALETTE, Notebook, Row
from kmeans_lab.studies.originals import demo_loop
from kmeans_lab.studies.sources import DEMO

NAIVE, NUMPY = "the demo, naive", "the demo, numpy"
SLOW = (NAIVE, "python")  # once is enough: they take ten seconds each
ROUNDS, SEEDS = 9, 40
PUBLISHED = {NAIVE: 19.87, "cpp": 0.064}  # seconds
#: The demo's profile, in percent of the whole.
PROFILE = {"assign, itself": 89.3, "assign, all": 97.1, "numpy.dot": 7.7, "update": 2.8}

Way = Callable[..., Any]


def run(book: Notebook) -> None:
    """Compare all implementations, then look at what the demo says about two of them."""
    preset = PRESETS["standard"].load()
    alike = from_one_start(book, preset)
    from_their_own(book, preset, alike)
    profile(book, preset)
    side_by_side(book, preset)


def ways(preset: Workload) -> dict[str, Way]:
    """Return a fit by each way, all from the same centers and for the same number of iterations."""
    k, start, max_iter = len(preset.centers), preset.centers, preset.preset.max_iter
    loop = partial(demo_loop, preset.X, k, init=start, max_iter=max_iter, tol=-1.0)
    found: dict[str, Way] = {NAIVE: partial(loop, algorithm="naive")}
    found[NUMPY] = partial(loop, algorithm="numpy")
    settings: FitSettings = {"init": start, "max_iter": max_iter, "stop": "max-iter"}
    for name in KERNELS:
        if state_of(name)[0] == "ready":
            found[name] = partial(kmeans, preset.X, k, kernel=name, **settings)
    return found


def from_one_start(book: Notebook, preset: Workload) -> bool:
    """Compare the labels of all ways, then their seconds; return whether all labels agree."""
    fits = ways(preset)
    labels, seconds = watched(book, fits)
    rows = [
        {
            "way": name,
            "iterations": len(seen),
            "with the labels of cpp": sum(a == b for a, b in zip(seen, labels["cpp"], strict=True)),
        }
        for name, seen in labels.items()
    ]
    book.say(
        "All implementations start from the same array. Labels are compared at every iteration."
    )
    book.table("labels", rows, shown=True)
    fast = [name for name in fits if name not in SLOW]
    spent: dict[str, list[float]] = {name: [] for name in fast}
    for turn in book.track(range(ROUNDS), "seconds"):
        for place in range(len(fast)):
            name = fast[(place + turn) % len(fast)]
            start = perf_counter()
            fits[name]()
            spent[name].append(perf_counter() - start)
    seconds |= {name: median(times) for name, times in spent.items()}
    n_pairs = preset.preset.max_iter * len(preset.X) * len(preset.centers)
    measured = [
        {
            "way": name,
            "seconds": seconds[name],
            "ns per pair": 1e9 * seconds[name] / n_pairs,
            "times as fast as naive": seconds[NAIVE] / seconds[name],
            "published s": PUBLISHED.get(name),
        }
        for name in fits
    ]
    book.say(
        f"Whole fits of 35 iterations, one thread, {n_pairs:,} pairs of row and center; medians of "
        f"{ROUNDS} interleaved rounds ({' and '.join(SLOW)}: one run)."
    )
    book.table("seconds", measured, measured=True, shown=True)
    draw(book, seconds, n_pairs)
    judge(book, preset, seconds, n_pairs)
    return all(row["with the labels of cpp"] == row["iterations"] for row in rows)


def watched(book: Notebook, fits: dict[str, Way]) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Fit once by each way; return hashes of all labels, and the seconds of the slow ones."""
    labels: dict[str, list[str]] = {}
    seconds = {}
    for name in book.track(list(fits), "labels"):
        seen = labels[name] = []

        def note(*frame: Any, seen: list[str] = seen) -> None:
            found = frame[0] if len(frame) == 2 else frame[0].labels
            seen.append(fingerprint(found.astype(np.int32)))

        start = perf_counter()
        fits[name](callback=note)
        if name in SLOW:
            seconds[name] = perf_counter() - start
    return labels, seconds


def draw(book: Notebook, seconds: dict[str, float], n_pairs: int) -> None:
    """Draw nanoseconds per pair on a logarithmic axis, the published ones as marks."""
    order = sorted(seconds, key=seconds.__getitem__, reverse=True)
    caption = "Nanoseconds for each pair of row and center, one thread"
    with book.figure("seconds", caption, size=(7.6, 4.2)) as axis:
        values = [1e9 * seconds[name] / n_pairs for name in order]
        colors = [PALETTE[1] if name in (NAIVE, NUMPY) else PALETTE[0] for name in order]
        axis.barh(order, values, color=colors, log=True)
        for place, (name, value) in enumerate(zip(order, values, strict=True)):
            text = f" {digits(value, 2)}"
            axis.annotate(text, (value, place), va="center")
            if name in PUBLISHED:
                then = 1e9 * PUBLISHED[name] / n_pairs
                axis.plot([then] * 2, [place - 0.4, place + 0.4], color="black", lw=2)
        axis.plot([], [], color="black", lw=2, label="published")
        axis.legend(loc="lower right")
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        axis.set(xlabel="nanoseconds", xlim=(0.05, 6000))


def judge(book: Notebook, preset: Workload, seconds: dict[str, float], n_pairs: int) -> None:
    """Split the demo's ratio into its factors."""
    whole, numpy = seconds[NAIVE] / seconds["cpp"], seconds[NAIVE] / seconds["numpy"]
    share = log(numpy) / log(whole)
    book.claim(
        DEMO,
        "C++ takes 0.064 s where Python takes 19.87 s (310 times as long)",
        f"{whole:.0f} times as long; but NumPy alone is {numpy:.0f} times as fast as that Python, "
        f"which calls NumPy for a product of ten numbers {1e-6 * n_pairs:.1f} million times. The "
        f"factor that remains between NumPy and C++ is {whole / numpy:.1f}",
        None if share > 0.5 else whole > 100,
    )
    flagship = seconds[NAIVE] / seconds[FLAGSHIP]
    book.claim(
        DEMO,
        '"99.7 % faster"',
        f"by that measure, cpp is {1 - 1 / whole:.2%} faster and {FLAGSHIP} "
        f"{1 - 1 / flagship:.2%}; as ratios, they are {whole:.0f} and {flagship:,.0f} times as "
        "fast, a difference that percentages hide",
        1 - 1 / whole >= 0.99,
    )
    hot = phases(preset)["assign"]
    book.claim(
        DEMO,
        "the hot loop of C++ is the same one: assign",
        f"assign is {hot:.0%} of what the C++ kernel computes",
        hot >= 0.9,
    )


def phases(preset: Workload) -> dict[str, float]:
    """Return the share of both steps in the seconds of the C++ kernel."""
    k = len(preset.centers)
    spent = kmeans(preset.X, k, kernel="cpp", **preset.settings()).seconds
    both = spent["assign"] + spent["update"]
    return {step: spent[step] / both for step in ("assign", "update")}


def from_their_own(book: Notebook, preset: Workload, alike: bool) -> None:
    """Draw the starts by two generators, as the demo's two languages do."""
    generators = {"PCG64": np.random.PCG64, "MT19937": np.random.MT19937}
    k, settings = len(preset.centers), preset.settings()
    rows = []
    for seed in range(SEEDS):
        row: Row = {"seed": seed}
        for name, generator in generators.items():
            start = d2(preset.X, k, np.random.Generator(generator(seed)))
            found = kmeans(preset.X, k, **(settings | {"init": start}))
            row[name] = round(found.inertia, 3)
        rows.append(row)
    book.table("generators", rows)
    apart = sum(abs(row["PCG64"] / row["MT19937"] - 1) > 1e-6 for row in rows)
    demo = rows[7]
    book.claim(
        DEMO,
        "floating point and ties lead Python and C++ to slightly different minima",
        f"from the same start, all implementations give {'the same' if alike else 'different'} "
        "labels in 35 iterations; from starts drawn by two generators, seed 7 ends at "
        f"{demo['PCG64']:,.0f} and {demo['MT19937']:,.0f}, and {apart} of {SEEDS} seeds end at "
        "different minima. The cause is the generator, NumPy's or that of C++'s standard library; "
        "rounding does not matter",
        not alike,
    )
    book.say(
        f"Starts from two generators, {SEEDS} seeds each. PCG64 is NumPy's; MT19937 stands for the "
        "C++ generator, from which each standard library draws numbers in its own way."
    )
    caption = "Inertia after 35 iterations, by the generator that drew the start"
    with book.figure("generators", caption, size=(7.2, 3.0)) as axis:
        for place, (name, color) in enumerate(zip(generators, PALETTE, strict=False)):
            values = sorted(row[name] for row in rows)
            axis.plot(values, np.full(SEEDS, 1 - place), "|", ms=22, mew=1.4, color=color)
            axis.plot([demo[name]], [1 - place], "o", ms=7, color=color)
        axis.set(xlabel="inertia (dots: seed 7)", ylim=(-0.6, 1.6))
        axis.set_yticks([1, 0], list(generators))


def profile(book: Notebook, preset: Workload) -> None:
    """Run the demo's naive loop under cProfile, as its profile script does."""
    profiler = cProfile.Profile()
    k, n_iter = len(preset.centers), preset.preset.max_iter if book.full else 3
    loop = partial(demo_loop, preset.X, k, init=preset.centers, max_iter=n_iter, tol=-1.0)
    start = perf_counter()
    loop()
    bare = perf_counter() - start
    profiler.runcall(loop)
    stats: Any = pstats.Stats(profiler)
    whole = stats.total_tt
    functions = {name: row for (_, _, name), row in stats.stats.items()}
    assign, update = functions["demo_assign_naive"], functions["demo_update_naive"]
    dot = functions["dot"]
    shares = dict(zip(PROFILE, (assign[2], assign[3], dot[3], update[3]), strict=True))
    rows = [
        {"what": what, "% here": 100 * own / whole, "% published": PROFILE[what]}
        for what, own in shares.items()
    ]
    book.say(
        f"The demo's naive loop under cProfile, {n_iter} iterations. With the profiler, the loop "
        f"takes {whole / bare:.2f} times as long; the published times are 13.42 s with the "
        "profiler and 19.87 s without, so the two cannot have been measured under the same "
        "conditions."
    )
    book.table("profile", rows, measured=True, shown=True)
    near = all(abs(row["% here"] - row["% published"]) <= 5 for row in rows)
    book.claim(
        DEMO,
        "profile: assign 89 % itself, 97 % in all, numpy.dot 8 %, update 3 %",
        ", ".join(f"{row['what']} {row['% here']:.0f} %" for row in rows),
        near,
    )


def side_by_side(book: Notebook, preset: Workload) -> None:
    """Time both alone and then at once in one process, as the demo's page does."""
    k = len(preset.centers)
    naive = partial(demo_loop, preset.X, k, init=preset.centers, max_iter=2, tol=-1.0)
    compiled = partial(kmeans, preset.X, k, kernel="cpp", **preset.settings())
    spent: dict[str, list[float]] = {"naive alone": [], "cpp alone": [], "naive": [], "cpp": []}

    def timed(name: str, task: Way) -> None:
        start = perf_counter()
        task()
        spent[name].append(perf_counter() - start)

    for _ in range(3):
        timed("naive alone", naive)
        timed("cpp alone", compiled)
        other = Thread(target=timed, args=("naive", naive))
        other.start()
        timed("cpp", compiled)  # once at least: on small sets the other may be done by then
        while other.is_alive():
            timed("cpp", compiled)
        other.join()
    middle = {name: median(times) for name, times in spent.items()}
    rows = [
        {
            "what": what,
            "alone, s": middle[f"{name} alone"],
            "both at once, s": middle[name],
            "times": middle[name] / middle[f"{name} alone"],
        }
        for name, what in (("naive", "naive Python, 2 iterations"), ("cpp", "C++, 35 iterations"))
    ]
    book.say(
        "The demo's page starts both implementations in one process and times them there. The C++ "
        "kernel releases the interpreter's lock while it computes, and must wait for the lock "
        "between two passes, up to five milliseconds each time; both also share the machine's "
        "cores."
    )
    book.table("both", rows, measured=True, shown=True)
