"""Ratios with intervals that assume nothing about noise except that rounds are alike.

The statistic is the median of log(t / t_baseline) over rounds, in each of which both ran once on
the same input: what slows a whole round cancels. Its interval is that of the sign test, between two
order statistics (Gibbons and Chakraborti, "Nonparametric statistical inference", 5.4): exact for
any continuous noise, bursts included, which a mean and its standard error are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, exp, inf, log
from statistics import median

#: Of all intervals of a run together; the single ones are wider.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A median and the interval around it.

    Attributes
    ----------
    middle, low, high : float
        The median and the bounds.
    confidence : float
        With which the bounds hold the true median; less than was asked for where samples are few.
    n : int
        Samples.
    """

    middle: float
    low: float
    high: float
    confidence: float
    n: int

    def holds(self, value: float) -> bool:
        """Whether a value lies within the bounds."""
        return self.low <= value <= self.high


def sign_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the median and its sign-test interval.

    Parameters
    ----------
    samples : sequence of float
        At least one.
    confidence : float
        Asked for; where even the extremes do not reach it, they are returned with what they reach:
        six samples make 0.969.

    Raises
    ------
    ValueError
        There are no samples.
    """
    ordered = sorted(samples)
    n = len(ordered)
    if n == 0:
        raise ValueError("an interval needs at least one sample; let the rounds run")
    # The median lies outside the j-th smallest and largest with probability 2 · P(B(n, ½) < j).
    beyond, best = 0, (0, 2 / 2**n)
    for j in range(n // 2):
        beyond += comb(n, j)
        outside = 2 * beyond / 2**n
        if j > 0 and outside > 1 - confidence:
            break
        best = j, outside
    j, outside = best
    return Interval(median(ordered), ordered[j], ordered[-1 - j], max(0.0, 1 - outside), n)


def rounds_needed(confidence: float) -> int:
    """Return how many samples an interval of this confidence needs at least."""
    n = 1
    while 2 / 2**n > 1 - confidence:
        n += 1
    return n


def corrected(confidence: float, n_comparisons: int) -> float:
    """Return the confidence of one of several intervals that all hold together (Bonferroni)."""
    return 1 - (1 - confidence) / max(n_comparisons, 1)


def ratio(
    seconds: Sequence[float], baseline: Sequence[float], confidence: float = CONFIDENCE
) -> Interval:
    """Return the ratio of times to those of the baseline, from paired samples.

    Raises
    ------
    ValueError
        The samples are not pairs, or there are none.
    """
    if len(seconds) != len(baseline):
        raise ValueError(
            f"{len(seconds)} samples beside {len(baseline)} of the baseline are no pairs; "
            "take the rounds in which both ran"
        )
    logs = sign_interval([log(t / b) for t, b in zip(seconds, baseline, strict=True)], confidence)
    return Interval(exp(logs.middle), exp(logs.low), exp(logs.high), logs.confidence, logs.n)


def floor_of(twin: Interval) -> float:
    """Return the smallest factor that a run resolves: its A/A interval's farther end, from 1."""
    return max(twin.high, 1 / twin.low if twin.low > 0 else inf)


def is_resolved(times: Interval, floor: float) -> bool:
    """Whether a ratio differs from 1 by more than chance and more than the twin did."""
    return not times.holds(1.0) and not 1 / floor <= times.middle <= floor
