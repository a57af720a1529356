"""What came out of a race, in one sentence: who is how many times as fast, and do labels agree."""

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Two times that differ by less are not told apart by a handful of fits.
_RESOLVED = 1.05


def verdict(lanes: Sequence[Any], baseline: int, labels: Sequence[Any]) -> dict[str, Any]:
    """Return ratios to the baseline, whether all labels agree, and the sentence.

    ``labels`` holds an array for each lane that came to an end, else None.
    """
    seconds = [_valid_seconds(it) for it in lanes]
    base = seconds[baseline]
    times = [None if base is None or it is None else base / it for it in seconds]
    agree, words = _agreement(lanes, labels)
    return {
        "baseline": baseline,
        "times": times,
        "agree": agree,
        "sentence": f"{_ratios(lanes, baseline, times)}{words}",
    }


def names_of(lanes: Sequence[Any]) -> list[str]:
    """Return each lane's kernel, with its threads where there are several lanes of it."""
    kernels = [it.kernel for it in lanes]
    return [
        f"{it.kernel} on {it.threads} thread{'s' * (it.threads > 1)}"
        if kernels.count(it.kernel) > 1
        else it.kernel
        for it in lanes
    ]


def in_words(times: float) -> str:
    """Say how a time compares with the baseline's."""
    if 1 / _RESOLVED < times < _RESOLVED:
        return "about as fast as"
    times, word = (times, "faster") if times > 1 else (1 / times, "slower")
    digits = f"{times:,.0f}" if times >= 20 else f"{times:.3g}"
    return f"{digits} × {word} than"


def _valid_seconds(lane: Any) -> float | None:
    """Return a lane's time; without a certificate it has none."""
    if lane.result is None or not lane.result["certificate"]["valid"]:
        return None
    return float(lane.result["seconds"])


def _ratios(lanes: Sequence[Any], baseline: int, times: Sequence[float | None]) -> str:
    names = names_of(lanes)
    if times[baseline] is None:
        return f"{names[baseline]}, the baseline, has no time: there are no ratios"
    found = [(times_, i) for i, times_ in enumerate(times) if times_ is not None and i != baseline]
    if not found:
        return f"{names[baseline]} has nobody to be compared with"
    found.sort(reverse=True)
    first, *rest = (f"{names[i]} is {in_words(times_)}" for times_, i in found)
    others = "".join(f", {it.removesuffix(' than').replace(' is ', ' ', 1)}" for it in rest)
    return f"{first} {names[baseline]}{others}"


def _agreement(lanes: Sequence[Any], labels: Sequence[Any]) -> tuple[bool | None, str]:
    known = [i for i, it in enumerate(labels) if it is not None]
    if len(known) < 2:
        return None, ""
    names, first = names_of(lanes), known[0]
    for i in known[1:]:
        differ = int(np.count_nonzero(labels[i] != labels[first]))
        if differ:
            return False, (
                f"; the labels of {names[i]} differ from {names[first]}'s in {differ:,} of "
                f"{len(labels[i]):,} rows"
            )
    return True, "; all labels agree"
