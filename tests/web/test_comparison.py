"""What a race tells of its times: who fits when, what an interval holds, and in which words."""

from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.measure.certify import fingerprint
from kmeans_lab.presets import PRESETS
from kmeans_lab.web.comparison import verdict
from kmeans_lab.web.fits import Fits
from kmeans_lab.web.lane import Lane, LaneOrder
from kmeans_lab.web.load import load_sentence
from kmeans_lab.web.models import Certificate, LaneResult
from kmeans_lab.web.race_data import RaceData, find_plane
from kmeans_lab.web.races import LaneRecord, Turn
from kmeans_lab.web.turns import ROUNDS, take_turns


def lane(kernel, seconds, threads=1, valid=True, waited=0.0):
    """Return a lane with a fit in each round, or with one fit."""
    seconds = seconds if isinstance(seconds, list) else [seconds] * ROUNDS
    result = LaneResult.model_construct(
        seconds=median(seconds),
        repeats=seconds,
        rounds=list(range(1, len(seconds) + 1)),
        certificate=Certificate(valid=valid, sentence="", ties=0),
        waited=waited,
    )
    return SimpleNamespace(kernel=kernel, threads=threads, result=result)


def told(*lanes, baseline=0):
    return verdict(lanes, baseline, [None] * len(lanes))


def test_labels_that_differ_are_counted_and_named():
    lanes = [lane("python", 8.0), lane("cpp", 0.1)]
    found = verdict(lanes, 0, [np.array([0, 1, 2]), np.array([0, 2, 1])])
    assert found.agree is False
    assert found.sentence == (
        "cpp is 80.0 × faster than python; the labels of cpp differ from python's in 2 of 3 rows"
    )


def test_a_time_without_a_certificate_is_no_time():
    lanes = [lane("python", 8.0), lane("cpp", 0.1, valid=False)]
    assert told(*lanes).times == [1.0, None]
    assert told(*lanes, baseline=1).times == [None, None]


def test_lanes_of_one_kernel_are_told_apart():
    sentence = told(lane("cpp", 2.0), lane("cpp", 1.0, threads=2)).sentence
    assert sentence == "cpp on 2 threads is 2.00 × faster than cpp on 1 thread"
    sentence = told(lane("cpp", 2.0), lane("cpp", 2.0)).sentence
    assert sentence == "no difference found between cpp in lane 2 and cpp in lane 1"


def test_ratios_are_times_and_not_percent():
    sentence = told(lane("cpp", 1.0), lane("python", 2.0)).sentence
    assert sentence == "python is 2.00 × slower than cpp"


def test_only_what_is_resolved_is_told():
    noisy = [1.3 if i % 2 else 1.0 for i in range(ROUNDS)]
    quick = [0.3 + 0.01 * (i % 3) for i in range(ROUNDS)]
    found = told(lane("numpy", noisy), lane("cpp", noisy[::-1]), lane("cython", quick))
    assert found.differs == [None, False, True]
    assert found.sentence == (
        "cython is 3.68 × faster than numpy, no difference found between cpp and numpy"
    )
    # Three percent in all rounds: two processes of one kernel differ by as much.
    assert told(lane("numpy", 1.0), lane("cpp", 0.97)).differs == [None, False]
    assert told(lane("numpy", 1.0), lane("cpp", 0.9)).differs == [None, True]


def test_one_fit_tells_only_what_is_beyond_doubt():
    assert told(lane("cpp", [2.0]), lane("cpp", [1.4])).differs == [None, False]
    assert told(lane("python", [2.0]), lane("cpp", [0.9])).differs == [None, True]
    few = ROUNDS // 4 - 1  # one round less than an interval of 99.5 % needs
    assert told(lane("numpy", [1.5] * few), lane("cpp", [1.0] * few)).differs == [None, False]


def test_who_ran_once_is_held_against_the_medians_of_others():
    once = lane("python", [4.0])
    once.result.rounds = [0]
    (_, bounds) = told(once, lane("cpp", 1.0)).intervals
    assert (bounds.low, bounds.high, bounds.rounds) == (4.0, 4.0, 1)


def test_who_waited_for_a_processor_may_owe_it_all_to_that():
    fast, slow = lane("cpp", 1.0, waited=0.2), lane("cpp", 1.6, waited=0.5)
    assert told(slow, fast).differs == [None, False]
    assert told(slow, lane("cpp", 0.7)).differs == [None, True]
    unknown = [lane("cpp-simd", it, threads=2, waited=None) for it in (1.6, 1.0)]
    assert verdict(unknown, 0, [None, None], "busy").differs == [None, False]
    assert verdict(unknown, 0, [None, None]).differs == [None, True]


def simulated(rng, drift):
    """Return the fits of two lanes that are alike, on a machine that has bursts of other work."""
    now = np.exp(np.cumsum(rng.normal(scale=drift, size=ROUNDS)))  # slower and faster, for a while
    fits = []
    for _ in range(2):
        noise = np.exp(rng.normal(scale=0.05, size=ROUNDS))
        burst = np.where(rng.random(ROUNDS) < 0.1, rng.uniform(1.2, 3.0, ROUNDS), 1.0)
        own = np.exp(rng.normal(scale=0.005))  # what a process differs by for its whole life
        fits.append((0.003 * now * noise * burst * own).tolist())
    return fits


def test_a_kernel_against_itself_shows_no_difference():
    rng = np.random.default_rng(18)
    found = [
        told(*(lane("cpp", it) for it in simulated(rng, drift))).differs[1]
        for drift in (0.0, 0.02, 0.2)
        for _ in range(400)
    ]
    assert sum(found) <= 6  # of 1200: 0.5 %, or the interval does not hold what it promises
    one, other = simulated(rng, 0.2)
    slower = [1.5 * it for it in other]
    assert told(lane("cpp", one), lane("cpp", slower)).differs[1]


@pytest.fixture
def alone():
    """Return a lane in this process, with what it is told and what it has said."""
    workload = PRESETS["smoke"].load()
    said, orders = [], []
    out = np.empty(len(workload.X), np.int32)
    data = RaceData(
        workload.centers, np.arange(10), find_plane(workload.X), "", fingerprint(workload.X), {}
    )
    settings = {"max_iter": 30, "stop": "shift", "tol": 0.0}
    order = LaneOrder(
        "cpp", "cpp", 1, "measure", [], workload.X.shape, "float64", None, settings, data
    )
    pipe = SimpleNamespace(send=said.append, recv=lambda: orders.pop(0))
    return Lane(pipe, order, workload.X, out), orders, said


@pytest.mark.parametrize("expected", [0.0, 10.0])
def test_a_fit_that_is_shorter_than_expected_is_shown_once(alone, monkeypatch, expected):
    lane, orders, said = alone
    orders += [(None, 0.0), (1, 0.0), None]
    monkeypatch.setattr("kmeans_lab.web.lane.seconds_of_assign", lambda *_: expected)
    lane.run()
    result = next(data for what, data in said if what == "result")
    frames = [data["n_iter"] for what, data in said if what == "frame"]
    assert not result["watched"]
    assert frames == list(range(1, result["n_iter"] + 1))
    assert (len(result["repeats"]), result["rounds"]) == (1, [1])  # the first did not count


def test_a_fit_that_is_long_is_shown_while_it_runs(alone, monkeypatch):
    lane, orders, said = alone
    orders += [(None, 0.0), None]
    monkeypatch.setattr("kmeans_lab.web.lane.seconds_of_assign", lambda *_: 10.0)
    monkeypatch.setattr("kmeans_lab.web.lane._LONG", 1e-9)
    monkeypatch.setattr("kmeans_lab.web.lane._PAUSE", 0.0)
    lane.run()
    kinds = [what for what, _ in said]
    result = next(data for what, data in said if what == "result")
    frames = [data["n_iter"] for what, data in said if what == "frame"]
    assert result["watched"]
    assert frames == list(range(1, result["n_iter"] + 1))
    assert kinds[kinds.index("frame") :].index("turn") == len(frames)
    assert (len(result["repeats"]), result["rounds"]) == (1, [0])


def test_no_two_fits_are_given_the_same_bytes():
    workload = PRESETS["smoke"].load()
    seen, places = [], set()

    def fit(X, settings):
        seen.append(X)
        places.add(float(X[0, 0] / workload.X[0, 0]))
        return kmeans(X, 5, kernel="cpp", **settings)

    settings = {"init": workload.centers, "n_threads": 1, "stop": "shift-norm", "tol": 0.5}
    fits = Fits(fit, workload.X, settings)
    fits.turn(0.0, None)
    while len(fits.seconds) < 12:
        fits.turn(0.0, 1)
    expected = kmeans(workload.X, 5, kernel="cpp", **settings)
    assert not fits.wrong
    assert fits.result.inertia == expected.inertia
    np.testing.assert_array_equal(fits.result.centers, expected.centers)
    assert len(places) > 3  # powers of two
    assert not any(np.shares_memory(it, workload.X) for it in seen)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [("labels", "two fits from the same start gave different labels"),
     ("centers", "two fits from the same start gave different centers")],
)  # fmt: skip
def test_a_fit_that_differs_from_the_first_is_wrong(change, wrong):
    workload = PRESETS["smoke"].load()

    def fit(X, settings):
        result = kmeans(X, 5, kernel="cpp", **settings)
        if fits.seconds:
            getattr(result, change)[0] *= 2
            getattr(result, change)[0] += 1
        return result

    settings = {"init": workload.centers, "n_threads": 1, "stop": "shift", "tol": 0.0}
    fits = Fits(fit, workload.X, settings)
    fits.turn(0.0, 1)
    assert not fits.wrong
    fits.turn(0.0, 2)
    assert fits.wrong == wrong


def test_slow_lanes_join_fewer_rounds_and_all_are_given_enough():
    lanes = [LaneRecord(i, "cpp", 1) for i in range(4)]
    costs = {0: 0.01, 1: 0.06, 2: 0.5, 3: 7.0}
    rounds = {i: [] for i in costs}
    spent = dict.fromkeys(costs, 0.0)

    def give(it, turn):
        number, budget = turn
        seconds = costs[it.index]
        if number is not None:
            rounds[it.index].append(number)
            spent[it.index] += max(budget, seconds)
        return Turn(seconds, seconds > 1)

    take_turns(lanes, 0.5, give)
    assert [len(it) for it in rounds.values()] == [ROUNDS, ROUNDS // 2, ROUNDS // 4, 0]
    assert set(rounds[2]) <= set(rounds[1]) <= set(rounds[0])
    assert all(seconds >= 0.5 - 1e-9 for i, seconds in spent.items() if i < 3)
    take_turns(lanes[3:], 0.5, give)  # nobody is left for more than one fit
    assert not rounds[3]


def test_a_loaded_machine_is_noticed_and_said(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert load_sentence([], []) == load_sentence([0.02, 0.05], [0, 0, 1, 0]) == ""
    assert load_sentence([0.01, 0.25], [0, 0]) == (
        "the machine was busy with other work (fits waited for a processor in 25% of their time): "
        "times are too long and small differences are not seen; run again when it is quiet"
    )
    assert "1.5 threads of other programs wanted its 2 processors" in load_sentence([], [1, 2])
    found = verdict([lane("cpp", 1.0)] * 2, 0, [None] * 2, "the machine was busy")
    assert found.loaded == "the machine was busy"
