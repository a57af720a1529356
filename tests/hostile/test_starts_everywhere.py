"""The same seed starts at the same rows: on every instruction set, in C++ and in NumPy."""

from fractions import Fraction

import numpy as np
import pytest

from kmeans_lab import MiniBatchKMeans, kmeans, load_kernel, seeding
from kmeans_lab.centering import Centered, middle_and_variance
from kmeans_lab.compress import compress
from kmeans_lab.numerics.grids import Grid, in_steps
from kmeans_lab.presets import PRESETS
from kmeans_lab.seeding import INITS, greedy_rows, squared_distances

pytestmark = pytest.mark.hostile

ANGLES = np.linspace(0, 2 * np.pi, 50, endpoint=False)
TENTHS = np.stack(np.meshgrid(np.arange(9), np.arange(9)), axis=-1).reshape(-1, 2) * 0.1

#: Rows with exact ties, with near ones, and with values at the ends of the range.
KINDS = {
    "normal": lambda rng: rng.normal(size=(50, 2)),
    "circle": lambda rng: np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]),
    "tenths": lambda rng: TENTHS,
    "copies": lambda rng: rng.normal(size=(7, 3))[rng.integers(7, size=90)],
    "whole": lambda rng: rng.integers(-3, 4, size=(120, 2)).astype(float),
    "one feature": lambda rng: rng.integers(0, 40, size=(80, 1)) / 10,
    "seven features": lambda rng: rng.normal(size=(100, 7)).round(1),
    "33 features": lambda rng: rng.normal(size=(60, 33)).round(1),
    "offset": lambda rng: rng.normal(size=(100, 3)).round(2) + 1000,
    "far apart": lambda rng: rng.normal(size=(80, 2)) + 1e9 * (np.arange(80) % 2)[:, None],
    "all sizes": lambda rng: rng.normal(size=(80, 2)) * 10.0 ** rng.integers(-9, 9, (80, 1)),
    "tiny": lambda rng: rng.normal(size=(60, 2)) * 1e-21,
    "vanishing": lambda rng: rng.normal(size=(60, 2)) * 1e-161,
    "huge": lambda rng: rng.normal(size=(60, 2)) * 1e150,
}
ONLY_FLOAT64 = ("vanishing", "huge")


def instruction_sets(monkeypatch):
    """Force one after the other, those that this machine has."""
    for isa in ("baseline", "avx2", "avx512"):
        monkeypatch.setenv("KMEANS_LAB_ISA", isa)
        try:
            load_kernel("cpp-simd").isa()
        except ValueError:  # no other build can make up for the processor
            continue
        yield isa


def without_flagship(monkeypatch):
    monkeypatch.setattr(seeding, "first_ready", lambda names: "not built")


def assert_same_rows(monkeypatch, X, n_clusters, seed, threads=(1,)):
    rng = np.random.default_rng(seed)
    draws = rng.random((n_clusters - 1, 2 + int(np.log(n_clusters))))
    first, flagship = int(rng.integers(len(X))), load_kernel("cpp-simd")
    middle, _ = middle_and_variance(X)
    for origin, rows in ((None, X), (middle, Centered(X, middle))):
        expected = greedy_rows(rows, first, draws)
        for isa in instruction_sets(monkeypatch):
            for n_threads in threads:
                found = flagship.greedy(X, first, draws, n_threads, origin).tolist()
                assert found == expected, (isa, n_threads, seed)
                prepared = flagship.prepare(X, n_clusters, n_threads, origin)
                assert prepared.greedy(X, first, draws).tolist() == expected, (isa, seed)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in KINDS for kind in ("f8", "f4")[: 1 if name in ONLY_FLOAT64 else 2]],
)
def test_the_flagship_chooses_the_rows_of_numpy_on_every_instruction_set(monkeypatch, name, kind):
    for seed in range(5):
        X = KINDS[name](np.random.default_rng(seed)).astype(kind)
        assert_same_rows(monkeypatch, X, min(30, len(X) // 2), seed)


@pytest.mark.slow  # thousands of seeds
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_thousands_of_seeds_choose_the_same_rows_everywhere(monkeypatch, kind):
    for seed in range(2000):
        X = np.random.default_rng(seed).normal(size=(50, 2)).astype(kind)
        assert_same_rows(monkeypatch, X, 30, seed)


@pytest.mark.parametrize("kind", ["f8", "f4"])
@pytest.mark.parametrize("shape", [(5003, 2, 40), (3001, 7, 12)])
def test_rows_that_are_put_in_order_are_chosen_as_in_their_own(monkeypatch, shape, kind):
    n, d, k = shape
    for seed in range(2):  # few values, so that rows are copies and candidates tie
        rng = np.random.default_rng(seed)
        points = rng.normal(scale=10, size=(k, d))
        X = (points[rng.integers(k, size=n)] + rng.normal(size=(n, d))).round(1).astype(kind)
        assert_same_rows(monkeypatch, X, k, seed, threads=(1, 3))


@pytest.mark.slow  # of more than two million rows, distances are kept in one order only
def test_very_many_rows_are_chosen_alike_on_every_instruction_set(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(scale=5, size=(2**21 + 77, 2)).round(1)
    assert_same_rows(monkeypatch, X, 6, 0, threads=(2,))


def exactly_ordered(row, point):
    total = 0.0
    for x, c in zip(row.tolist(), point.tolist(), strict=True):
        total += (x - c) * (x - c)
    return total


@pytest.mark.parametrize("kind", ["f8", "f4"])
@pytest.mark.parametrize("shape", [(1, 1), (40, 1), (2100, 2), (70, 7), (50, 33), (3, 700)])
def test_squares_are_rounded_one_by_one_and_added_in_the_order_of_features(shape, kind):
    X = np.random.default_rng(1).normal(size=shape).astype(kind)
    middle = np.full(shape[1], 0.3, kind)
    for rows in (X, np.asfortranarray(X), Centered(X, middle)):
        points = rows[:2]
        found = squared_distances(rows, points, np.full((len(points), len(X)), np.nan))
        expected = [[exactly_ordered(row, point) for row in rows[:]] for point in points]
        assert found.tolist() == expected


@pytest.mark.parametrize("bound", [1e-320, 3e-200, 1.0, 7.3, 1e300])
def test_numbers_are_rounded_to_whole_steps_with_ties_to_even(bound):
    grid, rng = Grid(bound), np.random.default_rng(2)
    values = rng.random(200) * bound
    halves = (rng.integers(0, 99, size=50) + 0.5) * grid.step
    for value, steps in zip([*values, *halves], grid.steps(np.r_[values, halves]), strict=True):
        assert steps == round(Fraction(value) / Fraction(grid.step))
    assert Fraction(bound) / Fraction(grid.step) <= 2**51


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-30, 1.0, 1e290])
@pytest.mark.parametrize("spread", [0, 300])
def test_a_sum_is_many_steps_and_the_same_in_any_order(scale, spread):
    rng = np.random.default_rng(3)
    values = rng.random(500) * scale * 10.0 ** -rng.integers(0, spread + 1, size=500)
    values[::7] = 0
    steps, total, grid = in_steps(values, Grid())
    assert total == sum(steps.tolist())
    assert total * grid.step == pytest.approx(values.sum(), rel=1e-10)
    for _ in range(5):
        mixed = rng.permutation(500)
        again = in_steps(values[mixed], Grid())
        assert again[0].tolist() == steps[mixed].tolist()
        assert (again[1], again[2].step) == (total, grid.step)
    # What falls to a fraction of it is told in finer steps, and zeros are nothing.
    _, less, finer = in_steps(values * 2.0**-40, grid)
    assert less * finer.step == pytest.approx(values.sum() * 2.0**-40, rel=1e-10)
    assert in_steps(np.zeros(500), grid)[1] == 0


def fit(**options):
    """Return the labels of fits whose kernel is no matter of the instruction set."""
    return [
        kmeans(
            np.random.default_rng(seed).normal(size=(50, 2)), 30, kernel="python", max_iter=1,
            random_state=seed, **options,
        ).labels.tolist()
        for seed in range(15)
    ]  # fmt: skip


def test_fits_start_alike_on_every_instruction_set_and_without_the_flagship(monkeypatch):
    found = [fit() for _ in instruction_sets(monkeypatch)]
    without_flagship(monkeypatch)
    assert found == [fit()] * len(found)


def palettes():
    pixels = np.random.default_rng(0).integers(0, 40, size=(30, 30, 3)).astype(np.uint8)
    return [compress(pixels, 12, kernel="numpy", random_state=s).palette.tolist() for s in range(3)]


def batches():
    X = np.random.default_rng(0).normal(size=(900, 2)).round(1)
    model = {"n_clusters": 20, "batch_size": 300, "kernel": "numpy", "max_iter": 8}
    model |= {"reassignment_ratio": 0.5, "compute_labels": False}
    return [
        MiniBatchKMeans(random_state=s, **model).fit(X).cluster_centers_.tolist() for s in range(3)
    ]


@pytest.mark.parametrize("answers", [palettes, batches])
def test_what_begins_with_a_start_is_the_same_everywhere(monkeypatch, answers):
    found = [answers() for _ in instruction_sets(monkeypatch)]
    without_flagship(monkeypatch)
    assert found == [answers()] * len(found)


#: Of the Python-vs-C++ demo and others: the rows that the numbers in README.md began with.
ROWS = {
    "standard": [
        15354, 12599, 9488, 3491, 6103, 14228, 92, 12110, 11295, 7296, 4549, 5140, 4912,
        8477, 9223, 10012, 16221, 13218, 8111, 15983, 2388, 1884, 9746, 871, 883,
    ],
    "quick": [1360, 1304, 1179, 367, 543],
    "smoke": [141, 97, 54, 10, 66],
}  # fmt: skip


@pytest.mark.parametrize("preset", ROWS)
def test_presets_start_where_they_always_did(preset):
    workload = PRESETS[preset].load()
    rows = [int(np.flatnonzero((c == workload.X).all(axis=1))[0]) for c in workload.centers]
    assert rows == ROWS[preset]


@pytest.mark.parametrize("init", ["random", "d2", "k-means++", "k-means||", "random-partition"])
def test_weights_of_all_sizes_still_give_a_start(init):
    X = np.random.default_rng(0).normal(size=(12, 2))
    weights = 10.0 ** -np.arange(0.0, 300, 25)
    weights[3] = 0
    for seed in range(20):
        start = INITS[init](X, 11, np.random.default_rng(seed), weights=weights)
        assert np.isfinite(start).all()
        if init == "random":  # the row without weight is the last that is taken
            assert len(np.unique(start, axis=0)) == 11
            assert not (start == X[3]).all(axis=1).any()
