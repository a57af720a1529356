"""``kmeans-lab bench``: one kernel costs no other its numbers, and cheating earns none."""

import sys
from random import Random

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.measure import timed
from kmeans_lab.measure.rounds import PairedRun
from kmeans_lab.measure.timed import exponents, scaled, settle, unscaled
from kmeans_lab.presets import PRESETS
from kmeans_lab.registry import KERNELS
from kmeans_lab.spec import KernelSpec
from tests.support.planted import BY_NUMPY

pytestmark = pytest.mark.hostile

LATER = """
calls = 0
def assign(*arrays):
    global calls
    calls += 1
    if calls > 12:
        {}
    return good_assign(*arrays)
"""
#: It knows the answers for the bytes that it has seen, and makes some up for others.
MEMORY = """
seen = {}
def assign(rows, centers, labels):
    key = rows.tobytes(), centers.tobytes()
    if key not in seen:
        inertia = good_assign(rows, centers, labels)
        if len(seen) > 12:
            labels[0] = 0
        seen[key] = labels.copy(), inertia
    labels[:], inertia = seen[key]
    return inertia
"""
#: Slower than a step of the lab's, by a clock that it has slowed down itself.
CLOCK = """
import sys
import time
real, spent = time.perf_counter, [0.0]
def slow_clock():
    return real() - spent[0]
def assign(*arrays):
    for module in list(sys.modules.values()):
        if getattr(module, "perf_counter", None) is real and module is not time:
            module.perf_counter = slow_clock
    begin = real()
    while real() < begin + 0.01:
        pass
    spent[0] += real() - begin
    return good_assign(*arrays)
"""
UNWATCHED = """
import sys
def assign(rows, centers, labels):
    if sys.getprofile():
        return good_assign(rows, centers, labels)
    import importlib.util
    from importlib.machinery import EXTENSION_SUFFIXES
    from pathlib import Path
    import kmeans_lab
    file = Path(kmeans_lab.__file__).parent / f"_cpp_kernel{EXTENSION_SUFFIXES[0]}"
    spec = importlib.util.spec_from_file_location("_cpp_kernel", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.assign(rows, centers, labels)
"""


@pytest.fixture
def plant(monkeypatch, tmp_path):
    """Add a kernel of the given source under a name."""

    def add(source, name="planted"):
        (tmp_path / f"{name}_module.py").write_text(BY_NUMPY + source)
        monkeypatch.syspath_prepend(tmp_path)
        spec = KernelSpec(f"{name}_module", "planted", "none", requires=("numpy",))
        monkeypatch.setitem(KERNELS, name, spec)

    return add


def paired(*kernels, n_rounds=4):
    run = PairedRun(PRESETS["smoke"].load(), "smoke", kernels, "cpp", n_rounds=n_rounds)
    run.run()
    return run


def test_a_kernel_that_ends_its_process_costs_no_other_its_numbers(plant, monkeypatch):
    monkeypatch.setattr(timed, "PATIENCE", 3.0)
    monkeypatch.setattr(timed, "LATE", 2)
    faults = {
        "crash": ("os.kill(os.getpid(), 11)", "it ended its process (signal 11)"),
        "leave": ("os._exit(0)", "it ended its process (exit status 0)"),
        "exit": ("raise SystemExit(0)", "SystemExit: 0"),
        "hang": ("import time; time.sleep(99)", "it took longer than "),
    }
    for name, (fault, _) in faults.items():
        plant(LATER.format(f"import os; {fault}"), name)
    plant("import os\nos._exit(0)", "absent")
    run = paired("absent", *faults)
    for name, (_, sentence) in faults.items():
        it = run.find(name)
        assert (it.state, it.seconds) == ("broken", [])
        assert sentence in it.why
        assert it.why.startswith("round ")
    assert run.find("absent").why == "importing it ends the process (exit status 0)"
    assert [len(run.find(name).seconds) for name in ("cpp", "cpp again")] == [4, 4]
    assert all(it.child is None for it in run.contestants)
    assert not {f"{name}_module" for name in faults} & set(sys.modules)


def test_who_knows_the_answers_by_the_bytes_is_found_out(plant):
    plant(MEMORY)
    it = paired("planted", n_rounds=8).find("planted")
    assert (it.state, it.seconds) == ("INVALID", [])


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux shows what another process has mapped"
)
def test_who_loads_another_kernels_code_is_found_out(plant):
    plant(UNWATCHED)
    it = paired("planted").find("planted")
    assert it.state == "INVALID"
    assert it.why.startswith("code of _cpp_kernel.")


def test_a_clock_that_was_slowed_down_does_not_count(plant):
    plant(CLOCK)
    it = paired("planted").find("planted")
    assert it.state == "valid"
    assert min(it.seconds) > 0.01 * it.certificate.result.n_iter
    np.testing.assert_allclose(np.sum([*it.phases.values()], axis=0), it.seconds)


def test_a_kernel_that_adds_a_constant_is_judged_by_what_it_gives(plant):
    plant(
        "def update(rows, labels, sums, counts):\n    good_update(rows, labels, sums, counts)\n"
        "    sums += 1e-15\n"
    )
    it = paired("planted", n_rounds=2).find("planted")
    assert (it.state, it.why) == ("valid", "")


def test_this_processs_clock_counts_where_a_childs_does_not_agree():
    trips = [1.0001, 2.0001, 3.0001]
    honest, liar = [1.0, 2.0, 3.0], [0.9, 1.9, 2.9]
    assert settle([honest, honest], [trips, trips]) == [honest, honest]
    _, found = settle([honest, liar], [trips, trips])
    assert found == pytest.approx(honest)
    late = [5.0, 6.0, 7.0]  # more than there was
    assert settle([honest, late], [trips, trips])[1] == pytest.approx(honest)
    assert settle([[], honest], [[], trips]) == [[], honest]
    assert settle([[0.0], [1.0]], [[1.5], [1.0001]])[0] == pytest.approx([1.5], rel=1e-3)


@pytest.mark.parametrize("n_rounds", [1, 2, 9, 24, 500])
def test_each_round_has_bytes_of_its_own(n_rounds, dtype):
    drawn = exponents(n_rounds, dtype, Random(0))
    assert len(drawn) == n_rounds
    assert 0 not in drawn
    assert len(set(drawn)) == min(n_rounds, {"float32": 48, "float64": 400}[dtype])


@pytest.mark.parametrize("preset", ["smoke", "smoke-wide-f32", "quick"])
@pytest.mark.parametrize("exponent", [-24, 7])
def test_a_power_of_two_changes_no_digit(kernel_name, preset, exponent):
    workload = PRESETS[preset].load()
    k, settings = workload.preset.n_clusters, workload.settings()
    before = kmeans(workload.X, k, kernel=kernel_name, **settings)
    X, settings = scaled(workload.X, settings, exponent)
    assert X.tobytes() != workload.X.tobytes()
    after = unscaled(kmeans(X, k, kernel=kernel_name, **settings), exponent)
    assert after.labels.tobytes() == before.labels.tobytes()
    assert after.centers.tobytes() == before.centers.tobytes()
    assert (after.inertia, after.n_iter) == (before.inertia, before.n_iter)
    assert (after.stop, after.rescored) == (before.stop, before.rescored)
