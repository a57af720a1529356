"""Presets of synthetic texts: their shape, their start, and that every instrument takes them."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.cli import main as cli
from kmeans_lab.measure.certify import fingerprint
from kmeans_lab.measure.rounds import PairedRun
from kmeans_lab.measure.timed import scaled, unscaled
from kmeans_lab.presets import PRESETS, find_dense, find_preset
from kmeans_lab.registry import KERNELS, SPARSE
from kmeans_lab.sparse.reading import as_scipy, read_sparse
from tests.support.helpers import assert_same_fit, require_ready


def loaded(name):
    return find_preset(name).load()


@pytest.mark.parametrize(
    ("name", "shape", "kind"),
    [
        ("smoke-text", (300, 895), "float64"),
        ("smoke-text-f32", (300, 895), "float32"),
        ("text-2000-20", (2000, 2541), "float64"),
        ("text-2000-20-f32", (2000, 2541), "float32"),
        ("zipf-500-9", (500, 6574), "float64"),
        ("text-1-1", (1, 39), "float64"),
    ],
)
def test_a_preset_has_the_shape_dtype_and_start_that_it_announces(name, shape, kind):
    preset = find_preset(name)
    workload = preset.load()
    assert (preset.n_samples, preset.n_features) == workload.X.shape == shape
    assert workload.X.dtype == workload.centers.dtype == preset.dtype == kind
    assert preset.sparse
    assert workload.centers.shape == (preset.n_clusters, shape[1])
    assert len(np.unique(workload.centers, axis=0)) == preset.n_clusters
    read = read_sparse("X", as_scipy(workload.X), (kind,))  # which checks every index
    assert fingerprint(read) == fingerprint(workload.X)


def test_texts_are_short_and_of_length_one_and_their_vocabulary_grows():
    X = loaded("text-60000-100").X
    sizes = np.diff(X.indptr)
    assert X.n_features == 16_500
    assert sizes.min() >= 1
    assert (np.median(sizes), sizes.mean()) == (8, pytest.approx(8.5, abs=0.1))
    lengths = np.bincount(X.owners(), X.data**2)
    np.testing.assert_allclose(lengths, 1, atol=1e-12)
    found_in = np.sort(np.bincount(X.indices))[::-1] / len(X)
    assert 0.01 < found_in[0] < 0.1  # no word is in every text,
    assert found_in[1000] < found_in[0] / 10  # and most are rare
    assert np.diff(loaded("zipf-2000-20").X.indptr).mean() == pytest.approx(80, abs=2)
    vocabularies = [find_preset(f"text-{n}-9").n_features for n in (1_000, 10_000, 100_000)]
    assert vocabularies == sorted(vocabularies)
    assert vocabularies[-1] < 15 * vocabularies[0]


def test_words_of_topics_make_clusters():
    workload = loaded("text-2000-20")
    found = kmeans(workload.X, 20, **workload.settings(to_rest=True))
    rows = np.random.default_rng(0).permuted(as_scipy(workload.X).toarray(), axis=0)
    alone = kmeans(rows, 20, init=workload.centers)  # each word where chance puts it
    assert found.inertia < 0.98 * alone.inertia
    assert (np.bincount(found.labels) > 2000 / 200).sum() > 10


def test_nothing_but_the_seed_decides():
    code = (
        "from kmeans_lab.presets import find_preset; "
        "from kmeans_lab.measure.certify import fingerprint; "
        "w = find_preset('smoke-text').load(); print(fingerprint(w.X, w.centers))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    workload = loaded("smoke-text")
    assert run.stdout.strip() == fingerprint(workload.X, workload.centers)


@pytest.mark.parametrize("name", ["text-2000-20", "text-2000-20-f32"])
def test_squared_lengths_of_starting_centers_are_exact_in_any_order(name):
    """Rows without a word of any center go to the shortest; rounding must not choose it."""
    centers = loaded(name).centers
    forwards, backwards = (
        np.add.accumulate((it * it)[:, ::step], axis=1)[:, -1]
        for it in [centers]
        for step in (1, -1)
    )
    assert forwards.dtype == centers.dtype
    np.testing.assert_array_equal(forwards, backwards)
    np.testing.assert_array_equal(forwards, (centers.astype(np.float64) ** 2).sum(axis=1))
    assert len(np.unique(forwards)) > 1


def test_the_start_is_distinct_even_where_texts_are_alike():
    for name in ("text-40-40", "text-9-9"):  # of which some may be
        preset = find_preset(name)
        assert preset.load().centers.shape == (preset.n_clusters, preset.n_features)


def test_the_table_of_presets_has_no_sparse_ones():
    assert not any(preset.sparse for preset in PRESETS.values())


@pytest.mark.parametrize("name", ["text-3-4", "text-3-0", "zipf-3", "text-3-2-f64", "smoke-texts"])
def test_other_names_are_refused_with_the_choices(name):
    with pytest.raises(ValueError, match=rf"preset='{name}' is not known.*text-N-K or zipf-N-K"):
        find_preset(name)


def test_without_scipy_a_sentence_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs scipy; pip install 'kmeans-lab\[sc"):
        loaded("smoke-text")


def test_what_knows_no_sparse_rows_says_so():
    with pytest.raises(ValueError, match="it counts and preset='smoke-text' has sparse ones"):
        find_dense("smoke-text", "it counts")
    assert find_dense("smoke", "it counts") is PRESETS["smoke"]


def test_a_copy_and_what_goes_to_another_process_have_no_other_rows():
    X = loaded("text-2000-20").X
    some = X[700:900]
    for other in (some.copy(), pickle.loads(pickle.dumps(some))):
        np.testing.assert_array_equal(as_scipy(other).toarray(), as_scipy(some).toarray())
        assert len(other.data) == some.n_values
        assert not np.shares_memory(other.data, X.data)
    assert len(pickle.dumps(some)) < len(pickle.dumps(X)) / 5


def test_other_units_change_no_digit(dtype):
    workload = loaded("smoke-text" if dtype == "float64" else "smoke-text-f32")
    settings = workload.settings() | {"kernel": "cpp"}
    plain = kmeans(workload.X, 6, **settings)
    for exponent in (-7, 12):
        X, units = scaled(workload.X, settings, exponent)
        assert X.indices is workload.X.indices
        assert_same_fit(unscaled(kmeans(X, 6, **units), exponent), plain)


def test_a_paired_run_measures_the_kernels_that_take_sparse_rows():
    names = ["cpp", "cython", "python", "cpp-simd", "numba-tiled"]
    run = PairedRun(loaded("smoke-text"), "smoke-text", names, "cpp", n_rounds=2)
    run.run()
    for name in names:
        it = run.find(name)
        if name in SPARSE:
            assert (it.state, it.why, len(it.seconds)) == ("valid", "", 2)
            assert f"kmeans_lab/sparse/{KERNELS[name].sparse.rpartition('.')[2]}" in it.file
        else:
            assert (it.state, it.why) == ("left out", "it takes no sparse rows")
    assert run.roof is None  # nothing to do with multiply-adds of dense rows


def command(capsys, *arguments):
    status = cli.main([*arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_bench_writes_what_report_shows(capsys, tmp_path):
    file, page = tmp_path / "run.json", tmp_path / "run.html"
    kernels = ["--kernel", "cython", "--kernel", "numba-tiled"]
    run = ["bench", "--preset", "smoke-text", *kernels, "--rounds", "2", "-o", str(file)]
    status, out, err = command(capsys, *run)
    assert status == 0, err
    assert "smoke-text: 300 × 895 float64, k = 6; 1 thread, whole fits, 5 iterations" in out
    assert "left out: it takes no sparse rows" in " ".join(out.split())
    status, _, err = command(capsys, "report", str(file), "-o", str(page))
    assert status == 0, err
    written = page.read_text()
    assert "smoke-text" in written
    assert "cpp/sparse/kmeans.cpp" in written  # the source that ran
    assert "not here" not in written
    assert "Against the machine" not in written


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["explain", "cpp"], "explain counts the operations and bytes of dense rows and preset="),
        (["bench", "--baseline", "numpy-broadcast"], "numpy-broadcast takes no sparse rows"),
        (["profile", "numpy-broadcast"], "takes no sparse rows and preset='smoke-text' has them"),
        (["scaling", "numba-tiled"], "takes no sparse rows and preset='smoke-text' has them"),
    ],
)
def test_what_cannot_take_the_preset_says_so_in_a_sentence(capsys, arguments, sentence):
    status, out, err = command(capsys, *arguments, "--preset", "smoke-text")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err


def test_profile_and_scaling_take_it(capsys):
    status, out, err = command(capsys, "profile", "numpy", "--preset", "smoke-text", "--json")
    assert status == 0, err
    assert any(it["where"].startswith("_numpy_kernel") for it in json.loads(out)["functions"])
    arguments = ["--workers", "1,2", "--rounds", "2", "--json"]
    status, out, err = command(capsys, "scaling", "cpp", "--preset", "smoke-text", *arguments)
    assert status == 0, err
    assert [it["workers"] for it in json.loads(out)["workers"][0]["points"]] == [1, 2]


def test_check_judges_sparse_rows(capsys, request):
    require_ready("cython", request.config.getoption("--require-kernels"))
    status, out, err = command(capsys, "check", "cython")
    assert status == 0, err
    assert "right  fits of sparse rows are certified" in out
