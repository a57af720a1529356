"""The workloads: their exact recipes, their starts, and what they promise to run."""

import random
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import csr_array, save_npz

from kmeans_lab import kmeans
from kmeans_lab.measure.certify import fingerprint
from kmeans_lab.numerics.blobs import grid_blobs, grid_start, quick_blobs
from kmeans_lab.presets import PRESETS, embeddings, find_preset

SLOW = ("grid-1000000", "wide-64", "wide-128")
QUICK = [name for name in PRESETS if not name.startswith(SLOW)]


@pytest.mark.parametrize("name", QUICK)
def test_a_preset_has_the_shape_dtype_and_start_that_it_announces(name: str) -> None:
    preset = PRESETS[name]
    workload = preset.load()
    assert workload.X.shape == (preset.n_samples, preset.n_features)
    assert workload.X.dtype == workload.centers.dtype == preset.dtype
    assert workload.X.flags.c_contiguous
    assert workload.centers.shape == (preset.n_clusters, preset.n_features)
    assert len(np.unique(workload.centers, axis=0)) == preset.n_clusters


def test_all_presets_of_the_design_are_there() -> None:
    grids = {f"grid-{n}-{k}" for n in (10**4, 10**5, 10**6) for k in (10, 20, 40)}
    assert {"standard", "quick", "image", "digits", "smoke"} | grids <= set(PRESETS)


def test_the_standard_preset_runs_all_35_iterations_and_would_rest_after_42() -> None:
    workload = PRESETS["standard"].load()
    assert workload.X.shape == (16_250, 10)
    result = kmeans(workload.X, 25, kernel="cpp", **workload.settings())
    assert (result.n_iter, result.stop, result.converged) == (35, "max-iter", False)
    at_rest = kmeans(workload.X, 25, kernel="cpp", init=workload.centers, tol=0.0, max_iter=300)
    assert (at_rest.n_iter, at_rest.stop) == (42, "shift")
    assert at_rest.inertia == pytest.approx(366_777.0106517788, rel=1e-12)


def test_the_standard_preset_is_in_cluster_order_around_its_ring() -> None:
    X = PRESETS["standard"].load().X
    blobs = X.reshape(25, 650, 10)
    spread = blobs.std(axis=1)
    assert np.all((spread > 1.0) & (spread < 1.4))  # cluster_std = 1.2
    radii = np.linalg.norm(blobs.mean(axis=1)[:, :2], axis=1)
    assert 10 < radii.mean() < 18  # 10·√2 with jitter


@pytest.mark.parametrize(("n_samples", "n_clusters"), [(700, 10), (300, 40)])
def test_the_grid_recipe_equals_the_study_point_by_point(n_samples: int, n_clusters: int) -> None:
    state, legacy_state = random.getstate(), np.random.get_state()
    random.seed(11)
    np.random.seed(11)
    centers = np.random.random((n_clusters, 2))
    points = []
    for _ in range(n_samples):
        p = random.randint(0, n_clusters - 1)
        points.append(centers[p] + np.random.normal(0, 0.02, 2))
    random.seed(433)
    start = random.sample(range(n_samples), n_clusters)
    random.setstate(state)
    np.random.set_state(legacy_state)
    X = grid_blobs(n_samples, n_clusters)
    assert np.array_equal(X, np.array(points))
    assert np.array_equal(grid_start(X, n_clusters), X[start])


def test_generating_a_grid_leaves_the_global_generators_alone() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    PRESETS["smoke-grid"].load()
    assert (random.random(), np.random.random()) == expected


def test_grid_presets_stop_when_one_row_in_a_hundred_changes_or_run_to_rest() -> None:
    workload = PRESETS["grid-10000-20"].load()
    by_labels = kmeans(workload.X, 20, **workload.settings(), history=True)
    assert by_labels.stop == "labels"
    assert by_labels.history[-1].changed <= 100 < by_labels.history[-2].changed
    at_rest = kmeans(workload.X, 20, **workload.settings(to_rest=True))
    assert at_rest.stop == "shift"
    assert at_rest.n_iter > by_labels.n_iter


def test_quick_repeats_its_start_three_times_the_first_being_its_centers() -> None:
    workload = PRESETS["quick"].load()
    assert workload.settings()["n_init"] == 3
    noise = quick_blobs()[1300:]
    assert np.all(np.abs(noise) <= (11, 10))
    starts = []
    kmeans(workload.X, 5, **workload.settings(), callback=lambda step: starts.append(step.centers))
    assert np.array_equal(starts[0], workload.centers)


@pytest.mark.parametrize("name", ["standard", "smoke-wide-f32"])
def test_two_processes_generate_the_same_bytes(name: str) -> None:
    code = (
        "from kmeans_lab.presets import PRESETS; "
        "from kmeans_lab.measure.certify import fingerprint; "
        f"w = PRESETS[{name!r}].load(); print(fingerprint(w.X, w.centers))"
    )
    printed = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    workload = PRESETS[name].load()
    here = fingerprint(workload.X, workload.centers)
    assert [run.stdout.strip() for run in printed] == [here, here]


def test_an_unknown_preset_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="preset='standart' is not known; choose one of standard,"):
        find_preset("standart")


def test_real_data_without_scikit_learn_say_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'kmeans-lab\[data\]'"):
        PRESETS["digits"].load()


@pytest.mark.parametrize(
    ("name", "shape", "k", "kind"),
    [("blobs-103-7-11", (103, 7), 11, "float64"), ("blobs-5-1-5-f32", (5, 1), 5, "float32")],
)
def test_blobs_come_in_any_size(name: str, shape: tuple[int, int], k: int, kind: str) -> None:
    workload = find_preset(name).load()
    assert (workload.X.shape, workload.X.dtype.name) == (shape, kind)
    assert workload.centers.shape == (k, shape[1])


@pytest.mark.parametrize(
    ("name", "stored", "kind"),
    [
        ("embeddings-7", "float16", "float32"),
        ("embeddings-7", "float32", "float32"),
        ("embeddings-7", "float64", "float64"),
        ("embeddings-7-f64", "float16", "float64"),
        ("embeddings-7-f32", "float64", "float32"),
    ],
)
def test_embeddings_are_rows_of_a_file_of_yours(name, stored, kind, tmp_path, monkeypatch) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(stored)
    np.save(tmp_path / "mine.npy", rows)
    monkeypatch.setenv("KMEANS_LAB_EMBEDDINGS", str(tmp_path / "mine.npy"))
    preset = find_preset(name)
    assert (preset.n_samples, preset.n_features, preset.n_clusters) == (60, 5, 7)
    workload = preset.load()
    assert workload.X.dtype == workload.centers.dtype == preset.dtype == kind
    assert np.array_equal(workload.X, rows.astype(kind))
    assert len(np.unique(workload.centers, axis=0)) == 7
    here = embeddings(tmp_path / "mine.npy")
    assert here.dtype == ("float64" if stored == "float64" else "float32")
    assert np.array_equal(here, rows)


def test_embeddings_without_a_file_are_refused_in_a_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("KMEANS_LAB_EMBEDDINGS", raising=False)
    with pytest.raises(
        ValueError, match=r"cannot ship; set KMEANS_LAB_EMBEDDINGS to an \.npy file"
    ):
        find_preset("embeddings-100")
    monkeypatch.setenv("KMEANS_LAB_EMBEDDINGS", str(tmp_path / "mine.npy"))
    with pytest.raises(ValueError, match=r"there is no file .*mine\.npy; check the path"):
        find_preset("embeddings-100")
    np.save(tmp_path / "mine.npy", np.zeros((5, 2)))
    with pytest.raises(
        ValueError, match="embeddings-6' needs as many rows and the file has 5; name"
    ):
        find_preset("embeddings-6")
    np.save(tmp_path / "mine.npy", np.zeros(5))
    with pytest.raises(ValueError, match=r"mine\.npy: X has 1 dimension and must have 2"):
        find_preset("embeddings-5")
    save_npz(tmp_path / "mine.npz", csr_array(np.eye(9)))
    monkeypatch.setenv("KMEANS_LAB_EMBEDDINGS", str(tmp_path / "mine.npz"))
    with pytest.raises(
        ValueError, match=r"mine\.npz is sparse, and embeddings must be dense; save"
    ):
        find_preset("embeddings-5")
    with pytest.raises(ValueError, match="preset='embeddings-0' is not known"):
        find_preset("embeddings-0")


@pytest.mark.parametrize("name", ["blobs-3-2-4", "blobs-3-0-1", "blobs-3-2-0", "blobs-3-2", "x"])
def test_a_preset_that_is_not_known_is_refused_with_the_choices(name: str) -> None:
    with pytest.raises(ValueError, match=f"preset='{name}' is not known; choose one of standard"):
        find_preset(name)
