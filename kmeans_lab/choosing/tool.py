"""A kernel in the guide: what it costs, from one record, and how fast it is, from another."""

from dataclasses import dataclass

from kmeans_lab.choosing.record import CostsRecord, OverheadRecord
from kmeans_lab.io.errors import Refused
from kmeans_lab.measure.record import hold_to_machine
from kmeans_lab.measure.schema import BenchRecord
from kmeans_lab.measure.tables import interval_of, is_twin, median_seconds

#: What gains refer to.
BASELINE = "numpy"


@dataclass(frozen=True)
class Tool:
    """A kernel in the guide: its costs, and its speed where it has a certified one.

    Attributes
    ----------
    costs : CostsRecord
    seconds : float or None
        The median of a fit.
    gain : float or None
        How many times as fast as NumPy.
    bounds : tuple of float
        Of the gain.
    """

    costs: CostsRecord
    seconds: float | None
    gain: float | None
    bounds: tuple[float, float]

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
    measured = {it["kernel"]: it for it in run["contestants"] if not is_twin(run, it)}
    found = {}
    for costs in overhead["kernels"]:
        it = measured.get(costs["kernel"])
        seconds = median_seconds(it) if it and it["seconds"] else None
        times = interval_of(it) if it else None
        gain, bounds = (1.0, (1.0, 1.0)) if costs["kernel"] == BASELINE else (None, (0.0, 0.0))
        if times is not None:
            gain, bounds = 1 / times.middle, (1 / times.high, 1 / times.low)
        found[costs["kernel"]] = Tool(costs, seconds, gain if seconds else None, bounds)
    return found
