"""From plain Python to the flagship, one idea at a time.

Every rung does the same work, the standard preset's assignments and updates, and is certified
before it is timed. A rung's share is that of the multiply-adds that one core can do at most, of
which a pass over all pairs needs one for each feature.
"""

from functools import partial
from statistics import median
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from kmeans_lab import KERNELS, kmeans, load_kernel
from kmeans_lab.formatting import digits, milliseconds
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.measure.certify import certify_fit
from kmeans_lab.measure.counts import lines_of_code
from kmeans_lab.measure.machinecode import CannotTell
from kmeans_lab.measure.roofline import peak
from kmeans_lab.presets import PRESETS, Workload
from kmeans_lab.registry import FLAGSHIP
from kmeans_lab.studies.notebook import FAINT, INK, PALETTE, Notebook, Row
from kmeans_lab.studies.originals import demo_loop

FIRST, EVERY, MORE = "a call per pair", "vectors, every pair", "two threads"
ROUNDS = 15
SLOW = 2  # iterations of the rungs that need a second for each

#: Rung → the kernel, and the idea that it adds to the one above.
RUNGS = {
    FIRST: ("", "the naive loop of a well-known demo: NumPy asked for ten numbers at a time"),
    "python": ("python", "no calls in the inner loop, numbers instead of arrays"),
    "numpy-broadcast": ("numpy-broadcast", "no loop at all: all differences in one array"),
    "numpy": ("numpy", "a matrix product, block by block: the same sums from far fewer bytes"),
    "numba": ("numba", "the plain loops again, compiled when they are first called"),
    "cython": ("cython", "compiled ahead, with types written down"),
    "cpp": ("cpp", "the same in C++: the language makes no difference"),
    EVERY: (FLAGSHIP, "sixteen rows side by side in vectors; both steps in one pass"),
    "cython-tiled": ("cython-tiled", "no look at centers that a ball of rows rules out"),
    "numba-tiled": ("numba-tiled", "the same from Python, compiled for this very d"),
    FLAGSHIP: (FLAGSHIP, "a bound for each row, by hand; nothing is laid out"),
    MORE: (FLAGSHIP, "two threads of the machine's two"),
}


def run(book: Notebook) -> None:
    """Certify, then time every rung, and draw the ladder."""
    preset = PRESETS["standard"].load()
    certify(book, preset)
    seconds = climb(book, preset)
    limit = 2.0 * preset.X.size * len(preset.centers) / peak("float64", 1)
    rows = []
    above = None
    for rung, (name, idea) in RUNGS.items():
        if rung not in seconds:
            continue
        spent = seconds[rung]
        rows.append(
            {
                "rung": rung,
                "ms per iteration": 1e3 * spent,
                "times the one above": above and above / spent,
                "times the first": seconds[FIRST] / spent,
                "% of the limit": 100 * limit / spent,
                "lines": lines(name),
                "the idea": idea,
            }
        )
        above = spent
    book.say(
        "Assignment and update of one iteration on the standard preset, one thread, medians of "
        f"{ROUNDS} interleaved rounds. The limit is a pass that does nothing but the "
        f"{preset.X.size * len(preset.centers):,} multiply-adds, at the rate measured in this run: "
        f"{milliseconds(limit)} ms. Lines are counted for the kernel, without comments."
    )
    book.table("rungs", rows, measured=True, shown=True)
    draw(book, rows, limit)
    book.say(
        "Three steps account for nearly all of the gain: leaving the interpreter, using vectors, "
        "and skipping distances that cannot matter, which goes below the limit of computing them "
        "all. The language matters least."
    )


def lines(name: str) -> int | None:
    """Count a kernel's lines, where its sources are."""
    try:
        return lines_of_code(name) if name else None
    except CannotTell:
        return None


def certify(book: Notebook, preset: Workload) -> None:
    """Prove every kernel right on three iterations; what is wrong ends the study."""
    rows = []
    settings = preset.settings() | {"max_iter": 3}
    for name in book.track([it for it in KERNELS if state_of(it)[0] == "ready"], "certificates"):
        found = certify_fit(preset.X, len(preset.centers), settings, name)
        rows.append({"kernel": name, "iterations": found.result.n_iter, "ties": found.ties})
    book.table("certificates", rows)


def climb(book: Notebook, preset: Workload, n_rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median seconds of an iteration's two steps for each rung that can run here."""
    k, settings = len(preset.centers), preset.settings()

    def first() -> float:
        start = perf_counter()
        demo_loop(preset.X, k, init=preset.centers, max_iter=SLOW, tol=-1.0)
        return (perf_counter() - start) / SLOW

    def one(rung: str, max_iter: int) -> float:
        kernel: Any = RUNGS[rung][0]
        options = settings | {"max_iter": max_iter, "n_threads": 2 if rung == MORE else None}
        if rung == EVERY:  # a kernel is any object with its functions
            flagship: Any = load_kernel(kernel)
            kernel = SimpleNamespace(
                prepare=partial(flagship.prepare, engine="all pairs"),
                assign=flagship.assign,
                update=flagship.update,
                assign_update=flagship.assign_update,
            )
        found = kmeans(preset.X, k, kernel=kernel, **options)
        return (found.seconds["assign"] + found.seconds["update"]) / found.n_iter

    seconds = {FIRST: [first()], "python": [one("python", SLOW)]}
    fast = [
        rung
        for rung, (name, _) in RUNGS.items()
        if rung not in seconds and state_of(name)[0] == "ready"
    ]
    tasks = {rung: partial(one, rung, preset.preset.max_iter) for rung in fast}
    for turn in book.track(range(n_rounds), "rungs"):
        for place in range(len(fast)):
            rung = fast[(place + turn) % len(fast)]
            seconds.setdefault(rung, []).append(tasks[rung]())
    return {rung: median(times) for rung, times in seconds.items()}


def draw(book: Notebook, rows: list[Row], limit: float) -> None:
    """Draw a bar for each rung with its idea beside it, down to the limit."""
    caption = "From plain Python to the limit of one core: milliseconds per iteration"
    with book.figure("ladder", caption, size=(9.6, 4.4)) as axis:
        values = [row["ms per iteration"] for row in rows]
        names = [row["rung"] for row in rows]
        axis.barh(names, values, color=PALETTE[0], height=0.62, log=True)
        for place, row in enumerate(rows):
            value = row["ms per iteration"]
            ms = digits(value, 2)
            text = f" {ms}   {row['the idea']}"
            inside = value > 20
            axis.annotate(
                text if not inside else f"{row['the idea']}   {ms} ",
                (value, place),
                va="center",
                ha="right" if inside else "left",
                color="white" if inside else INK,
                fontsize=8,
            )
        axis.axvline(1e3 * limit, color=PALETTE[2], lw=1.2)
        axis.annotate(
            "all multiply-adds at the machine's rate",
            (1e3 * limit, len(rows) - 0.45),
            (4, 0),
            textcoords="offset points",
            color=PALETTE[2],
            va="center",
            fontsize=8,
        )
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        axis.spines["left"].set_color(FAINT)
        axis.set(xlabel="milliseconds", xlim=(0.02, 2e3), ylim=(len(rows) - 0.1, -0.6))
