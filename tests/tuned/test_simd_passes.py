"""Passes over prepared rows: labels are those of the reference, whatever came before."""

import numpy as np
import pytest

from kmeans_lab import kmeans, load_kernel
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.presets import PRESETS
from kmeans_lab.seeding import greedy_rows
from tests.support.balls import blobs, nearest, steps

pytestmark = pytest.mark.skipif(state_of("cpp-simd")[0] == "unavailable", reason="not built")


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(
    ("n", "d", "k"), [(2047, 2, 9), (5000, 2, 40), (10_001, 3, 25), (9000, 5, 11), (16_000, 10, 25)]
)
def test_blobs_meet_few_centers_and_keep_the_labels_of_the_reference(
    isa,
    n,
    d,
    k,
    kind,
    n_threads,
):
    met = steps(*blobs(n, d, k, n + d, kind), n_threads=n_threads)
    if n > 4000 and d <= 3:
        assert max(met) < 0.6  # so that boxes of rows rule out centers at all


@pytest.mark.parametrize(("kind", "d"), [("f8", 2), ("f4", 5)])
def test_tiles_of_very_many_rows_are_equally_wide_and_keep_the_labels(isa, kind, d):
    n = 2**21 + 77
    X, centers = blobs(n, d, 6, seed=9, kind=kind)
    rows = load_kernel("cpp-simd").prepare(X, 6, 2, engine="cells")
    labels, sums, counts = np.full(n, -1, np.int32), np.zeros((6, d)), np.zeros(6, int)
    for _ in range(2):
        load_kernel("cpp-simd").assign_update(rows, centers, labels, sums, counts)
        np.testing.assert_array_equal(labels, nearest(X, centers))
        centers = centers[::-1] + centers.dtype.type(0.5)
    assert counts.sum() == 2 * n
    assert rows.met < 0.4
    draws = np.random.default_rng(0).random((2, 2))
    assert load_kernel("cpp-simd").greedy(X, 5, draws, 2).tolist() == greedy_rows(X, 5, draws)


def test_shuffled_rows_are_put_in_order_and_come_back_in_their_own():
    X, centers = blobs(20_000, 2, 12, seed=1)
    assert steps(X, centers, 3)[-1] < 0.1
    by_blob = X[np.argsort(nearest(X, centers), kind="stable")]
    assert steps(by_blob, centers, 3)[-1] < 0.2


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_ties_on_a_grid_go_to_the_lowest_index(isa, kind):
    # Integers: many rows lie exactly between centers, and centers coincide.
    rng = np.random.default_rng(0)
    X = rng.integers(-20, 21, size=(8000, 2)).astype(kind)
    centers = rng.integers(-5, 6, size=(16, 2)).astype(kind) * 4
    centers[9] = centers[3]
    steps(X, centers)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_equal_rows_between_two_centers_is_decided_by_its_rows(isa, kind):
    # No radius to speak of: what is left is the rounding of the two scores.
    rng = np.random.default_rng(3)
    centers = (rng.normal(size=(6, 9)) * 100).astype(kind)
    points = np.tile((centers[1] + centers[4]) / 2, (40, 1)).astype(kind)
    points += (rng.normal(size=points.shape) * np.finfo(kind).eps * 100).astype(kind)
    centers[[0, 2, 3, 5]] += 1000
    steps(np.repeat(points, 128, axis=0), centers, 1)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("power", [-160, -22, -17, 15, 17, 150])
def test_values_whose_squares_leave_the_range_keep_their_labels(isa, kind, power):
    X, centers = blobs(4000, 2, 9, seed=2)
    if kind == "f4" and abs(power) > 100:
        power //= 9
    scale = 10.0**power
    X, centers = (X * scale).astype(kind), (centers * scale).astype(kind)
    expected, labels = np.empty(len(X), np.int32), np.full(len(X), -1, np.int32)
    load_kernel("cpp").assign(X, centers, expected)
    simd = load_kernel("cpp-simd")
    rows = simd.prepare(X, 9, 1)
    simd.assign_update(rows, centers, labels, np.zeros((9, 2)), np.zeros(9, int))
    np.testing.assert_array_equal(labels, expected)


def test_equal_rows_and_equal_centers_keep_the_labels():
    X = np.tile([3.0, 4.0], (5000, 1))
    steps(X, np.tile([3.0, 4.0], (7, 1)), 3)
    steps(X, X[:7] + np.arange(7)[:, None], 3)


def test_labels_of_another_array_are_written_in_full():
    simd = load_kernel("cpp-simd")
    X, centers = blobs(5000, 2, 9, seed=5)
    expected = nearest(X, centers)
    rows = simd.prepare(X, 9, 2)
    for start in (-1, 7, -1):
        labels = np.full(5000, start, np.int32)
        simd.assign_update(rows, centers, labels, np.zeros((9, 2)), np.zeros(9, int))
        np.testing.assert_array_equal(labels, expected)
    labels[123] = 99  # assign promises nothing about what it finds
    simd.assign(rows, centers, labels)
    np.testing.assert_array_equal(labels, expected)


def test_another_number_of_clusters_begins_anew():
    simd = load_kernel("cpp-simd")
    X, centers = blobs(5000, 2, 12, seed=6)
    rows = simd.prepare(X, 12, 1)
    for k in (12, 5, 12, 1, 12):
        labels, sums, counts = np.full(5000, -1, np.int32), np.zeros((k, 2)), np.zeros(k, int)
        simd.assign_update(rows, centers[:k], labels, sums, counts)
        np.testing.assert_array_equal(labels, nearest(X, centers[:k]))
        assert counts.tolist() == np.bincount(labels, minlength=k).tolist()


def test_many_clusters_are_mostly_ruled_out():
    X, _ = blobs(30_000, 3, 60, seed=7)
    assert steps(X, X[:300].copy(), 3)[-1] < 0.3


@pytest.mark.parametrize("preset", ["grid-10000-20", "image"])
def test_presets_meet_few_centers(preset):
    workload = PRESETS[preset].load()
    seen = []

    def look(iteration):
        seen.append(iteration.n_iter)

    k, settings = workload.preset.n_clusters, workload.settings() | {"max_iter": 4}
    result = kmeans(workload.X, k, kernel="cpp-simd", callback=look, **settings)
    reference = kmeans(workload.X, k, kernel="cython-tiled", **settings)
    np.testing.assert_array_equal(result.labels, reference.labels)
    simd = load_kernel("cpp-simd")
    rows = simd.prepare(workload.X, k, 1)
    simd.assign(rows, result.centers, np.empty(len(workload.X), np.int32))
    assert rows.met < 0.2


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_centers_that_jump_and_come_back_keep_the_labels(isa, kind):
    # One blob among twelve, in which most centers stand now and then: bounds that were carried say
    # little after each jump.
    rng = np.random.default_rng(8)
    spots = rng.normal(scale=50, size=(24, 20))
    X = (np.repeat(spots[:12], 2_500, axis=0) + rng.normal(size=(30_000, 20))).astype(kind)
    apart = spots.astype(kind)
    crowd = np.concatenate([spots[1:5], spots[0] + rng.normal(size=(20, 20))]).astype(kind)
    simd, labels = load_kernel("cpp-simd"), np.full(len(X), -1, np.int32)
    rows = simd.prepare(X, 24, 1)
    for centers in (apart, crowd, apart, crowd[::-1].copy(), apart):
        simd.assign_update(rows, centers, labels, np.zeros((24, 20)), np.zeros(24, int))
        np.testing.assert_array_equal(labels, nearest(X, centers))


@pytest.mark.parametrize("cluster", [0, 3, 6])
def test_labels_in_two_arrays_are_kept_apart(cluster):
    simd = load_kernel("cpp-simd")
    X, centers = blobs(20_000, 2, 12, seed=11, spread=3.0)
    moved = centers.copy()
    moved[cluster] += 0.02  # so few rows change that a sample of labels hardly tells
    assert 0 < np.count_nonzero(nearest(X, moved) != nearest(X, centers)) <= 60
    rows, mine, other = simd.prepare(X, 12, 1), *np.full((2, 20_000), -1, np.int32)
    for _ in range(3):
        simd.assign_update(rows, centers, mine, np.zeros((12, 2)), np.zeros(12, int))
        np.testing.assert_array_equal(mine, nearest(X, centers))
        simd.assign(rows, moved, other)
        simd.assign_update(rows, moved, mine, np.zeros((12, 2)), np.zeros(12, int))
        np.testing.assert_array_equal(mine, nearest(X, moved))


def test_values_that_are_not_numbers_leave_the_others_alone():
    # The driver refuses them; a kernel that is called by itself must not end the process.
    X, centers = blobs(6000, 2, 9, seed=10)
    labels = nearest(X, centers)
    X[[40, 86, 132]] = [[np.nan], [np.inf], [-np.inf]]  # between the rows that are sampled
    simd, ours = load_kernel("cpp-simd"), np.full(6000, -1, np.int32)
    simd.assign_update(simd.prepare(X, 9, 2), centers, ours, np.zeros((9, 2)), np.zeros(9, int))
    finite = np.isfinite(X).all(axis=1)
    np.testing.assert_array_equal(ours[finite], labels[finite])


@pytest.mark.parametrize("n_samples", [0, 3])
def test_rows_without_features_are_refused(n_samples):
    with pytest.raises(ValueError, match="at least one feature"):
        load_kernel("cpp-simd").prepare(np.zeros((n_samples, 0)), 2, 1)
