"""``cluster_centers_`` set by hand: used where they fit, refused in one sentence otherwise."""

import numpy as np
import pytest

from kmeans_lab import KERNELS, KMeans, MiniBatchKMeans
from kmeans_lab.numerics.distances import nearest
from kmeans_lab.numerics.inertia import direct_inertia

ESTIMATORS = [KMeans, MiniBatchKMeans]
VERBS = ["predict", "transform", "score", "partial_fit"]
X = np.random.default_rng(0).normal(size=(60, 2))
CENTERS = X[:3] + 0.25


def fitted(kind, **options):
    return kind(3, random_state=0, **options).fit(X)


def each_verb(found):
    return [verb for verb in VERBS if hasattr(found, verb)]


WRONG = {
    "one dimension": (CENTERS[0], r"has shape \(2,\) and must have shape .*=\(3, 2\)"),
    "a number": (1.5, r"has shape \(\) and must have shape"),
    "too wide": (np.ones((3, 5)), r"has shape \(3, 5\) and must have shape .*=\(3, 2\)"),
    "none at all": (np.empty((0, 2)), r"has shape \(0, 2\) and must have shape"),
    "NaN": (
        CENTERS * [[1, 1], [np.nan, 1], [1, 1]],
        r"cluster_centers_\[1, 0\] is nan",
    ),
    "infinite": (CENTERS * [1, np.inf], r"cluster_centers_\[0, 1\] is -?inf"),
    "ragged": ([[0.0, 1.0], [2.0]], "cannot be read as a matrix"),
    "words": ([["a", "b"]] * 3, "has dtype <U1 and must be numeric"),
    "complex": (CENTERS * 1j, "has dtype complex128 and must be numeric"),
    "masked": (np.ma.masked_less(CENTERS, 0), "is masked and no value may be masked"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_centers_that_do_not_fit_are_refused_by_every_method(kind, wrong):
    found = fitted(kind)
    found.cluster_centers_, why = WRONG[wrong]
    for verb in each_verb(found):
        with pytest.raises((ValueError, TypeError), match=why):
            getattr(found, verb)(X)


RIGHT = {
    "a list": CENTERS.tolist(),
    "whole numbers": np.array([[0, 0], [1, 1], [-1, 2]]),
    "float32": CENTERS.astype("f4"),
    "float16": CENTERS.astype("f2"),
    "Fortran's order": np.asfortranarray(CENTERS),
    "every second": np.repeat(CENTERS, 2, axis=0)[::2],
    "big-endian": CENTERS.astype(">f8"),
    "read-only": np.broadcast_to(CENTERS[0], (3, 2)),
}


@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_centers_that_fit_are_used_by_every_method(kind, right, dtype):
    rows, given = X.astype(dtype), RIGHT[right]
    found, plain = fitted(kind), np.asarray(given, dtype=np.float64)
    found.cluster_centers_ = given
    D = np.sqrt(((rows[:, None].astype(np.float64) - plain) ** 2).sum(axis=2))
    np.testing.assert_allclose(found.transform(rows), D, rtol=1e-6)
    np.testing.assert_array_equal(found.predict(rows), D.argmin(axis=1))
    assert found.score(rows) == pytest.approx(-(D.min(axis=1) ** 2).sum())
    if kind is MiniBatchKMeans:
        counts = found._means._mass.copy()
        found.partial_fit(rows[:1])
        near = D[0].argmin()
        moved = plain.copy()
        moved[near] += (rows[0] - plain[near]) / (counts[near] + 1)
        np.testing.assert_allclose(found.cluster_centers_, moved, rtol=1e-6)
        assert found.cluster_centers_.dtype == np.float64


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_another_number_of_centers_is_as_good_for_all_but_partial_fit(kind):
    found = fitted(kind).set_output(transform="pandas")
    found.cluster_centers_ = X[:5].copy()
    assert set(found.predict(X)) == {0, 1, 2, 3, 4}
    assert found.transform(X).shape == (60, 5)
    assert len(found.get_feature_names_out()) == 5
    if kind is MiniBatchKMeans:
        with pytest.raises(ValueError, match="has 5 rows, n_clusters is 3 and rows were counted"):
            found.partial_fit(X)


def test_the_number_of_clusters_cannot_change_between_batches():
    found = fitted(MiniBatchKMeans)
    found.set_params(n_clusters=5)
    with pytest.raises(ValueError, match="has 3 rows, n_clusters is 5 and rows were counted for 3"):
        found.partial_fit(X)
    assert len(found.fit(X).cluster_centers_) == 5
    assert len(found.partial_fit(X).cluster_centers_) == 5


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_an_estimator_that_was_given_its_centers_need_not_be_fitted(kind):
    found = kind(3)
    found.cluster_centers_ = CENTERS.copy()
    labels = ((X[:, None] - CENTERS) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(found.predict(X), labels)
    if kind is MiniBatchKMeans:
        found.partial_fit(X)  # each center moves to the mean of its first rows
        means = [X[labels == j].mean(axis=0) for j in range(3)]
        np.testing.assert_allclose(found.cluster_centers_, means)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_centers_may_lie_at_any_address(kind):
    found = fitted(kind)
    expected = found.predict(X)
    moved = np.frombuffer(
        b"." + found.cluster_centers_.tobytes(), found.cluster_centers_.dtype, offset=1
    )
    found.cluster_centers_ = moved.reshape(found.cluster_centers_.shape)
    assert not found.cluster_centers_.flags.aligned
    np.testing.assert_array_equal(found.predict(X), expected)


def test_batches_of_any_dtype_become_that_of_the_first():
    for first, then in (("f4", "f8"), ("f8", "f4"), ("i8", "f4"), ("f4", "i8")):
        found = MiniBatchKMeans(3, random_state=0).partial_fit((8 * X).astype(first))
        wanted = "f4" if first == "f4" else "f8"
        found.cluster_centers_ = found.cluster_centers_.tolist()
        assert found.partial_fit((8 * X).astype(then)).cluster_centers_.dtype == wanted


ARRAY = {"init": X[:3].copy(), "batch_size": 60}


@pytest.mark.parametrize("weight", [None, 1.0, 0.5, 1e-300, 7e250])
def test_mini_batches_print_the_inertia_of_their_start(capsys, weight):
    """On rows drawn for it: all of them here."""
    weights = None if weight is None else np.full(60, weight)
    quiet = MiniBatchKMeans(3, max_iter=3, random_state=1, **ARRAY).fit(X, sample_weight=weights)
    loud = MiniBatchKMeans(3, max_iter=3, random_state=1, verbose=1, **ARRAY)
    loud.fit(X, sample_weight=weights)
    assert loud.cluster_centers_.tobytes() == quiet.cluster_centers_.tobytes()
    printed = capsys.readouterr().out.splitlines()
    start = ((X[:, None] - X[:3]) ** 2).sum(axis=2).min(axis=1)
    said = next(line for line in printed if line.startswith("Inertia for init 1/1: "))
    assert float(said.split()[-1]) == pytest.approx(start.sum() * (weight or 1))
    first = next(line for line in printed if line.startswith("Minibatch step 1/3: "))
    assert float(first.split()[-1]) == pytest.approx(start.mean())


@pytest.mark.parametrize("weighted", [False, True])
def test_verbose_k_means_prints_what_scikit_learn_prints(capsys, weighted):
    from sklearn.cluster import KMeans as Theirs

    weights = np.arange(60.0) if weighted else None
    printed = []
    for kind in (KMeans, Theirs):
        for tol in (0.0, 0.2):
            kind(3, init=X[:3].copy(), n_init=1, tol=tol, verbose=1).fit(X, sample_weight=weights)
        printed.append(capsys.readouterr().out.replace(".\n", "\n").split())
    for mine, yours in zip(*printed, strict=True):
        try:
            assert float(mine) == pytest.approx(float(yours))
        except ValueError:
            assert mine == yours


EXACT = [name for name, spec in KERNELS.items() if spec.exact]


@pytest.mark.parametrize("kernel", EXACT)
def test_labels_and_inertia_of_a_fit_are_those_of_its_centers(kernel):
    """Where rows are equally far from two centers, and far away, where centers are rounded."""
    rng = np.random.default_rng(0)
    for draw in range(20):
        rows = rng.integers(0, 3, (60, 4)) + np.array([0, 7e5, -1e6, 1e7])
        for dtype in ("f4", "f8"):
            X, options = rows.astype(dtype), {"max_iter": 4, "n_init": 1, "random_state": draw}
            found = KMeans(2 + draw % 5, kernel=kernel, **options).fit(X)
            np.testing.assert_array_equal(found.labels_, found.predict(X))
            assert found.inertia_ == pytest.approx(-found.score(X), rel=1e-12)


@pytest.mark.parametrize("offset", [0, 1e5])
@pytest.mark.parametrize("floats", ["f4", "f8"])
@pytest.mark.parametrize("n_samples", [1000, 40_000])  # by one thread and, where there are, by two
def test_one_call_gives_the_bits_of_two(n_samples, floats, offset):
    rows = (np.random.default_rng(3).normal(size=(n_samples, 9)) + offset).astype(floats)
    found = MiniBatchKMeans(7, random_state=0).partial_fit(rows)
    centers = found.cluster_centers_
    np.testing.assert_array_equal(found.labels_, nearest("cpp", rows, centers))
    assert found.inertia_ == direct_inertia(rows, centers, found.labels_) == -found.score(rows)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("name", ["n_clusters", "n_init", "max_iter"])
def test_a_truth_value_is_no_number_of_anything(kind, name):
    with pytest.raises(TypeError, match=f"^{name}=True must be an integer ≥ 1$"):
        kind(**{name: True}).fit(X)
