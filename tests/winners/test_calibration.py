"""A calibrated kernel="auto": the same bits, another kernel; and as before without a file."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

import kmeans_lab
from kmeans_lab import KMeans, kmeans
from kmeans_lab.io.errors import Refused
from kmeans_lab.isolation import availability
from kmeans_lab.registry import ALIKE, KERNELS
from kmeans_lab.winners import calibrate, choice
from kmeans_lab.winners.grid import Cell
from kmeans_lab.winners.record import cell_of
from kmeans_lab.winners.survey import record_of
from tests.support.helpers import ready_kernels
from tests.support.maps.made_up import made_up_run

RNG = np.random.default_rng(3)
X = RNG.normal(size=(1000, 2))
USUAL, OTHER = "cpp-simd", "cython-tiled"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Give each test a home of its own, and forget what was read."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    choice.forget_read()
    yield tmp_path / "config"
    choice.forget_read()


@pytest.fixture
def stored(data):
    """Store what the made-up map says: the other kernel for 1 000 rows and few clusters."""
    return calibrate.store(calibrate.calibrate(data))


def bits(result):
    arrays = result.labels, result.centers, np.float64(result.inertia)
    steps = [(step.centers.tobytes(), step.inertia, step.changed) for step in result.history]
    return [it.tobytes() for it in arrays], result.n_iter, result.stop, steps


def test_kernels_of_the_same_bits_are_the_tuned_ones():
    assert ALIKE == ["cpp-simd", "cython-tiled", "numba-tiled"]
    assert calibrate.eligible() == [
        name for name in ALIKE if name in ready_kernels() and name != "numba-tiled"
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_threads": 1, "history": True},
        {"init": "random", "n_init": 3},
        {"init": "d2", "stop": "labels", "tol": 3},
        {"init": "first", "stop": "max-iter", "max_iter": 4, "history": True},
        {"empty": "random", "init": np.full((4, 2), 9.0)},
    ],
)
def test_the_other_kernel_gives_the_same_bits(data, settings, dtype):
    rows = X.astype(dtype)
    before = kmeans(rows, 4, random_state=1, **settings)
    data["grid"]["dtype"] = dtype
    calibrate.store(calibrate.calibrate(data))
    after = kmeans(rows, 4, random_state=1, **settings)
    assert (before.kernel, after.kernel) == (USUAL, OTHER)
    assert bits(after) == bits(before)


@pytest.mark.parametrize("settings", [{"n_threads": 2}, {"mode": "threads", "n_threads": 1}])
def test_what_a_map_does_not_have_is_chosen_as_before(stored, settings):
    assert kmeans(X, 4, random_state=1, **settings).kernel == USUAL


@pytest.mark.parametrize(
    "settings",
    [{"metric": "cosine"}, {"sample_weight": np.ones(1000)}, {"mode": "stream"}],
)
def test_fits_of_another_kind_are_not_measured(stored, settings):
    assert kmeans(X, 4, random_state=1, **settings).kernel == USUAL


@pytest.mark.parametrize(
    ("n", "d", "k", "expected"),
    [
        (1000, 2, 4, OTHER),
        (600, 3, 5, OTHER),
        (1000, 2, 256, USUAL),
        (20_000, 2, 4, USUAL),
        (200, 2, 4, USUAL),  # farther from every cell than a factor of four
        (1000, 100, 4, USUAL),
    ],
)
def test_the_nearest_cell_decides(stored, n, d, k, expected):
    rows = RNG.normal(size=(n, d))
    assert kmeans(rows, k, random_state=1, max_iter=2).kernel == expected


def test_another_dtype_is_another_map(stored, data):
    assert kmeans(X.astype(np.float32), 4, random_state=1).kernel == USUAL
    data["grid"]["dtype"] = "float32"
    calibrate.store(calibrate.calibrate(data))
    assert kmeans(X.astype(np.float32), 4, random_state=1).kernel == OTHER
    assert kmeans(X, 4, random_state=1).kernel == OTHER  # what was there stays


def test_lists_are_chosen_for_as_before_and_wrong_arguments_are_refused_as_before(stored):
    assert kmeans(X.tolist(), 4, random_state=1).kernel == USUAL
    for k in (0, -1, 4.5, "4", None, 2000):
        with pytest.raises((ValueError, TypeError), match="n_clusters"):
            kmeans(X, k)
    for threads in (0, -2, "two"):
        with pytest.raises((ValueError, TypeError), match="n_threads"):
            kmeans(X, 4, n_threads=threads)


def test_the_estimator_follows(stored):
    fitted = KMeans(4, random_state=0, n_threads=1).fit(X)
    choice.forget_read()
    stored.unlink()
    usual = KMeans(4, random_state=0, n_threads=1).fit(X)
    assert fitted.cluster_centers_.tobytes() == usual.cluster_centers_.tobytes()
    assert fitted._who_computes(X, 4)["kernel"] == "auto"


def test_a_named_kernel_is_that_kernel(stored):
    assert kmeans(X, 4, kernel=USUAL, random_state=1).kernel == USUAL


def test_the_chosen_kernel_must_be_able_to_run(stored, monkeypatch):
    spec = type(KERNELS[OTHER])(module="kmeans_lab._nowhere", summary="", remedy="build it")
    monkeypatch.setitem(KERNELS, OTHER, spec)
    assert kmeans(X, 4, random_state=1).kernel == USUAL


def test_only_a_kernel_that_wins_for_certain_is_chosen(data):
    found = calibrate.calibrate(data)
    cells = [cell_of(it) for it in data["cells"]]
    assert found.choices[cells[0]] == OTHER
    assert cells[4] in found.choices  # not resolved
    assert found.choices[cells[4]] == USUAL
    assert cells[5] not in found.choices  # void
    assert found.changed == {c: name for c, name in found.choices.items() if name == OTHER}


def test_kernels_with_other_bits_or_that_compile_first_are_never_chosen(data):
    cell = cell_of(data["cells"][0])
    run = made_up_run(cell, {USUAL: 3.0, "numpy": 1.0, "numba-tiled": 1.5, OTHER: 2.0})
    data["cells"] = [record_of(cell, [], run)]
    data["kernels"] += ["numpy", "numba-tiled"]
    assert calibrate.calibrate(data).choices == {cell: OTHER}
    run = made_up_run(cell, {USUAL: 3.0, "numpy": 1.0, "numba-tiled": 1.5, OTHER: 4.0})
    data["cells"] = [record_of(cell, [], run)]
    assert calibrate.calibrate(data).choices == {cell: USUAL}


def test_a_cell_in_which_the_usual_kernel_has_no_number_decides_nothing(data):
    cell = cell_of(data["cells"][0])
    run = made_up_run(cell, {"numpy": 1.0, USUAL: 0.0, OTHER: 2.0})
    data["cells"] = [record_of(cell, [], run)]
    assert calibrate.calibrate(data).choices == {}


def test_a_map_of_one_such_kernel_is_refused(data):
    data["kernels"] = ["numpy", USUAL]
    with pytest.raises(Refused, match=r"^the map has cpp-simd of .* must have two, .*; measure"):
        calibrate.calibrate(data)


# What may be wrong with a file: each is ignored, with one warning.
WRONG = {
    "not JSON": lambda data: "{",
    "nested": lambda data: "[" * 100_000,
    "a list": lambda data: "[]",
    "another format": lambda data: json.dumps(data | {"format": "kmeans-lab map"}),
    "another release": lambda data: json.dumps(data | {"kmeans_lab": "0.0.1"}),
    "another machine": lambda data: json.dumps(data | {"machine": {"cpu": "another"}}),
    "another instruction set": lambda data: json.dumps(
        data | {"machine": data["machine"] | {"isa": "mmx"}}
    ),
    "no choices": lambda data: json.dumps({k: v for k, v in data.items() if k != "choices"}),
    "a number": lambda data: json.dumps(data | {"choices": 3}),
    "no size": lambda data: json.dumps(data | {"choices": [data["choices"][0] | {"n": 0}]}),
    "text": lambda data: json.dumps(data | {"choices": [data["choices"][0] | {"n": "9"}]}),
    "other bits": lambda data: json.dumps(
        data | {"choices": [data["choices"][0] | {"kernel": "numpy"}]}
    ),
    "no kernel": lambda data: json.dumps(
        data | {"choices": [data["choices"][0] | {"kernel": "no such"}]}
    ),
    "too large": lambda data: " " * (2 << 20),
    "not UTF-8": lambda data: "\udcff",
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_file_that_is_wrong_is_ignored_with_one_warning(stored, fault):
    text = WRONG[fault](json.loads(stored.read_text()))
    stored.write_bytes(text.encode(errors="surrogateescape"))
    choice.forget_read()
    with pytest.warns(RuntimeWarning, match=r"is ignored: .*; kmeans-lab map MAP.json --c") as said:
        names = [kmeans(X, 4, random_state=1).kernel for _ in range(3)]
    assert (names, len(said)) == ([USUAL] * 3, 1)


def test_a_folder_in_its_place_is_ignored_too(stored):
    stored.unlink()
    stored.mkdir()
    choice.forget_read()
    with pytest.warns(RuntimeWarning, match="is ignored"):
        assert kmeans(X, 4, random_state=1).kernel == USUAL


def test_the_environment_turns_it_off_or_names_another_file(stored, monkeypatch, tmp_path):
    monkeypatch.setenv(choice.VARIABLE, "off")
    choice.forget_read()
    assert kmeans(X, 4, random_state=1).kernel == USUAL
    with pytest.raises(Refused, match="KMEANS_LAB_AUTO=off asks for no calibration; unset it"):
        calibrate.forget()
    stored.rename(tmp_path / "mine.json")
    monkeypatch.setenv(choice.VARIABLE, str(tmp_path / "mine.json"))
    choice.forget_read()
    assert kmeans(X, 4, random_state=1).kernel == OTHER
    monkeypatch.setenv(choice.VARIABLE, str(tmp_path / "none.json"))
    choice.forget_read()
    with pytest.warns(RuntimeWarning, match="there is no such file"):
        assert kmeans(X, 4, random_state=1).kernel == USUAL


def test_it_is_forgotten(stored):
    assert kmeans(X, 4, random_state=1).kernel == OTHER
    assert calibrate.forget() == stored
    assert kmeans(X, 4, random_state=1).kernel == USUAL
    assert calibrate.forget() is None


def test_machines_that_share_a_home_have_a_file_each(stored, monkeypatch):
    here = choice.identity()
    monkeypatch.setattr(choice, "identity", lambda: here | {"cpu": "another"})
    assert choice.file_name() != stored.name
    choice.forget_read()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kmeans(X, 4, random_state=1).kernel == USUAL


def test_without_a_file_nothing_is_read(monkeypatch):
    def refuse(*_):
        raise AssertionError("there is nothing to look at")

    for name in ("identity", "read", "hardware"):
        monkeypatch.setattr(choice, name, refuse)
    assert kmeans(X, 4, random_state=1).kernel == USUAL


def test_the_import_stays_as_light_as_it_was():
    code = (
        "import sys, kmeans_lab, numpy; kmeans_lab.kmeans(numpy.eye(3), 2, random_state=0); "
        "print([m for m in sys.modules if m.startswith('kmeans_lab.winners')], "
        "'kmeans_lab.measure' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split("] ") == [
        "['kmeans_lab.winners', 'kmeans_lab.winners.choice'",
        "False\n",
    ]


def test_a_choice_is_made_by_the_version_that_wrote_it(stored):
    data = json.loads(stored.read_text())
    assert data["kmeans_lab"] == kmeans_lab.__version__ == choice.version_here()
    assert Cell(1000, 2, 4, 1) in {
        Cell(it["n"], it["d"], it["k"], it["threads"]) for it in data["choices"]
    }
    assert availability.choose_kernel() == USUAL  # where no fit is known
