"""NumPy set to raise, weights at the ends of float64, parameters of a byte: no answer changes."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.compress import compress
from kmeans_lab.dbscan import dbscan
from kmeans_lab.seeding import INITS
from kmeans_lab.silhouette import silhouette_samples, silhouette_score
from kmeans_lab.soft import responsibilities
from kmeans_lab.stopping import STOP_RULES
from tests.support.helpers import assert_same_fit, cloud

X = np.concatenate([cloud(seed, 12, 2) + 9 * seed for seed in range(3)])
CLUSTERS = np.repeat([0, 1, 2], 12)
REASONS = "flows in a squared", "underflows times", "finite", "infinity"
OVERFLOW = "inertia is larger than float64 can hold"


def fits(estimator, X):
    found = estimator(3, random_state=0).fit(X)
    again = clone(found)
    answers = found.predict(X), found.transform(X), found.score(X), found.inertia_
    return (*answers, again.fit_predict(X), again.fit_transform(X))


def in_batches(X):
    found = MiniBatchKMeans(3, random_state=0, batch_size=9, init="random", n_init=3, tol=1e-3)
    return found.fit(X).labels_, found.partial_fit(X).partial_fit(X).cluster_centers_


def weighted(X, scale):
    weights = np.linspace(0.1, 1, len(X)) * scale
    weights[3] = 1e-308
    options = {"sample_weight": weights, "n_init": 2, "init": "random", "history": True}
    return kmeans(X, 3, random_state=0, **options).centers


#: Each public function, of rows.
PUBLIC = {
    "kmeans, every init": lambda X: [
        kmeans(X, 3, init=init, random_state=0).centers for init in INITS
    ],
    "kmeans, every stop": lambda X: [
        kmeans(X, 3, stop=stop, random_state=0, max_iter=9).centers for stop in STOP_RULES
    ],
    "kmeans, every policy": lambda X: [
        kmeans(X, 3, init=X[[0, 1, 0]], empty=empty, random_state=0).centers
        for empty in ("relocate", "random", "keep")
    ],
    "kmeans, light rows": lambda X: weighted(X, 1e-300),
    "kmeans, heavy rows": lambda X: weighted(X, 1.0),
    "KMeans": lambda X: fits(KMeans, X),
    "MiniBatchKMeans": lambda X: fits(MiniBatchKMeans, X),
    "MiniBatchKMeans, in batches": in_batches,
    "dbscan": lambda X: dbscan(X, max(float(np.abs(X).max()), 1e-140) / 9, 3).labels,
    "silhouette_score": lambda X: silhouette_score(X, CLUSTERS),
    "silhouette_samples": lambda X: silhouette_samples(X, CLUSTERS),
    "responsibilities": lambda X: [
        responsibilities(X, X[::12], sigma) for sigma in (5e-324, 1.0, 1e300)
    ],
}
SCALES = [5e-324, 1e-310, 1e-200, 2e-146, 1e-100, 1e-30, 1.0, 1e17, 1e100, 1e150, 1e300]


def outcome(function, rows):
    """Return what a function finds, or says; nothing else may come out of it."""
    try:
        found = function(rows)
    except (ValueError, TypeError) as error:
        return str(error)
    return found if isinstance(found, tuple | list) else [found]


@pytest.mark.parametrize("function", PUBLIC)
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")  # where differences vanish
def test_numpy_may_be_set_to_raise(function, dtype):
    for scale in SCALES:
        with np.errstate(all="ignore"):
            plain = (X * scale).astype(dtype)
            mixed = plain.copy()
            mixed[:9] = (X[:9] * 1e-300).astype(dtype)
        for rows in (plain, mixed, np.repeat(plain[:1], len(X), axis=0)):
            expected = outcome(PUBLIC[function], rows)
            with np.errstate(all="raise"):
                found = outcome(PUBLIC[function], rows)
            assert type(found) is type(expected), (scale, found, expected)
            if isinstance(expected, str):
                assert found == expected
                assert any(reason in found for reason in REASONS), found
                continue
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_numpy_may_be_set_to_raise_for_every_kernel(kernel_name):
    for scale in (1e-200, 2e-146, 1e-100, 1e17, 1e150):
        mixed = X * scale
        mixed[:9] *= 1e-90
        try:
            expected = kmeans(mixed, 3, kernel=kernel_name, random_state=0)
        except ValueError:  # too small
            continue
        with np.errstate(all="raise"):
            assert_same_fit(kmeans(mixed, 3, kernel=kernel_name, random_state=0), expected)


def test_a_functions_own_settings_do_not_stay():
    with np.errstate(all="raise"):
        before = np.geterr()
        silhouette_score(X, CLUSTERS)
        with pytest.raises(ValueError, match="n_clusters"):
            kmeans(X, 0)
        assert np.geterr() == before


# Weights ------------------------------------------------------------------------------------------

GROUPS = cloud(0, 90, 2) + np.repeat(np.arange(6) * 9, 15)[:, None]
WEIGHTS = np.random.default_rng(5).random(90) + 0.5


class Callback:
    """scikit-learn's protocol: with it, KMeans repeats one fit after the other."""

    def __init__(self):
        self.inertias = []

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "repetition":
            self.inertias.append(fitted_estimator.inertia_)


def watched(seed, weights):
    callback = Callback()
    estimator = KMeans(6, init="random", n_init=8, random_state=seed).set_callbacks(callback)
    estimator.fit(GROUPS, sample_weight=weights)
    assert min(callback.inertias) == estimator.inertia_
    return estimator


REPEATED = {
    "kmeans": lambda seed, w: kmeans(
        GROUPS, 6, init="random", n_init=8, random_state=seed, sample_weight=w
    ),
    "KMeans": lambda seed, w: KMeans(6, init="random", n_init=8, random_state=seed).fit(
        GROUPS, sample_weight=w
    ),
    "KMeans, with callbacks": watched,
    "MiniBatchKMeans": lambda seed, w: MiniBatchKMeans(
        6, init="random", n_init=8, random_state=seed, max_iter=1
    ).fit(GROUPS, sample_weight=w),
}


def answer(found):
    labels, inertia = (
        next(getattr(found, f"{name}{end}") for end in ("", "_") if hasattr(found, f"{name}{end}"))
        for name in ("labels", "inertia")
    )
    return labels.tolist(), inertia


@pytest.mark.parametrize("function", REPEATED)
@pytest.mark.parametrize("exponent", [1022, 1000, -1022, -1060])
def test_the_best_repetition_wins_whatever_the_unit_of_weights(function, exponent):
    for seed in range(4):
        weights = np.rint(WEIGHTS * 256) / 256  # exact even as subnormal numbers
        labels, inertia = answer(REPEATED[function](seed, weights))
        told = exponent == 1022
        with pytest.warns(RuntimeWarning, match=OVERFLOW) if told else nullcontext():
            found = answer(REPEATED[function](seed, np.ldexp(weights, exponent)))
        with np.errstate(over="ignore"):
            assert found == (labels, float(np.ldexp(inertia, exponent)))


@pytest.mark.parametrize("verbose", [0, 1])
def test_an_infinite_inertia_is_told_once(verbose, capsys):
    weights = np.full(90, 1e308)
    for fit in (
        lambda: kmeans(GROUPS, 6, random_state=0, sample_weight=weights, history=bool(verbose)),
        lambda: KMeans(6, random_state=0, verbose=verbose).fit(GROUPS, sample_weight=weights),
        lambda: MiniBatchKMeans(6, random_state=0, verbose=verbose).fit(GROUPS, None, weights),
        lambda: KMeans(6, random_state=0).fit(GROUPS).score(GROUPS, sample_weight=weights),
    ):
        with pytest.warns(RuntimeWarning, match=OVERFLOW) as told:
            fit()
        assert len(told) == 1


def test_what_is_printed_is_in_the_unit_of_the_weights(capsys):
    fitted = KMeans(6, random_state=0, verbose=1).fit(GROUPS, sample_weight=WEIGHTS * 1000)
    printed = [line for line in capsys.readouterr().out.splitlines() if "inertia" in line]
    assert float(printed[-1].split()[-1].rstrip(".")) == pytest.approx(fitted.inertia_)


# Numbers of NumPy's as parameters -----------------------------------------------------------------

MANY = cloud(1, 700, 30, "float32")
IMAGE = np.random.default_rng(2).integers(0, 255, (20, 20, 3)).astype("u1")
#: Each with products that a byte, or two, cannot hold.
NARROW = {
    "kmeans": lambda n: (
        kmeans(
            MANY,
            n(7),
            n_init=n(2),
            max_iter=n(100),
            n_threads=n(2),
            mode="threads",
            random_state=n(5),
            sample_weight=np.arange(700.0),
        ).centers
    ),
    "KMeans": lambda n: (
        KMeans(n(100), n_init=n(1), max_iter=n(9), n_threads=n(2), random_state=n(5))
        .fit(MANY)
        .cluster_centers_
    ),
    "KMeans, elkan": lambda n: (
        KMeans(n(7), algorithm="elkan", init="random", random_state=n(5), verbose=n(0))
        .fit(MANY)
        .transform(MANY)
    ),
    "MiniBatchKMeans": lambda n: (
        MiniBatchKMeans(
            n(100),
            n_init=n(2),
            max_iter=n(9),
            batch_size=n(100),
            init_size=n(120),
            max_no_improvement=n(10),
            random_state=n(5),
        )
        .fit(MANY)
        .cluster_centers_
    ),
    "MiniBatchKMeans.partial_fit": lambda n: (
        MiniBatchKMeans(n(100), random_state=n(5)).partial_fit(MANY).cluster_centers_
    ),
    "dbscan": lambda n: dbscan(MANY, n(6), n(100)).labels,
    "compress": lambda n: compress(IMAGE, n(100), n_init=n(2), random_state=n(5)).palette,
    "silhouette": lambda n: silhouette_samples(MANY, [n(j % 120) for j in range(700)]),
    "responsibilities": lambda n: responsibilities(MANY, MANY[:9], n(100)),
}


@pytest.mark.parametrize("function", NARROW)
@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "uint64", "int64"])
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_integers_of_numpy_count_as_pythons(function, kind):
    number = np.dtype(kind).type
    np.testing.assert_array_equal(NARROW[function](number), NARROW[function](int))


@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
def test_a_grid_of_narrow_integers(estimator):
    grid = {"n_clusters": np.arange(2, 5, dtype=np.uint8)}
    search = GridSearchCV(estimator(random_state=0), grid, cv=2).fit(np.vstack([GROUPS] * 4))
    assert search.best_params_["n_clusters"] == 4
    number = search.best_estimator_.n_clusters
    assert type(number) is np.uint8  # a parameter stays what it was
    assert type(clone(search.best_estimator_).n_clusters) is np.uint8


@pytest.mark.parametrize("stop", ["shift", "shift-norm", "allclose", "labels"])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_narrow_tol_is_that_number(stop, kind):
    wide = MANY.astype("f8") * 1e5  # tol · variance is more than a float16 holds
    tol = kind(1e-3)
    one, other = (kmeans(wide, 7, tol=t, stop=stop, random_state=0) for t in (tol, float(tol)))
    assert one.n_iter == other.n_iter
    assert one.inertia == other.inertia
    rule = STOP_RULES[stop](tol=tol)
    assert kmeans(wide, 7, stop=rule, random_state=0).n_iter == other.n_iter


@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
def test_narrow_numbers_of_an_estimator(estimator):
    wide = MANY.astype("f8") * 1e5
    for name in ("tol", "reassignment_ratio"):
        if hasattr(estimator(), name):
            one, other = (
                estimator(7, random_state=0, **{name: value}).fit(wide).inertia_
                for value in (np.float16(1e-3), float(np.float16(1e-3)))
            )
            assert one == other


def test_names_and_flags_of_numpy():
    names = {"kernel": "cpp", "mode": "serial", "empty": "keep", "stop": "labels"}
    result = kmeans(X, 3, **{k: np.str_(v) for k, v in names.items()}, history=np.True_)
    assert type(result.kernel) is type(result.mode) is str
    assert result.history
    for name in ("mode", "empty"):
        with pytest.raises(ValueError, match=rf"{name}=array.* is not known; choose one of"):
            kmeans(X, 3, **{name: np.array(["a", "b"])})
    with pytest.raises(TypeError, match=r"history=array.* must be True or False"):
        kmeans(X, 3, history=np.array([1, 0]))


@pytest.mark.parametrize("bad", [True, np.True_, 3.0, np.float64(3), "3", 1j, np.array([3, 4])])
def test_what_is_no_integer_is_refused_everywhere(bad):
    takers = [
        lambda: kmeans(X, bad),
        lambda: kmeans(X, 3, n_init=bad),
        lambda: kmeans(X, 3, max_iter=bad),
        lambda: kmeans(X, 3, mode="threads", n_threads=bad),
        lambda: dbscan(X, 1.0, bad),
        lambda: compress(IMAGE, bad),
        lambda: compress(IMAGE, 3, n_init=bad),
        lambda: KMeans(bad).fit(X),
        lambda: KMeans(3, n_init=bad).fit(X),
        lambda: KMeans(3, max_iter=bad).fit(X),
        lambda: KMeans(3, n_threads=bad).fit(X),
        lambda: MiniBatchKMeans(bad).partial_fit(X),
        lambda: MiniBatchKMeans(3, batch_size=bad).fit(X),
        lambda: MiniBatchKMeans(3, init_size=bad).fit(X),
        lambda: MiniBatchKMeans(3, max_no_improvement=bad).fit(X),
    ]
    for take in takers:
        with (
            warnings.catch_warnings(),
            pytest.raises((TypeError, ValueError), match=r"must be (an|a str)"),
        ):
            take()
