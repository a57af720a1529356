"""A kernel in the guide: what it costs, from one record, and how fast it is, from another."""

from dataclasses import dataclass

from kmeans_lab.choosing.record import CostsRecord, OverheadRecord
from kmeans_lab.formatting import digits, memory_size
from kmeans_lab.io.errors import Refused
from kmeans_lab.measure.record import hold_to_machine
from kmeans_lab.measure.schema import BenchRecord
from kmeans_lab.measure.tables import in_words, interval_of, median_seconds

#: What gains refer to.
BASELINE = "numpy"
#: Headers of ``number_cells`` and ``word_cells``.
NUMBERS = (
    *("kernel", "a fit, ms", "beside NumPy", "lines", "build s", "import ms", "first call ms"),
    *("to install", "a call, µs"),
)
WORDS = ("kernel", "debugger and tracebacks", "GIL", "threads", "wheels")
_GIL = {"gil": "held", "nogil": "released", "own": "released"}
_THREADS = {"gil": "processes only", "nogil": "the driver's", "own": "its own"}


@dataclass(frozen=True)
class Tool:
    """A kernel in the guide: its costs, and its speed where it has a certified one.

    Attributes
    ----------
    costs : CostsRecord
    seconds : float or None
        The median of a fit.
    beside : str
        How many times as fast or slow as the baseline, with the interval; in words.
    floor : float
        The smallest factor that the run resolves.
    """

    costs: CostsRecord
    seconds: float | None
    beside: str
    floor: float = 1.0

    @property
    def fit(self) -> float:
        """Seconds of a fit."""
        assert self.seconds is not None  # it is certified
        return self.seconds

    @property
    def build(self) -> float:
        """Seconds of the compiler when it was installed."""
        return self.costs["builds"] or 0.0

    @property
    def call(self) -> float:
        """Microseconds of a call."""
        assert self.costs["call"] is not None  # it is ready
        return 1e6 * self.costs["call"]["middle"]

    @property
    def first(self) -> float:
        """Seconds from the import to the first result, compiling included."""
        return (self.costs["imports"] or 0.0) + (self.costs["compiles"] or 0.0)

    @property
    def size(self) -> int:
        """Bytes that a user must install beyond NumPy and kmeans_lab."""
        return (self.costs["packages"] or 0) + (self.costs["binary"] or 0)


def tools_of(data: BenchRecord, overhead: OverheadRecord) -> dict[str, Tool]:
    """Return every kernel of an overhead record with its speed in a run, by name.

    Raises
    ------
    Refused
        The files are from different machines, or the run has another baseline, more than one
        table, or does not count.
    """
    hold_to_machine("the run", data["machine"], overhead["machine"], "the overhead's")
    (run, *others) = data["runs"]
    if others or run["baseline"] != BASELINE or run["void"]:
        raise Refused(
            f"the guide is made of one table with the baseline {BASELINE} that counts; measure it "
            f"with kmeans-lab bench --baseline {BASELINE} --output RUN.json"
        )
    # Neither the baseline's twin nor those that ran in another interpreter.
    measured = {it["kernel"]: it for it in run["contestants"] if it["name"] == it["kernel"]}
    found = {}
    for costs in overhead["kernels"]:
        it = measured.get(costs["kernel"])
        seconds = median_seconds(it) if it and it["seconds"] else None
        times, beside = interval_of(it) if it else None, "–"
        if times is not None and seconds and run["floor"] is not None:
            beside = "{} ({})".format(*in_words(times, run["floor"]))
        elif seconds and costs["kernel"] == BASELINE:
            beside = "1"
        found[costs["kernel"]] = Tool(costs, seconds, beside, run["floor"] or 1.0)
    return found


def number_cells(it: Tool) -> list[str]:
    """Return a row of the table of numbers: dashes where something does not apply."""
    costs = it.costs
    return [
        costs["kernel"],
        "–" if it.seconds is None else digits(1e3 * it.seconds),
        it.beside,
        "–" if costs["lines"] is None else f"{costs['lines']:,}",
        "–" if costs["builds"] is None else digits(costs["builds"]),
        "–" if costs["imports"] is None else digits(1e3 * costs["imports"]),
        digits(1e3 * it.first),
        memory_size(it.size) if it.size else "nothing",
        digits(it.call),
    ]


def word_cells(it: Tool) -> list[str]:
    """Return a row of the table of words."""
    how = it.costs["threading"]
    told = it.costs["debugging"], _GIL[how], _THREADS[how], it.costs["wheels"]
    return [it.costs["kernel"], *(text or "–" for text in told)]
