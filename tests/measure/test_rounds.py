"""The paired run: equal turns, every fit certified, and no number for what is not right."""

import gc
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.formatting import as_text
from kmeans_lab.measure import contestants, record, roofline, rounds, tables
from kmeans_lab.measure.calibration import calibrate, start_costs
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.measure.rounds import DRIFT, TWIN, PairedRun
from kmeans_lab.pages.bench import headline
from kmeans_lab.presets import PRESETS

SMOKE = PRESETS["smoke"].load()

# Right while it is certified and called once more, wrong from its third timed fit on.
LATE = """
calls = 0
def assign(rows, centers, labels):
    global calls
    calls += 1
    inertia = good_assign(rows, centers, labels)
    if calls > {calls}:
        {fault}
    return inertia
"""
FAULTS = {
    "another label": ("labels[0] = (labels[0] + 1) % 5", "INVALID", ""),
    "an exception": ("raise OSError('cable')", "broken", "OSError: cable"),
    "X": ("rows.base.flags.writeable = True; rows.base[3, 1] *= 1.5", "INVALID", ""),
}


def calls_of_assign():
    """Return how often a fit of the smoke preset calls assign."""
    return kmeans(SMOKE.X, 5, kernel="cpp", **SMOKE.settings()).n_iter + 1


def paired(*kernels, n_rounds=6, watch=lambda progress: None, **options):
    """Return a run on the smoke preset, done."""
    workload = PRESETS["smoke"].load()  # its own X: a kernel here may spoil it
    run = PairedRun(workload, "smoke", kernels, "cpp", n_rounds=n_rounds, **options)
    run.run(watch)
    return run


def test_each_contestant_runs_once_a_round_and_has_what_it_took():
    run = paired("cpp", "numpy", "cython")
    names = ["cpp", "numpy", "cython", "cpp" + TWIN]
    assert [it.name for it in run.contestants] == names
    assert len(run.orders) == 6
    assert all(sorted(order) == sorted(names) for order in run.orders)
    assert len({tuple(order) for order in run.orders}) > 3
    for it in run.contestants:
        assert (it.state, it.why, it.rounds) == ("valid", "", list(range(6)))
        assert len(it.seconds) == 6
        assert {len(values) for values in it.phases.values()} == {6}
        parts = np.sum([*it.phases.values()], axis=0)
        assert (parts <= np.array(it.seconds) * (1 + 1e-12)).all()  # parts of another clock round
        assert (parts > 0.5 * np.array(it.seconds)).any()  # a busy machine may stretch some rounds
    assert run.ratio_of("cpp") is None
    assert run.ratio_of("numpy").n == 6
    assert run.ratio_of("numpy").low > 0
    assert run.floor >= 1
    assert run.drift > 0
    assert (run.partial, gc.isenabled()) == (False, True)


def test_the_same_seed_draws_the_same_order_and_another_one_another():
    orders = [paired("cpp", "numpy", seed=seed).orders for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_slow_kernels_join_some_rounds_and_are_paired_with_those():
    run = paired("python", n_rounds=12)
    slow, base = run.find("python"), run.find("cpp")
    slow.rounds, slow.seconds = [0, 6], [8.0, 20.0]
    base.seconds = [float(1 + r) for r in range(12)]
    assert run.ratio_of("python").middle == pytest.approx((8 / 1 * 20 / 7) ** 0.5)
    assert run.ratio_of("python").n == 2


@pytest.mark.parametrize("fault", FAULTS)
def test_a_kernel_that_goes_wrong_in_the_middle_loses_its_number(plant, fault):
    code, state, why = FAULTS[fault]
    n_assign = calls_of_assign()
    # Two calls are timed and two watched, one fit is certified, two are timed and right.
    plant(LATE.format(calls=4 + 3 * n_assign, fault=code))
    run = paired("planted", "numpy", n_rounds=8)
    it = run.find("planted")
    assert it.state == state, it.why
    assert it.why.startswith("round ")
    assert why in it.why
    assert (it.seconds, it.rounds, run.ratio_of("planted")) == ([], [], None)
    assert len(run.find("numpy").seconds) == 8  # even where X was spoilt


def test_a_kernel_that_is_wrong_from_the_start_never_runs_against_the_clock(plant):
    plant("def assign(*a):\n    return good_assign(*a) + 1e-3\n")
    it = paired("planted").find("planted")
    assert it.state == "INVALID"
    assert it.why.startswith("iteration 1: the fit returned the inertia")
    assert it.seconds == []


def test_what_cannot_run_is_told_from_what_is_wrong(plant):
    plant("import not_there_at_all", "missing", requires=("not_there_at_all",))
    plant("1 / 0", "damaged")
    run = paired("missing", "damaged", "numpy")
    assert [it.state for it in run.contestants] == [
        "valid", "unavailable", "broken", "valid", "valid",
    ]  # fmt: skip
    assert "not_there_at_all" in run.find("missing").why


def test_with_two_threads_a_kernel_that_holds_the_gil_is_left_out():
    run = paired("python", "cython", "cpp-simd", n_threads=2)
    assert run.find("python").state == "left out"
    assert {run.find(name).state for name in ("cpp", "cython", "cpp-simd")} == {"valid"}


@pytest.mark.parametrize("at", [("calibrate", 1), ("certify", 2), ("round", 9)])
def test_ctrl_c_keeps_what_was_measured(at):
    seen = []

    def watch(progress):
        seen.append(progress.what)
        if seen.count(at[0]) == at[1] and progress.what == at[0]:
            raise KeyboardInterrupt

    run = paired("numpy", "cython", watch=watch)
    assert run.partial
    assert gc.isenabled()
    assert sum(len(it.seconds) for it in run.contestants) == (8 if at[0] == "round" else 0)
    assert run.drift is None
    assert run.void == ""


def test_the_watcher_is_told_how_far_it_is():
    told = []
    paired("numpy", watch=told.append)
    rounds = [it for it in told if it.what == "round"]
    assert [it.done for it in rounds] == list(range(18))
    assert {it.total for it in rounds} == {18}
    assert rounds[-1].left >= 0
    assert [it.name for it in told if it.what == "certify"] == ["cpp", "cpp" + TWIN, "numpy"]


def test_a_machine_that_changed_voids_the_run():
    run = paired("numpy")
    run.opening, run.closing = [1.0, 1.0, 9.0], [1.1, 1.1, 0.1]
    assert run.void == ""
    for closing in (1.0 * DRIFT + 0.01, 1 / DRIFT - 0.01):
        run.closing = [closing]
        assert f"took {closing:.2f} times as long" in run.void


def test_slow_kernels_meet_each_other_in_every_round_that_they_join(monkeypatch):
    monkeypatch.setattr(contestants, "SLOW", 0.0)
    run = PairedRun(PRESETS["smoke"].load(), "smoke", ["numpy"], "cpp", n_rounds=24)
    run.run()
    assert {it.every for it in run.contestants} == {4}
    assert run.find("numpy").rounds == run.find("cpp").rounds


@pytest.mark.parametrize("n_threads", [1, 2, 3, 5])
def test_limits_are_measured_for_any_number_of_threads(n_threads, monkeypatch):
    monkeypatch.setattr(roofline, "READ_BYTES", 2**16 + 64)
    assert roofline.bandwidth(n_threads) > 0
    assert roofline.roof_if_known(n_threads).n_threads == n_threads


def test_a_machine_without_the_flagship_has_no_roof(monkeypatch):
    monkeypatch.setattr(roofline, "state_of", lambda name: ("broken", "ImportError"))
    roofline.roof_if_known.cache_clear()
    assert roofline.roof_if_known(1) is None
    roofline.roof_if_known.cache_clear()


def test_the_calibration_loop_is_timed_many_times():
    assert len(found := calibrate()) == 15
    assert min(found) > 0


@pytest.mark.kernels("cpp", "numba")
@pytest.mark.slow_for("numba")
def test_what_a_start_costs_is_measured_where_nothing_has_started(kernel_name):
    costs = start_costs(kernel_name, "float64", 3)
    assert costs["import"] > 0
    if kernel_name == "cpp":
        assert costs["compile"] is costs["load"] is None
    else:
        assert costs["load"] > 0
        # On a busy machine any process may take long: once in so many, to compile takes longer.
        more = (start_costs(kernel_name, "float64", 3) for _ in range(4))
        assert any(it["compile"] > it["load"] for it in (costs, *more))
    start = paired(kernel_name).find(kernel_name).start
    assert start.keys() == {"import", "compile", "load", "build"}


def test_a_kernel_with_a_row_in_this_process_alone_is_measured_like_the_others(plant):
    plant("")
    it = paired("planted").find("planted")
    assert (it.state, len(it.seconds)) == ("valid", 6)
    assert it.start["import"] > 0
    assert "planted_module" not in sys.modules


def test_a_baseline_that_goes_wrong_takes_its_twin_along_and_all_ratios(plant):
    n_assign = calls_of_assign()
    plant(LATE.format(calls=4 + 5 * n_assign, fault="labels[0] = (labels[0] + 1) % 5"))
    run = PairedRun(PRESETS["smoke"].load(), "smoke", ["numpy"], "planted", n_rounds=8)
    run.run()
    assert {it.name: it.state for it in run.contestants} == {
        "planted": "INVALID", "numpy": "valid", "planted" + TWIN: "INVALID",
    }  # fmt: skip
    assert (run.ratio_of("numpy"), run.floor) == (None, None)
    it = record.run_dict(run)
    (row,) = [
        line for line in as_text(*tables.of_run(it)).splitlines() if line.startswith("numpy")
    ][:1]
    assert row.split()[2:4] == ["–", "8"]  # no ratio, no interval
    said = "planted has no certified number, so that nothing can be compared with it."
    assert headline(it) == said


def test_the_cores_that_fits_kept_busy_are_recorded():
    run = paired("python")
    (own,) = [it for it in record.run_dict(run)["contestants"] if it["name"] == "python"]
    assert 0 < own["cores"] <= rounds.MOST_CORES
    assert "Cores busy in a fit" in as_text(*tables.of_run(record.run_dict(run)))


@pytest.mark.parametrize(
    ("seconds", "cores", "n_threads", "wrong"),
    [(1.0, 1.9, 1, True), (1.0, 1.9, 2, False), (1.0, 2.9, 2, True), (0.01, 1.9, 1, False)],
)
def test_more_cores_than_threads_are_no_fair_number(seconds, cores, n_threads, wrong):
    run = PairedRun(PRESETS["smoke"].load(), "smoke", ["cpp"], "cpp", n_threads=n_threads)
    it = run.find("cpp")
    it.child = SimpleNamespace(
        ask=lambda function: (seconds, cores), checked=lambda read, answer: read(answer)
    )
    with pytest.raises(CertificateError, match="cores busy") if wrong else nullcontext():
        run._confirm_threads(it)
    assert it.cores == cores


@pytest.mark.parametrize("shared", [True, False])
def test_kernels_far_behind_the_baseline_are_left_out_before_they_are_certified(
    monkeypatch, plant, shared
):
    # What a fit of the baseline took: next to nothing, or more than any other can take.
    monkeypatch.setattr(rounds, "whole_seconds", lambda certificate: 1e9 if shared else 1e-9)
    plant("def assign(rows, centers, labels):\n    labels[:] = 0\n    return 1.0\n")
    run = paired("cpp", "cython", "planted", behind=5.0)
    assert len(run.find("cpp").seconds) == len(run.find("cpp" + TWIN).seconds) == 6
    it, wrong = run.find("cython"), run.find("planted")
    if shared:
        assert (it.state, it.behind, len(it.seconds)) == ("valid", False, 6)
        assert (wrong.state, wrong.behind) == ("INVALID", False)
    else:
        assert (it.state, it.why) == ("left out", "a fit takes over 5 times the baseline's")
        assert (it.behind, it.certificate, it.seconds) == (True, None, [])
        assert wrong.state == "left out"


def test_rounds_alone_leave_out_what_a_fit_costs_beside_them(monkeypatch):
    for name in ("start_costs", "roof_if_known"):
        monkeypatch.setattr(f"kmeans_lab.measure.rounds.{name}", None)
    run = paired("numpy", rounds_alone=True)
    assert (run.find("numpy").state, run.find("numpy").start, run.roof) == ("valid", None, None)


def test_slow_kernels_keep_as_many_rounds_as_are_asked_for(monkeypatch):
    monkeypatch.setattr(contestants, "SLOW", 0.0)
    assert len(paired("numpy", n_rounds=24).find("numpy").seconds) == 6
    assert len(paired("numpy", n_rounds=24, fewest=12).find("numpy").seconds) == 12


def test_more_drift_is_allowed_where_only_ratios_count():
    run = paired("numpy", most_drift=2.0)
    run.opening, run.closing = [1.0], [1.9]
    assert run.void == ""
    run.closing = [2.1]
    assert "beyond 2 the machine" in run.void
