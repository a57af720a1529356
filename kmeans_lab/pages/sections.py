"""Sections of the page whose charts have two axes: the machine's limits, starts, scaling."""

from collections.abc import Sequence
from math import log10
from statistics import median

from kmeans_lab.formatting import digits, milliseconds, milliseconds_of_part, plural
from kmeans_lab.measure.explain import FLOPS
from kmeans_lab.measure.kernel_tables import in_one_line
from kmeans_lab.measure.schema import (
    ContestantRecord,
    PointRecord,
    RunRecord,
    ScalingRecord,
    WorkersRecord,
)
from kmeans_lab.measure.tables import STARTS, is_twin, measured, starting
from kmeans_lab.pages.blocks import notes, part, section, table
from kmeans_lab.pages.charts import Axis, Series, decades, plot

#: Range of the axis of fits.
_MOST_FITS = 10_000
_SCALING = ("kernel", "workers", "ms", "start-up ms", "speedup", "of the work", "machine")


def family(kernel: str) -> str:
    """Return the CSS classes of a kernel: its approach, and whether it is the tuned rung of it."""
    word, _, rest = kernel.partition("-")
    family = word if word in ("python", "numpy", "numba", "cython", "cpp") else "other"
    return f"{family} tuned" if rest in ("tiled", "simd") else family


def _own(run: RunRecord) -> list[ContestantRecord]:
    return [it for it in measured(run) if not is_twin(run, it)]


def roofline(run: RunRecord) -> str:
    """Hold each kernel's assign against the machine's multiply-adds and bandwidth."""
    roof = run["roof"]
    # Phases add up all repetitions, and the iterations are those of the best.
    if roof is None or run["void"] or not _own(run) or run["n_init"] > 1:
        return ""
    peak, read = roof["operations"][run["dtype"]], roof["read"]
    size, k = (8 if run["dtype"] == "float64" else 4), run["n_clusters"]
    marks = []
    for it in _own(run):
        operations = FLOPS[it["arithmetic"]] * k
        pairs = run["n_samples"] * run["n_features"] * (it["n_iter"] or 0)
        rate = operations * pairs / median(it["phases"]["assign"])
        marks.append(Series(it["name"], [(operations / size, rate / 1e9)], family(it["kernel"])))
    ridge = peak / read
    x = decades([0.05, *(it.points[0][0] for it in marks), 8 * ridge], "operations per byte of X")
    slope = [(x.low, read * x.low / 1e9), (ridge, peak / 1e9), (x.high, peak / 1e9)]
    limits = Series("the roof", slope, "roof", dots=False)
    rates = [it.points[0][1] for it in marks]
    y = decades([*rates, *(value for _, value in slope)], "GFLOP/s of assign, nominal")
    how = (
        f"The roof, {plural(roof['n_threads'], 'thread')}: {digits(peak / 1e9)} GFLOP/s of "
        f"multiply-adds, {digits(read / 1e9)} GB/s read from memory; measured with the run. "
        "Operations are counted as if every row met every center: kernels that skip most of them "
        "lie above the roof."
    )
    return part("Against the machine’s limits", plot(x, y, [limits, *marks]), how=how)


def starts(run: RunRecord) -> str:
    """Show the costs before the first fit, and after how many fits they have paid."""
    own = [it for it in _own(run) if it["start"] is not None]
    if not own or run["void"]:
        return ""
    counts = [10 ** (e / 8) for e in range(round(8 * log10(_MOST_FITS)) + 1)]
    lines = []
    for it in own:
        start = it["start"]
        assert start is not None  # it has one
        before = (start["import"] or 0.0) + (start["compile"] or 0.0)
        fit = median(it["seconds"])
        total = [(n, before + n * fit) for n in counts]
        lines.append(Series(it["name"], total, family(it["kernel"]), dots=False))
    y = decades([value for it in lines for _, value in it.points], "seconds, all fits together")
    x = Axis(1.0, float(_MOST_FITS), [10.0**e for e in range(5)], "fits in one process")
    return part(
        "Before the first fit, and when it pays",
        plot(x, y, lines),
        table(
            ("kernel", *STARTS),
            [("", (it["name"], *starting(run, it))) for it in own],
            numbers=True,
        ),
        how="A process that starts with nothing cached: importing, compiling, then so many fits. "
        "Where two lines cross, the kernel with the cheaper start has lost its lead.",
    )


def scaling(records: Sequence[ScalingRecord]) -> str:
    """Show speedups by number of workers, beside those of the machine itself, and the growth."""
    if not records:
        return ""
    found = [it for record in records for it in record["workers"]]
    presets = dict.fromkeys(it["preset"] for it in found)
    blocks = [_speedups([it for it in found if it["preset"] == preset]) for preset in presets]
    growth = [it for record in records for it in record["growth"]]
    if growth:
        blocks.append(part("With size", notes(map(in_one_line, growth))))
    return section("Scaling", *blocks)


def _speedups(found: Sequence[WorkersRecord]) -> str:
    series, values, rows = [], [1.0], []
    for it in found:
        points = it["points"]
        bars = [(p["workers"], p["speedup"]["low"], p["speedup"]["high"]) for p in points[1:]]
        name = it["kernel"] + (", proc." if it["mode"] == "processes" else "")
        places = [(p["workers"], p["speedup"]["middle"]) for p in points]
        series.append(Series(name, places, family(it["kernel"]), bars))
        values += [value for bar in bars for value in bar[1:]]
        rows += [_speedup_row(name, p) for p in points[1:]]
    most = max(p["workers"] for it in found for p in it["points"])
    longest = max(found, key=lambda it: len(it["points"]))["points"]
    machine_gains = [(p["workers"], p["machine"]) for p in longest if p["machine"] is not None]
    if len(machine_gains) > 1:
        series.append(Series("the machine", machine_gains, "roof"))
        values += [gain for _, gain in machine_gains]
    ideal = [(1.0, 1.0), (float(most), float(most))]
    series.append(Series("ideal", ideal, "ideal", dots=False))
    ticks = [float(2**e) for e in range(most.bit_length())]
    x = Axis(0.95, most * 1.02, ticks, "workers")
    low, high = min(values) / 1.1, max(*values, most) * 1.1
    y = Axis(low, high, [t for t in (0.125, 0.25, 0.5, *ticks) if low <= t <= high], "speedup")
    return part(
        f"{found[0]['preset']}: how many times as fast with more workers",
        plot(x, y, series),
        table(_SCALING, rows, numbers=True),
        how="Whole fits, with their intervals; the machine: what as many threads gain for "
        "multiply-adds that need no memory. Workers are threads, or processes (proc.).",
    )


def _speedup_row(name: str, point: PointRecord) -> tuple[str, tuple[str, ...]]:
    speedup, work, gain = point["speedup"], point["work"], point["machine"]
    return "", (
        name,
        str(point["workers"]),
        milliseconds(point["seconds"]),
        milliseconds_of_part(point["start_up"]),
        f"{digits(speedup['middle'])} ({digits(speedup['low'])}–{digits(speedup['high'])})",
        digits(work["middle"]),
        "–" if gain is None else digits(gain),
    )
