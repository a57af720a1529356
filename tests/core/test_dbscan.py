"""DBSCAN: labels and core rows are scikit-learn's, and those of a definition written out twice.

Both kernels are held to both. Where rows lie exactly eps apart and eps² is rounded, scikit-learn's
answer depends on its tree (see the test of that name); with one leaf it is always the same as ours.
"""

from collections import deque
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn.cluster import DBSCAN
from sklearn.neighbors import KDTree

from kmeans_lab.dbscan import KERNELS, dbscan, load_kernel
from tests.support.helpers import cloud, frozen

both = pytest.mark.parametrize("name", KERNELS)


def theirs(X, eps, min_samples, **options):
    """Return scikit-learn's labels and core mask."""
    found = DBSCAN(eps=eps, min_samples=min_samples, **options).fit(X)
    core = np.zeros(len(X), dtype=bool)
    core[found.core_sample_indices_] = True
    return found.labels_, core


def by_definition(X, eps, min_samples):
    """Return labels and core mask from all pairs of rows, judged by fractions."""
    rows = [[Fraction(value) for value in row] for row in np.asarray(X, dtype=float).tolist()]
    reach = Fraction(eps) ** 2
    near = [
        [sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) <= reach for b in rows] for a in rows
    ]
    core = [sum(row) >= min_samples for row in near]
    labels, n_clusters = [-1] * len(rows), 0
    for first in range(len(rows)):
        if core[first] and labels[first] < 0:
            members, waiting = {first}, deque([first])
            while waiting:
                i = waiting.popleft()
                new = {j for j in range(len(rows)) if near[i][j] and core[j]} - members
                members |= new
                waiting += new
            for i in members:
                labels[i] = n_clusters
            n_clusters += 1
    for i in range(len(rows)):
        if not core[i]:
            reached = [labels[j] for j in range(len(rows)) if near[i][j] and core[j]]
            labels[i] = min(reached, default=-1)
    return np.array(labels), np.array(core)


def assert_found(result, labels, core):
    np.testing.assert_array_equal(result.core, core)
    np.testing.assert_array_equal(result.labels, labels)
    assert (result.labels.dtype, result.core.dtype) == (np.int32, bool)
    assert result.n_clusters == labels.max() + 1


def draw(seed, most):
    """Return rows of some kind, eps and min_samples: few neighbours, or nearly all rows."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, most + 1)), int(rng.integers(1, 9))
    X = rng.normal(size=(n, d))
    kind = seed % 5
    if kind == 1:
        X = rng.integers(-6, 7, size=(n, d)).astype(float)  # ties, exactly eps apart
    elif kind == 2:
        X = X.astype(np.float32)
    elif kind == 3:
        X = X[rng.integers(0, n, n) // 4]  # copies
    elif kind == 4:  # features of all scales, far from the origin
        X = X * 10.0 ** rng.integers(-3, 4, size=d) + 100 * rng.normal(size=d)
    if kind == 1:
        return X, float(rng.integers(1, 6)), int(rng.integers(1, 21))
    some = X[:60].astype(float)
    distances = np.sqrt(((some[:, None] - some[None]) ** 2).sum(axis=2))
    eps = float(np.quantile(distances, rng.random()) * rng.uniform(0.2, 1.1))
    return X, eps or 0.1, int(rng.integers(1, 21))


@pytest.mark.parametrize("seed", range(100))
def test_labels_and_core_rows_are_those_of_scikit_learn(seed):
    X, eps, min_samples = draw(seed, most=2000)
    assert_found(dbscan(X, eps, min_samples), *theirs(X, eps, min_samples))


@pytest.mark.parametrize("seed", range(100, 160))
@both
def test_each_kernel_finds_them(name, seed):
    X, eps, min_samples = draw(seed, most=250)
    assert_found(dbscan(X, eps, min_samples, kernel=name), *theirs(X, eps, min_samples))


@both
@given(data=st.data())
def test_a_definition_in_fractions_finds_the_same(name, data):
    shape = data.draw(st.tuples(st.integers(1, 24), st.integers(1, 4)))
    X = data.draw(npst.arrays(np.int64, shape, elements=st.integers(-3, 3)))
    # Quarters: their squares are exact, so that ties at eps are, too.
    eps = data.draw(st.integers(1, 16)) / 4
    min_samples = data.draw(st.integers(1, 5))
    found = dbscan(X / 4, eps / 4, min_samples, kernel=name)
    assert_found(found, *by_definition(X / 4, eps / 4, min_samples))


@both
@pytest.mark.parametrize(("eps", "neighbours"), [(0.999, 1), (1.0, 5), (2**0.5, 9), (2.0, 13)])
def test_a_distance_of_exactly_eps_counts(name, eps, neighbours):
    grid = np.stack(np.meshgrid(*[np.arange(9.0)] * 2), axis=-1).reshape(-1, 2)
    counts = counts_of(grid, eps, name)
    assert counts.max() == neighbours
    np.testing.assert_array_equal(counts, KDTree(grid).query_radius(grid, eps, count_only=True))
    labels, core = theirs(grid, eps, neighbours)
    assert_found(dbscan(grid, eps, neighbours, kernel=name), labels, core)


def counts_of(X, eps, name="cpp"):
    kernel, counts = load_kernel(name), np.empty(len(X), dtype=np.int64)
    kernel.count(kernel.prepare(frozen(X), eps), counts)
    return counts


@both
def test_where_the_square_of_eps_is_rounded_ours_is_the_answer_of_a_single_leaf(name):
    """√13² is less than 13 in float64. scikit-learn compares squares within a leaf of its tree, and
    roots for whole nodes: rows exactly √13 apart are neighbours here and not there. Ours compares
    squares everywhere, as its tree of one leaf does.
    """
    X = np.random.default_rng(0).integers(-5, 6, size=(600, 2)).astype(float)
    eps = 13**0.5
    one_leaf, many = (
        KDTree(X, leaf_size=size).query_radius(X, eps, count_only=True) for size in (601, 30)
    )
    found = counts_of(X, eps, name)
    np.testing.assert_array_equal(found, one_leaf)
    assert (found != many).any()
    squares = ((X[:, None] - X[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(found, (squares < 13).sum(axis=1))
    expected = theirs(X, eps, 60, leaf_size=601)
    assert_found(dbscan(X, eps, 60, kernel=name), *expected)


@both
@pytest.mark.parametrize("n_features", [1, 2, 3, 4])
def test_the_last_bit_decides_as_the_sum_of_squares_does(name, n_features):
    """Cells and windows lose no row that the comparison takes for a neighbour."""
    rng = np.random.default_rng(n_features)
    for eps in rng.uniform(0.5, 2.0, size=60):
        X = np.zeros((22, n_features))
        X[:5, -1] = X[10:15, -1] = eps + np.spacing(eps) * np.arange(-2, 3)
        X[5:10, -1] = X[15:20, -1] = -X[:5, -1]
        X[10:20, 0] += 1e-9  # its square is lost beside that of eps
        X[20, 0] = 1e3
        X = X[:, rng.permutation(n_features)]
        near = ((X[:, None] - X[None]) ** 2).sum(axis=2) <= eps * eps
        np.testing.assert_array_equal(counts_of(X, eps, name), near.sum(axis=1))


@both
def test_a_border_row_goes_to_the_first_cluster_that_reaches_it(name):
    # Row 0 has a core row of either cluster within eps, and is none itself.
    X = np.array([[0.0], [-1.0], [-1.2], [-1.4], [1.0], [1.2], [1.4], [9.0]])
    result = dbscan(X, 1.0, 4, kernel=name)
    assert result.core.tolist() == [False, True, False, False, True, False, False, False]
    assert result.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, -1]
    other_first = dbscan(X[[0, 4, 5, 6, 1, 2, 3, 7]], 1.0, 4, kernel=name)
    assert other_first.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, -1]


@both
def test_clusters_are_numbered_by_their_first_core_row(name):
    X = np.array([[5.2], [0.0], [0.1], [5.0], [5.1], [0.2], [9.0], [9.0], [9.0]])
    result = dbscan(X, 0.15, 3, kernel=name)  # row 0 is border, and its cluster's core comes later
    assert result.labels.tolist() == [1, 0, 0, 1, 1, 0, 2, 2, 2]
    assert (result.n_clusters, result.kernel) == (3, name)


@both
def test_one_row_all_noise_and_one_cluster(name):
    assert_found(dbscan([[3.0, 4.0]], 1, 1, kernel=name), np.array([0]), np.array([True]))
    assert_found(dbscan([[3.0, 4.0]], 1, 2, kernel=name), np.array([-1]), np.array([False]))
    X = cloud(seed=5, n_samples=200, n_features=3)
    none, every = np.full(200, -1), np.zeros(200, dtype=int)
    assert_found(dbscan(X, 1e-6, 2, kernel=name), none, none == 0)
    assert_found(dbscan(X, 100.0, 200, kernel=name), every, every == 0)
    assert_found(dbscan(X, 100.0, 201, kernel=name), none, none == 0)
    assert_found(dbscan(X, 1e-6, 1, kernel=name), np.arange(200), every == 0)
    assert_found(dbscan(X, 100.0, 10**30, kernel=name), none, none == 0)
    assert_found(dbscan(np.ones((200, 2)), 1e-9, 200, kernel=name), every, every == 0)


@both
@pytest.mark.parametrize("n_features", [1, 2, 3, 4])
def test_cells_neither_overflow_nor_fill_the_memory(name, n_features):
    X = 1e9 * cloud(seed=6, n_samples=300, n_features=n_features)
    X[:50] = X[50:100]
    pairs = np.where(np.arange(300) < 100, np.arange(300) % 50, -1)
    for eps in (1e-9, 1e-140):
        assert dbscan(X, eps, 2, kernel=name).labels.tolist() == pairs.tolist()
    for eps in (1e11, 1e200, 10**300, np.float32(1e30)):
        assert dbscan(X, eps, 300, kernel=name).labels.tolist() == [0] * 300
    far = np.vstack([cloud(7, 300, n_features), np.full((1, n_features), 1e100)])
    assert_found(dbscan(far, 0.3, 4, kernel=name), *theirs(far, 0.3, 4))


def test_rows_in_parts_of_one_feature_only():
    """Whichever features are cut, and however the rows are sorted."""
    rng = np.random.default_rng(8)
    for scales in ([1, 1e-9, 1e-9], [1e-9, 1, 1e-9], [1e-9, 1e-9, 1], [0, 0, 0], [1, 0, 1]):
        X = rng.normal(size=(400, 3)) * scales
        for rows in (X, X[np.lexsort(X.T)], X[np.lexsort(X.T)][::-1]):
            assert_found(dbscan(rows, 0.05, 5), *theirs(rows, 0.05, 5))


@both
@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X[::-1][::-1],
        lambda X: X.astype(">f8"),
        lambda X: X.astype(np.int16),
        lambda X: X.astype(np.float32),
        lambda X: X.tolist(),
        frozen,
    ],
)
def test_layout_and_dtype_do_not_matter(name, change):
    X = np.random.default_rng(9).integers(-9, 10, size=(120, 2)).astype(float)
    expected = dbscan(X, 2.0, 6)
    assert 1 < expected.n_clusters < 30
    given = change(X)
    before = np.array(given)
    assert_found(dbscan(given, 2.0, 6, kernel=name), expected.labels, expected.core)
    np.testing.assert_array_equal(before, given)


@both
def test_float32_is_computed_in_float64(name):
    X = cloud(10, 300, 2, "float32")
    expected = dbscan(X.astype(np.float64), 0.2, 4)
    assert_found(dbscan(X, 0.2, 4, kernel=name), expected.labels, expected.core)
