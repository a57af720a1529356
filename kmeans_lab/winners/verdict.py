"""The verdict on one cell: which kernel is fastest, or which ones the run cannot tell apart.

A kernel wins where its paired ratio to each other kernel lies clear of 1, all of them together
with the confidence of the run, and by more than a kernel beside its own twin. Corrected for as
many comparisons as there are others, a false winner is as rare as one wrong interval: whoever wins
wrongly was found to be faster than the one kernel that is the fastest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kmeans_lab.measure.schema import ContestantRecord, RunRecord
from kmeans_lab.measure.statistics import Interval, corrected, is_resolved, ratio
from kmeans_lab.measure.tables import is_twin, measured, median_seconds

Kind = Literal["won", "alone", "not resolved", "void", "none"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run says about its fastest kernel.

    Attributes
    ----------
    kind : {"won", "alone", "not resolved", "void", "none"}
        "won": one kernel is faster than all others. "alone": the others have no number, and no
        ratio says by how much. "not resolved": several may be the fastest. "void": no number of
        the run counts. "none": no kernel has a certified number.
    leaders : tuple of str
        The winner, or all kernels that may be the fastest, the shortest median first.
    runner_up : str
        The kernel that comes next, empty where there is none.
    times : Interval or None
        How many times as long as the first leader the runner-up takes.
    seconds : float or None
        Median of a fit of the first leader.
    """

    kind: Kind
    leaders: tuple[str, ...] = ()
    runner_up: str = ""
    times: Interval | None = None
    seconds: float | None = None

    @property
    def winner(self) -> str | None:
        """The fastest kernel; None where there is none, or it is not resolved."""
        return self.leaders[0] if self.kind in ("won", "alone") else None


def judge(run: RunRecord, among: Sequence[str] | None = None) -> Verdict:
    """Return the verdict on a run, or on some of its kernels.

    Parameters
    ----------
    run : RunRecord
    among : sequence of str, optional
        The kernels that are compared; all of them by default.
    """
    if run["void"]:
        return Verdict("void")
    found = [
        it
        for it in measured(run)
        if not is_twin(run, it) and (among is None or it["kernel"] in among)
    ]
    if not found:
        return Verdict("none")
    base = next((it for it in run["contestants"] if it["name"] == run["baseline"]), None)
    leader = min(found, key=lambda it: _to_base(it, base))
    seconds = median_seconds(leader)
    others = {it["name"]: it for it in found if it is not leader}
    if not others:
        return Verdict("alone", (leader["name"],), seconds=seconds)
    wanted = corrected(run["confidence"], len(others))
    ratios = {name: times_as_long(it, leader, wanted) for name, it in others.items()}
    ordered = sorted(ratios, key=lambda name: _middle(ratios[name]))
    level = [name for name in ordered if not _is_clear(ratios[name], run["floor"], wanted)]
    return Verdict(
        "not resolved" if level else "won",
        (leader["name"], *level),
        ordered[0],
        ratios[ordered[0]],
        seconds,
    )


def times_as_long(
    it: ContestantRecord, other: ContestantRecord, confidence: float
) -> Interval | None:
    """Return the ratio of a kernel's times to those of another, from the rounds of both."""
    at = dict(zip(other["rounds"], other["seconds"], strict=True))
    pairs = [(s, at[r]) for s, r in zip(it["seconds"], it["rounds"], strict=True) if r in at]
    if not pairs:
        return None
    return ratio([own for own, _ in pairs], [theirs for _, theirs in pairs], confidence)


def _to_base(it: ContestantRecord, base: ContestantRecord | None) -> float:
    """Return the median paired ratio to the baseline; without it, the median of the seconds."""
    if base is None or not base["seconds"]:
        return median_seconds(it)
    return _middle(times_as_long(it, base, 0.5))


def _middle(times: Interval | None) -> float:
    return float("inf") if times is None else times.middle


def _is_clear(times: Interval | None, floor: float | None, wanted: float) -> bool:
    """Whether a ratio shows that the other kernel is slower."""
    if times is None or floor is None or times.middle <= 1:
        return False
    # An interval from too few rounds holds with less than is wanted of it.
    return times.confidence >= wanted and is_resolved(times, floor)
