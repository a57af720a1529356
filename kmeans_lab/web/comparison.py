"""The outcome of a race in one sentence: ratios to the baseline, and whether labels agree.

Only a resolved difference is reported: its interval does not contain 1, and it is larger than the
difference between processes of one and the same kernel.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any, Protocol

import numpy as np

from kmeans_lab.formatting import faster
from kmeans_lab.measure.statistics import Interval, is_resolved, ratio, rounds_needed
from kmeans_lab.pages.race import names_of
from kmeans_lab.web.models import Bounds, LaneResult, Verdict

#: Confidence of each interval, and the fewest rounds that reach it.
CONFIDENCE = 0.995
FEWEST = rounds_needed(CONFIDENCE)
#: Factors that two processes of one kernel may differ by: over so many rounds, and in fewer fits.
_FLOOR, _FLOOR_OF_FEW = 1.05, 2.0


class Named(Protocol):
    """What naming a lane requires."""

    @property
    def kernel(self) -> str:
        """The name of its kernel."""

    @property
    def threads(self) -> int:
        """How many threads it may use."""


class Lane(Named, Protocol):
    """What comparing a lane requires."""

    @property
    def result(self) -> LaneResult | None:
        """What came of it."""


def verdict(
    lanes: Sequence[Lane], baseline: int, labels: Sequence[Any], loaded: str = ""
) -> Verdict:
    """Return ratios to the baseline, whether all labels agree, and the sentence.

    ``labels`` holds an array for each lane that came to an end, else None; ``loaded`` says what
    other work the machine had.
    """
    found = [_times(it, lanes[baseline]) for it in lanes]
    doubt = _doubt(lanes, loaded)
    differs = [
        None if it is None or i == baseline else resolved(it, doubt) for i, it in enumerate(found)
    ]
    times = [None if it is None else it.middle for it in found]
    agree, words = _agreement(lanes, labels)
    return Verdict(
        baseline=baseline,
        times=times,
        intervals=[None if it is None else _bounds(it) for it in found],
        differs=differs,
        agree=agree,
        loaded=loaded,
        sentence=f"{_ratios(lanes, baseline, times, differs)}{words}",
    )


def resolved(times: Interval, doubt: float = 1.0) -> bool:
    """Whether a ratio tells a difference, where waiting may have made as much as ``doubt``."""
    floor = _FLOOR if times.confidence >= CONFIDENCE else _FLOOR_OF_FEW
    return is_resolved(times, max(floor, doubt))


def _doubt(lanes: Sequence[Lane], loaded: str) -> float:
    """Return by which factor lanes may differ if one of them does all the waiting for a processor.

    A process that shares its processor with others may do so for its whole life, in every round.
    """
    known = [it.result.waited for it in lanes if it.result is not None]
    waited = [it for it in known if it is not None]
    if not waited:
        return _FLOOR_OF_FEW if loaded else 1.0
    return float(1 / max(1e-9, 1 - max(waited)))


def _times(lane: Lane, baseline: Lane) -> Interval | None:
    """Return how many times as fast as the baseline a lane is; None without certificates.

    Rounds in which both ran are pairs. Where there are none, medians are one.
    """
    own, base = lane.result, baseline.result
    if own is None or base is None or not (own.certificate.valid and base.certificate.valid):
        return None
    mine, theirs = _by_round(own), _by_round(base)
    pairs = [(theirs[number], mine[number]) for number in mine if number in theirs]
    pairs = pairs or [(base.seconds, own.seconds)]
    return ratio([other for other, _ in pairs], [seconds for _, seconds in pairs], CONFIDENCE)


def _by_round(result: LaneResult) -> dict[int, float]:
    """Return the median of each round's fits."""
    found: dict[int, list[float]] = {}
    for number, seconds in zip(result.rounds, result.repeats, strict=True):
        found.setdefault(number, []).append(seconds)
    return {number: median(seconds) for number, seconds in found.items()}


def _bounds(it: Interval) -> Bounds:
    return Bounds(low=it.low, high=it.high, confidence=it.confidence, rounds=it.n)


def _names(lanes: Sequence[Named]) -> list[str]:
    return names_of([(it.kernel, it.threads) for it in lanes])


def _ratios(
    lanes: Sequence[Named],
    baseline: int,
    times: Sequence[float | None],
    differs: Sequence[bool | None],
) -> str:
    names = _names(lanes)
    if times[baseline] is None:
        return f"{names[baseline]} has no time, so that nothing can be compared with it"
    others = [(times_, i) for i, times_ in enumerate(times) if times_ is not None and i != baseline]
    if not others:
        return f"{names[baseline]} has no lane to be compared with"
    others.sort(reverse=True)
    told = [f"{names[i]} is {faster(times_)} than" for times_, i in others if differs[i]]
    same = " and ".join(names[i] for _, i in others if not differs[i])
    if told:
        told = [f"{told[0]} {names[baseline]}", *map(_shorter, told[1:])]
    if same:
        told.append(f"no difference found between {same} and {names[baseline]}")
    return ", ".join(told)


def _shorter(words: str) -> str:
    return words.removesuffix(" than").replace(" is ", " ", 1)


def _agreement(lanes: Sequence[Named], labels: Sequence[Any]) -> tuple[bool | None, str]:
    known = [i for i, it in enumerate(labels) if it is not None]
    if len(known) < 2:
        return None, ""
    names, first = _names(lanes), known[0]
    for i in known[1:]:
        differ = int(np.count_nonzero(labels[i] != labels[first]))
        if differ:
            return False, (
                f"; the labels of {names[i]} differ from {names[first]}'s in {differ:,} of "
                f"{len(labels[i]):,} rows"
            )
    return True, "; all labels agree"
