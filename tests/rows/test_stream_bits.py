"""Rows that are read block by block give the bits that they give in memory."""

from dataclasses import replace

import numpy as np
import pytest

from kmeans_lab import KERNELS, kmeans
from kmeans_lab.rows import CalledRows
from kmeans_lab.rows.memory import LEAST
from tests.support.helpers import assert_same_fit

#: What takes rows some at a time.
STREAMS = [name for name, spec in KERNELS.items() if not spec.whole]
COMPILED = [name for name in STREAMS if name != "python"]
N, D, K = 300_000, 6, 9


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return rows and their file by dtype: some 20 blocks, far from the origin in one column."""
    rng, found = np.random.default_rng(5), {}
    rows = rng.normal(size=(N, D)) * rng.uniform(0.1, 3, D) + 4 * rng.integers(0, 3, (N, D))
    rows[:, 2] += 1000
    for dtype in ("float32", "float64"):
        path = tmp_path_factory.mktemp("rows") / f"{dtype}.npy"
        np.save(path, rows.astype(dtype))
        found[dtype] = np.load(path), path
    return found


def weights():
    return np.random.default_rng(1).integers(0, 4, N).astype(float)


WAYS = {
    "greedy": {},
    "weighted": {"sample_weight": weights()},
    "cosine": {"metric": "cosine", "init": "random"},
    "repeated": {"init": "random-partition", "n_init": 2},
    "first": {"init": "first", "stop": "labels"},
    "plain k-means++": {"init": "d2"},
    "k-means||": {"init": "k-means||"},
    "a weighted partition": {"init": "random-partition", "sample_weight": weights()},
    "a function": {"init": lambda X, k, rng: X[rng.choice(len(X), k)]},
}


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", COMPILED)
def test_a_stream_has_the_bits_of_memory(files, name, way, kind):
    rows, path = files[kind]
    settings = {"kernel": name, "random_state": 3, "max_iter": 6} | WAYS[way]
    found = kmeans(path, K, mode="stream", memory=LEAST, **settings)
    assert found.mode == "stream"
    assert_same_fit(found, kmeans(rows, K, **settings))


def test_python_streams_too(files):
    rows = files["float64"][0][:3000]
    source = CalledRows(lambda start, stop: rows[start:stop], rows.shape)
    settings = {"kernel": "python", "random_state": 0, "max_iter": 3}
    found = kmeans(source, 3, mode="stream", memory=LEAST, **settings)
    assert_same_fit(found, kmeans(rows, 3, **settings))


@pytest.mark.parametrize("memory", ["17MB", "25MB", "40MB"])
def test_a_budget_changes_no_bit(files, memory):
    rows, path = files["float64"]
    found = kmeans(path, K, mode="stream", memory=memory, random_state=1, n_threads=2)
    assert_same_fit(found, kmeans(rows, K, random_state=1))


@pytest.mark.parametrize("name", ["cpp-simd", "cpp"])
@pytest.mark.parametrize("empty", ["relocate", "random", "keep"])
@pytest.mark.parametrize("weighted", [False, True])
def test_clusters_that_become_empty(files, name, empty, weighted):
    rows, path = files["float64"]
    start = np.vstack([rows[:4], np.full((2, D), 1e4), np.full((1, D), -1e4)])
    settings = {"init": start, "empty": empty, "kernel": name, "max_iter": 3, "random_state": 0}
    settings["sample_weight"] = weights() if weighted else None
    assert_same_fit(
        kmeans(path, 7, mode="stream", memory=LEAST, **settings), kmeans(rows, 7, **settings)
    )


def test_rows_that_repeat_are_seeded_alike():
    # Hardly any distance is left after three centers: steps become finer, and then vanish.
    rows = np.repeat(np.array([[0.0, 0], [1e-9, 0], [1, 1], [5, 5]]), 100_000, axis=0)
    source = CalledRows(lambda start, stop: rows[start:stop], rows.shape)
    for k in (2, 3, 4, 6):
        settings = {"random_state": k, "max_iter": 2, "empty": "keep"}
        found = kmeans(source, k, mode="stream", memory=LEAST, **settings)
        assert_same_fit(found, kmeans(rows, k, **settings))


def test_history_and_callback(files):
    rows, path = files["float64"]
    seen = []

    def watch(iteration):
        seen.append(iteration.labels.copy())
        return iteration.n_iter == 3

    settings = {"random_state": 0, "history": True, "callback": watch}
    found = kmeans(path, K, mode="stream", memory=LEAST, **settings)
    expected = kmeans(rows, K, **settings)
    assert_same_fit(replace(found, history=()), replace(expected, history=()))
    assert found.stop == "callback"
    for one, other in zip(found.history, expected.history, strict=True):
        assert one.centers.tobytes() == other.centers.tobytes()
        assert one.changed == other.changed
        assert one.inertia == pytest.approx(other.inertia, rel=1e-12)
    for one, other in zip(seen[:3], seen[3:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("way", ["greedy", "weighted"])
def test_numpy_adds_blocks_up_where_no_kernel_does(files, way, monkeypatch):
    rows, path = files["float32"]
    for place in ("rows.checked", "crews.stream", "numerics.block_sums"):
        monkeypatch.setattr(f"kmeans_lab.{place}.adds_blocks", lambda: None)
    settings = {"kernel": "cython-tiled", "random_state": 3, "max_iter": 6} | WAYS[way]
    found = kmeans(path, K, mode="stream", memory=LEAST, **settings)
    assert_same_fit(found, kmeans(rows, K, **settings))


@pytest.mark.parametrize("scale", [1e-160, 1e-30, 1e100])
def test_sums_of_values_of_any_magnitude(scale):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200_000, 10)) * scale * 2.0 ** rng.integers(-40, 1, (200_000, 10))
    source = CalledRows(lambda start, stop: rows[start:stop], rows.shape)
    settings = {"random_state": 3, "max_iter": 4, "init": "first"}
    if scale == 1e-160:  # refused in a Euclidean fit
        settings["metric"] = "cosine"
    found = kmeans(source, K, mode="stream", memory=LEAST, **settings)
    assert_same_fit(found, kmeans(rows, K, **settings))
