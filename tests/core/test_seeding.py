"""Starting centers: what each way of drawing them promises."""

import numpy as np
import pytest

from kmeans_lab import kmeans, load_kernel, seeding
from kmeans_lab.numerics.oversampling import oversample
from kmeans_lab.seeding import INITS, greedy_rows, squared_distances
from tests.support.helpers import cloud, some_rows, whole_numbers

X = cloud(seed=1, n_samples=200, n_features=3)
ROW_INITS = ["k-means++", "k-means||", "d2", "random", "first"]


def draw(init, rows=X, n_clusters=6, seed=0):
    return INITS[init](rows, n_clusters, np.random.default_rng(seed))


def chi_square_is_plausible(observed, expected):
    """True unless Pearson's statistic is four standard deviations above its mean."""
    impossible = expected == 0
    assert (observed[impossible] == 0).all()
    observed, expected = observed[~impossible], expected[~impossible]
    assert (expected > 5).all()
    freedom = len(expected) - 1
    return ((observed - expected) ** 2 / expected).sum() < freedom + 4 * (2 * freedom) ** 0.5


def test_the_named_starts_are_the_documented_ones():
    assert list(INITS) == ["k-means++", "k-means||", "d2", "random", "random-partition", "first"]


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("n_clusters", [1, 2, 9, 200])
def test_shape_and_values(init, dtype, n_clusters):
    centers = draw(init, X.astype(dtype), n_clusters)
    assert centers.shape == (n_clusters, 3)
    assert np.isfinite(centers).all()


@pytest.mark.parametrize("init", ROW_INITS)
@pytest.mark.parametrize("n_clusters", [1, 6, 200])
def test_centers_are_distinct_rows(init, dtype, n_clusters):
    rows = X.astype(dtype)
    centers = draw(init, rows, n_clusters)
    assert len(np.unique(centers, axis=0)) == n_clusters
    assert {tuple(center) for center in centers} <= {tuple(row) for row in rows}


@pytest.mark.parametrize("init", [name for name in INITS if name != "first"])
def test_a_seed_reproduces_the_start_and_another_one_changes_it(init):
    np.testing.assert_array_equal(draw(init, seed=4), draw(init, seed=4))
    assert not np.array_equal(draw(init, seed=4), draw(init, seed=5))


@pytest.mark.parametrize("init", INITS)
def test_the_driver_starts_where_the_function_says(init):
    result = kmeans(X, 6, kernel="numpy", init=init, random_state=9, max_iter=1, history=True)
    np.testing.assert_allclose(result.history[0].centers, draw(init, seed=9), rtol=1e-13)


@pytest.mark.parametrize("offset", [0, 1000.3])
@pytest.mark.parametrize("init", INITS)
def test_the_start_does_not_depend_on_the_kernel(kernel_name, init, offset):
    options = {"init": init, "random_state": 2, "max_iter": 1, "history": True}
    start = kmeans(X + offset, 6, kernel=kernel_name, **options).history[0].centers
    expected = kmeans(X + offset, 6, kernel="python", **options).history[0].centers
    assert start.tobytes() == expected.tobytes()


def test_first_takes_the_first_rows_in_order():
    np.testing.assert_array_equal(draw("first", n_clusters=7), X[:7])


def test_random_draws_every_row_equally_often():
    rows = np.arange(8.0)[:, None]
    rng = np.random.default_rng(0)
    drawn = np.concatenate([INITS["random"](rows, 3, rng)[:, 0] for _ in range(2000)])
    assert chi_square_is_plausible(np.bincount(drawn.astype(int)), np.full(8, 750.0))


def test_random_partition_takes_means_of_random_labels():
    rows = cloud(3, 5000, 2) + 10
    centers = draw("random-partition", rows, 4)
    # Means of 1250 rows of variance 1: within five standard errors of the overall mean.
    assert (np.abs(centers - rows.mean(axis=0)) < 5 / 1250**0.5).all()
    assert len(np.unique(centers, axis=0)) == 4


def test_random_partition_gives_a_cluster_without_rows_one_of_them():
    rows = whole_numbers(1, (6, 2), 0, 50)
    centers = draw("random-partition", rows, 6, seed=1)
    labels = np.random.default_rng(1).integers(6, size=6)
    assert len(np.unique(labels)) < 6
    for j in set(range(6)) - set(labels.tolist()):
        assert tuple(centers[j]) in {tuple(row) for row in rows}
    for j in set(labels.tolist()):
        np.testing.assert_array_equal(centers[j], rows[labels == j].mean(axis=0))


# Rows with squared distances from 1 to 196 between them: a rule that draws with D in place of D²
# is far outside the bound below.
POINTS = np.array([[0.0], [1.0], [3.0], [7.0], [14.0]])


def test_d2_draws_with_probability_proportional_to_the_squared_distance():
    n_draws = 8000
    rng = np.random.default_rng(12)
    counts = np.zeros((5, 5))
    for _ in range(n_draws):
        pair = INITS["d2"](POINTS, 2, rng)[:, 0]
        counts[tuple(np.searchsorted(POINTS[:, 0], pair))] += 1
    squared = (POINTS - POINTS.T) ** 2
    expected = n_draws / 5 * squared / squared.sum(axis=1, keepdims=True)
    assert chi_square_is_plausible(counts.ravel(), expected.ravel())


def test_d2_counts_the_distance_to_the_nearest_center_so_far():
    n_draws = 6000
    rng = np.random.default_rng(5)
    drawn = {}
    for _ in range(n_draws):
        a, b, c = np.searchsorted(POINTS[:, 0], INITS["d2"](POINTS, 3, rng)[:, 0])
        drawn.setdefault((a, b), np.zeros(5))[c] += 1
    counts = drawn[0, 4]  # the most frequent beginning: rows 0 and 14
    nearest = np.array([0.0, 1.0, 9.0, 49.0, 0.0])
    assert chi_square_is_plausible(counts, counts.sum() * nearest / nearest.sum())


def potential(rows, centers):
    distances = squared_distances(rows, np.array(centers), np.empty((len(centers), len(rows))))
    return distances.min(axis=0).sum()


def test_greedy_lowers_the_potential_against_one_candidate_on_average():
    rows = np.concatenate([cloud(seed, 40, 2) / 4 + 3 * seed for seed in range(8)])
    means = {
        init: np.mean([potential(rows, draw(init, rows, 8, seed)) for seed in range(40)])
        for init in ("k-means++", "d2", "random")
    }
    assert means["k-means++"] < 0.8 * means["d2"] < 0.8 * means["random"]


class CountingGenerator:
    """Counts the candidates that greedy seeding draws for each center."""

    def __init__(self):
        self._rng = np.random.default_rng(0)
        self.sizes = []

    def integers(self, *args, **kwargs):
        return self._rng.integers(*args, **kwargs)

    def random(self, size):
        self.sizes.append(size)
        return self._rng.random(size)


@pytest.mark.parametrize(("n_clusters", "candidates"), [(2, 2), (3, 3), (7, 3), (8, 4), (25, 5)])
def test_greedy_draws_2_plus_ln_k_candidates(n_clusters, candidates):
    rng = CountingGenerator()
    INITS["k-means++"](X, n_clusters, rng)
    assert rng.sizes == [(n_clusters - 1, candidates)]


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (7, 2, 7), (500, 3, 9), (3000, 17, 25)])
def test_greedy_in_numpy_and_in_the_flagship_choose_the_same_rows(n, d, k, kind):
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, d)).astype(kind)
    draws = rng.random((k - 1, 2 + int(np.log(k))))
    flagship = load_kernel("cpp-simd")
    for n_threads in (1, 3):
        assert flagship.greedy(rows, 0, draws, n_threads).tolist() == greedy_rows(rows, 0, draws)


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(
    ("n", "d", "k"),
    # Of more than two million rows, the distances are kept in one order only.
    [
        (5000, 2, 9),
        (2100, 3, 20),
        (16_250, 10, 25),
        pytest.param(2_100_000, 2, 8, marks=pytest.mark.slow),
    ],
)
def test_greedy_chooses_the_same_rows_where_it_puts_them_in_another_order(n, d, k, kind):
    rng = np.random.default_rng(n)
    points = rng.normal(scale=10, size=(k, d))
    rows = (points[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(kind)
    draws, flagship = rng.random((k - 1, 2 + int(np.log(k)))), load_kernel("cpp-simd")
    for given in (rows, rows[np.argsort(rows[:, 0], kind="stable")]):
        expected = greedy_rows(given, 3, draws)
        for n_threads in (1, 2):
            assert flagship.greedy(given, 3, draws, n_threads).tolist() == expected
            prepared = flagship.prepare(given, k, n_threads)
            for _ in range(2):
                assert prepared.greedy(given, 3, draws).tolist() == expected


@pytest.mark.parametrize(
    ("rows", "first", "draws", "message"),
    [
        (X[:9].copy(), 0, np.zeros((2, 3)), "needs the X that was prepared"),
        (X[:, :2].copy(), 0, np.zeros((2, 3)), "needs the X that was prepared"),
        (X, 200, np.zeros((2, 3)), "first must be a row"),
        (X, -1, np.zeros((2, 3)), "first must be a row"),
        (X, 0, np.zeros((2, 33)), "1 to 32 candidates"),
        (X, 0, np.zeros(3), "draws"),
    ],
)
def test_greedy_on_prepared_rows_refuses_what_does_not_fit(rows, first, draws, message):
    with pytest.raises(ValueError, match=message):
        load_kernel("cpp-simd").prepare(X, 6, 1).greedy(rows, first, draws)


def test_greedy_refuses_rows_that_were_prepared_without_balls():
    rows = load_kernel("cpp-simd").prepare(X, 6, 1, balls=False)
    with pytest.raises(ValueError, match="with balls"):
        rows.greedy(X, 0, np.zeros((2, 3)))


def test_greedy_on_copies_of_one_row_chooses_rows_by_their_draws():
    rows, draws = np.ones((10, 2)), np.array([[0.35, 0.1], [0.99, 0.5]])
    flagship = load_kernel("cpp-simd")
    assert flagship.greedy(rows, 4, draws, 1).tolist() == [4, 3, 9]
    assert greedy_rows(rows, 4, draws) == [4, 3, 9]


def test_greedy_keeps_the_best_of_its_candidates():
    # Replay the draws and judge every candidate by the potential it leads to.
    centers = draw("k-means++", n_clusters=3, seed=6)
    rng = np.random.default_rng(6)
    chosen = [X[rng.integers(200)]]
    for _ in range(2):
        nearest = np.min([((X - center) ** 2).sum(axis=1) for center in chosen], axis=0)
        cumulative = np.cumsum(nearest)
        rows = [np.searchsorted(cumulative, u * cumulative[-1]) for u in rng.random(3)]
        chosen.append(min((X[i] for i in rows), key=lambda row: potential(X, [*chosen, row])))
    np.testing.assert_array_equal(centers, chosen)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("value", [0.0, -3.5])
def test_identical_rows_do_not_divide_by_zero(init, value):
    assert (draw(init, np.full((10, 2), value), 4) == value).all()


@pytest.mark.parametrize("init", ["k-means++", "d2"])
def test_distance_seeding_covers_all_distinct_rows_before_it_repeats_one(init):
    rows = np.repeat(np.arange(5.0)[:, None], 20, axis=0)
    for seed in range(20):
        assert sorted(draw(init, rows, 7, seed)[:5, 0]) == [0, 1, 2, 3, 4]


def test_squared_distances_are_exact_beyond_one_block():
    rows = whole_numbers(0, (70_000, 2), -100, 100, "float32")
    point = np.array([3.0, -4.0], np.float32)
    distances = squared_distances(rows, point[None], np.full((1, 70_000), np.nan))
    whole = rows.astype(int) - [3, -4]
    assert distances[0].tolist() == (whole**2).sum(axis=1).tolist()


@pytest.mark.parametrize("start", [X[5:11], X[5:11].tolist(), X[5:11].astype(">f8"), X[11:5:-1]])
def test_an_array_is_taken_as_it_is(start):
    result = kmeans(X, 6, kernel="numpy", init=start, max_iter=1, history=True)
    np.testing.assert_allclose(result.history[0].centers, np.asarray(start), rtol=1e-13)


def test_an_array_start_off_the_rows_is_in_the_coordinates_of_x():
    start = some_rows(X, 4) + 1000.5
    result = kmeans(X + 1000, 4, kernel="numpy", init=start, max_iter=1, history=True)
    np.testing.assert_array_equal(result.history[0].centers, start)


def test_a_function_is_given_x_the_number_and_the_generator():
    rng = np.random.default_rng(0)

    def init(rows, n_clusters, given):
        np.testing.assert_array_equal(rows, X + 1000)
        assert (n_clusters, given) == (4, rng)
        return rows[:4].tolist()

    result = kmeans(
        X + 1000, 4, kernel="numpy", init=init, random_state=rng, max_iter=1, history=True
    )
    np.testing.assert_array_equal(result.history[0].centers, X[:4] + 1000)


def test_a_generator_moves_on_between_fits():
    rng = np.random.default_rng(0)
    one, two = (kmeans(X, 6, kernel="numpy", random_state=rng, max_iter=1) for _ in range(2))
    assert not np.array_equal(one.centers, two.centers)


def test_k_means_parallel_reaches_every_group():
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(40, 3)) * 100
    rows = middles[np.arange(8000) % 40] + rng.normal(size=(8000, 3))
    for seed in range(5):
        centers = draw("k-means||", rows, 40, seed=seed)
        nearest = np.linalg.norm(centers[:, None] - middles, axis=2).argmin(axis=1)
        assert len(set(nearest.tolist())) >= 39
        assert {tuple(center) for center in centers} <= {tuple(row) for row in rows}


@pytest.mark.parametrize("weighted", [False, True])
def test_k_means_parallel_draws_the_same_rows_without_a_kernel(monkeypatch, weighted):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(3000, 4)).astype("f4")
    weights = rng.integers(0, 3, 3000).astype(float) if weighted else None
    found = seeding.parallel(rows, 12, np.random.default_rng(3), weights)
    monkeypatch.setattr("kmeans_lab.rows.distances.first_ready", lambda names: None)
    again = seeding.parallel(rows, 12, np.random.default_rng(3), weights)
    np.testing.assert_array_equal(found, again)
    if weights is not None:
        chosen = (rows[:, None] == found).all(axis=2).any(axis=1)
        assert (weights[chosen] > 0).all()


def test_k_means_parallel_counts_what_is_nearest_to_each_row_drawn():
    rows = np.random.default_rng(2).normal(size=(2000, 3))
    numbers, mass = oversample(rows, 5, np.random.default_rng(0), None, squared_distances)
    assert len(set(numbers.tolist())) == len(numbers)
    distances = np.linalg.norm(rows[:, None] - rows[numbers], axis=2)
    expected = np.bincount(distances.argmin(axis=1), minlength=len(numbers))
    np.testing.assert_array_equal(mass, expected)
    assert 5 < len(numbers) < 200


@pytest.mark.parametrize("k", [1, 3, 4])
def test_k_means_parallel_of_few_different_rows(k):
    rows = np.repeat([[0.0], [1.0], [5.0]], 10, axis=0)
    centers = draw("k-means||", rows, k)
    assert centers.shape == (k, 1)
    assert len(np.unique(centers)) == min(k, 3)


def test_k_means_parallel_draws_until_there_are_enough():
    rows = np.random.default_rng(0).normal(size=(2000, 2))
    rows[40:46] = 10.0 ** (3 * np.arange(1, 7))[:, None]  # which are drawn first, and alone
    weights = np.ones(2000)
    weights[:32] = 0
    for seed in range(5):
        found = seeding.parallel(rows, 8, np.random.default_rng(seed), weights)
        chosen = np.flatnonzero((rows[:, None] == found).all(axis=2).any(axis=1))
        assert (weights[chosen] > 0).all()
        assert set(range(40, 46)) <= set(chosen.tolist())
