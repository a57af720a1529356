"""Verdicts on cells: a winner only where every comparison is resolved."""

from random import Random

import pytest

from kmeans_lab.measure.statistics import corrected, rounds_needed
from kmeans_lab.winners.grid import Cell
from kmeans_lab.winners.verdict import judge
from tests.support.maps.made_up import made_up_run

CELL = Cell(1000, 2, 4, 1)


def verdict(times, among=None, **more):
    return judge(made_up_run(CELL, times, **more), among)


def test_the_shortest_fit_wins_and_the_next_says_by_how_much():
    found = verdict({"a": 2.0, "b": 1.0, "c": 5.0})
    assert (found.kind, found.winner, found.leaders, found.runner_up) == ("won", "b", ("b",), "a")
    assert found.times.middle == pytest.approx(2.0)
    assert found.times.low <= 2.0 <= found.times.high
    assert found.seconds == pytest.approx(1.05)  # the median of what rounds take


def test_what_slows_a_whole_round_decides_nothing():
    found = verdict({"a": 1.0, "b": 1.05})  # rounds differ by a factor of two
    assert (found.winner, found.times.low) == ("a", pytest.approx(1.05))


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_an_interval_around_one_has_no_winner(order):
    times = {name: {"a": 1.0, "b": 1.1}[name] for name in order}
    found = verdict(times, noisy=("b",))
    assert (found.kind, found.winner) == ("not resolved", None)
    assert set(found.leaders) == {"a", "b"}


def test_a_third_kernel_that_is_not_resolved_takes_the_win_away():
    found = verdict({"a": 1.0, "b": 1.2, "c": 1.22}, noisy=("c",))
    assert (found.kind, found.winner, found.leaders) == ("not resolved", None, ("a", "c"))
    assert verdict({"a": 1.0, "b": 1.2, "c": 1.22}, ("a", "b"), noisy=("c",)).winner == "a"


def test_a_lead_within_the_twins_difference_is_none():
    assert verdict({"a": 1.0, "b": 1.04}, twin=1.05).kind == "not resolved"
    assert verdict({"a": 1.0, "b": 1.06}, twin=1.05).winner == "a"
    assert verdict({"a": 1.0, "b": 1.04}, twin=0.95).kind == "not resolved"


def test_too_few_rounds_resolve_nothing():
    for n in (2, 3, 9):
        names = [chr(97 + i) for i in range(n)]
        times = {name: float(1 + i) for i, name in enumerate(names)}
        needed = rounds_needed(corrected(0.95, n - 1))
        assert verdict(times, rounds=needed).winner == "a"
        assert verdict(times, rounds=needed - 1).winner is None


def test_without_the_baselines_twin_nothing_is_resolved():
    assert verdict({"a": 1.0, "b": 3.0}, floor=None).winner is None


def test_a_kernel_without_a_number_enters_nothing():
    found = verdict({"a": 1.0, "b": 0.0, "c": 2.0})
    assert (found.winner, found.runner_up) == ("a", "c")
    alone = verdict({"a": 1.0, "b": 0.0})
    assert (alone.kind, alone.winner, alone.times) == ("alone", "a", None)
    assert verdict({"a": 0.0, "b": 0.0}).kind == "none"
    assert verdict({"a": 0.0, "b": 0.0}).leaders == ()


def test_a_void_run_has_no_winner():
    found = verdict({"a": 1.0, "b": 3.0}, void="it was another machine")
    assert (found.kind, found.winner, found.leaders) == ("void", None, ())


def test_the_twin_of_the_baseline_is_no_kernel():
    found = verdict({"a": 1.0, "b": 3.0}, twin=0.5)
    assert found.leaders[0] == "a"
    assert found.runner_up == "b"


def test_rounds_that_only_one_ran_in_are_no_pairs():
    run = made_up_run(CELL, {"a": 1.0, "b": 1.1, "c": 3.0})
    slow = run["contestants"][2]
    for key in ("seconds", "rounds"):
        slow[key] = slow[key][::4]
    found = judge(run)
    assert (found.kind, found.leaders) == ("not resolved", ("a", "c"))  # three rounds are too few
    slow["rounds"] = [100, 101, 102]
    assert judge(run).leaders == ("a", "c")


def test_false_winners_are_as_rare_as_promised():
    """Kernels that are equally fast, in pure noise: the oracle is the count of winners."""
    rng, won, n = Random(5), 0, 400
    for _ in range(n):
        run = made_up_run(CELL, dict.fromkeys("abcd", 1.0), rounds=24)
        for it in run["contestants"]:
            it["seconds"] = [s * rng.lognormvariate(0, 0.1) for s in it["seconds"]]
        run["floor"] = 1.0
        won += judge(run).winner is not None
    assert won / n <= 0.05
