"""Intervals: exact where they can be counted, honest where noise is not."""

from itertools import pairwise, product
from math import exp, log
from random import Random

import pytest

from kmeans_lab.measure.latin_squares import latin_square, rounds
from kmeans_lab.measure.statistics import (
    Interval,
    corrected,
    floor_of,
    is_resolved,
    ratio,
    rounds_needed,
    sign_interval,
)


@pytest.mark.parametrize("n", range(1, 13))
@pytest.mark.parametrize("wanted", [0.5, 0.9, 0.95, 0.99])
def test_the_interval_holds_the_median_as_often_as_it_says(n, wanted):
    # Each sample lies above the true median, 0, or below it, with equal chances: all 2**n cases.
    magnitudes = [1.0 + i for i in range(n)]
    found = [
        sign_interval([s * m for s, m in zip(signs, magnitudes, strict=True)], wanted)
        for signs in product((-1, 1), repeat=n)
    ]
    held = sum(it.holds(0.0) for it in found) / 2**n
    assert held == pytest.approx(found[0].confidence, abs=1e-12)
    if n >= rounds_needed(wanted):
        assert held >= wanted


def test_the_narrowest_interval_that_is_sure_enough_is_taken():
    for n in range(rounds_needed(0.95), 60):
        it = sign_interval([float(i) for i in range(n)], 0.95)
        j = int(it.low)
        assert it.high == n - 1 - j
        narrower = sign_interval([float(i) for i in range(n)], it.confidence - 0.2)
        assert it.confidence >= 0.95
        assert narrower.high - narrower.low < it.high - it.low


def test_six_samples_are_the_fewest_for_95_percent():
    assert rounds_needed(0.95) == 6
    assert sign_interval([3, 1, 4, 1.5, 9, 2.6]) == Interval(2.8, 1, 9, 1 - 2 / 64, 6)
    assert sign_interval([3, 1, 4, 1.5, 9]) == Interval(3, 1, 9, 1 - 2 / 32, 5)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        sign_interval([])
    with pytest.raises(ValueError, match="no pairs"):
        ratio([1.0, 2.0], [1.0])


def test_several_intervals_share_the_chance_to_be_wrong():
    assert corrected(0.95, 1) == 0.95
    assert corrected(0.95, 10) == pytest.approx(0.995)
    assert corrected(0.95, 0) == 0.95
    assert rounds_needed(corrected(0.95, 9)) == 9


def test_what_slows_a_whole_round_cancels():
    slow = [1.0, 30.0, 2.0, 1.5, 8.0, 1.0, 4.0, 1.0, 2.0]
    it = ratio([3 * s for s in slow], slow)
    assert (it.middle, it.low, it.high) == pytest.approx((3, 3, 3))


def test_what_is_below_the_floor_is_not_resolved():
    assert floor_of(Interval(1.01, 0.98, 1.03, 0.95, 24)) == 1.03
    assert floor_of(Interval(0.99, 0.95, 1.03, 0.95, 24)) == 1 / 0.95
    sure = Interval(1.02, 1.01, 1.03, 0.95, 24)
    assert is_resolved(sure, 1.015)
    assert not is_resolved(sure, 1.025)
    assert not is_resolved(Interval(1.2, 0.99, 1.4, 0.95, 24), 1.01)
    assert is_resolved(Interval(0.5, 0.4, 0.6, 0.95, 24), 1.9)
    assert not is_resolved(Interval(0.5, 0.4, 0.6, 0.95, 24), 2.1)


def noisy_run(rng, n_rounds, effect):
    """Two contestants on a machine that drifts, jitters and is now and then interrupted."""
    seconds, baseline = [], []
    drift = rng.uniform(-0.01, 0.01)
    for r in range(n_rounds):
        burst = rng.choice([1.0, 1.0, 1.0, 1.0, 1.0, 1.6])  # falls on one of the two, or both
        times = []
        for _ in range(2):
            hit = burst if rng.random() < 0.7 else 1.0
            times.append(exp(drift * r) * (1 + rng.expovariate(1 / 0.01)) * hit)
        if rng.random() < 0.5:  # the order within a round is drawn, too
            times.reverse()
        seconds.append(times[0] * effect)
        baseline.append(times[1])
    return seconds, baseline


@pytest.mark.parametrize("n_rounds", [6, 9, 24])
def test_simulated_twins_differ_in_at_most_7_percent_of_200_runs(n_rounds):
    rng = Random(n_rounds)
    wrong = sum(not ratio(*noisy_run(rng, n_rounds, 1.0)).holds(1.0) for _ in range(200))
    assert wrong <= 14


def test_a_planted_slowdown_of_3_percent_is_resolved():
    rng = Random(1)
    found = [ratio(*noisy_run(rng, 60, 1.03)) for _ in range(50)]
    assert sum(it.low > 1 for it in found) >= 48
    assert abs(sum(log(it.middle) for it in found) / 50 - log(1.03)) < 0.005


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10])
def test_everybody_runs_at_each_place_once_in_a_block(n):
    square = latin_square(n, Random(n))
    assert len(square) == n
    for order in square:
        assert sorted(order) == list(range(n))
    for place in zip(*square, strict=True):
        assert sorted(place) == list(range(n))


def test_each_block_is_drawn_anew_and_a_seed_repeats_it():
    first = list(rounds([1] * 6, 24, Random(3)))
    assert first == list(rounds([1] * 6, 24, Random(3)))
    blocks = [first[i : i + 6] for i in range(0, 24, 6)]
    assert len({str(block) for block in blocks}) == 4
    followers = {(a, b) for order in first for a, b in pairwise(order)}
    assert len(followers) > 20  # of 30: nobody always follows the same one


def test_slow_ones_join_every_so_many_rounds_from_the_first_on():
    orders = list(rounds([1, 4, 1], 10, Random(0)))
    assert [r for r, order in enumerate(orders) if 1 in order] == [0, 4, 8]
    assert all({0, 2} <= set(order) for order in orders)
