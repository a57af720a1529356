"""Estimators on rows that are not an array: the bits of memory, and what is refused."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from kmeans_lab import KMeans, MiniBatchKMeans
from kmeans_lab.io.errors import Refused
from kmeans_lab.rows import CalledRows, JoinedRows, NpyRows
from kmeans_lab.rows.memory import LEAST
from kmeans_lab.rows.streamed import StreamedRows

N, D, K = 120_000, 6, 5
WEIGHTS = np.random.default_rng(1).integers(0, 4, N).astype(float)
WAYS = {
    "plain": {},
    "weighted": {"sample_weight": WEIGHTS},
    "cosine": {"metric": "cosine"},
    "by the textbook": {"kernel": "cpp"},
    "by NumPy": {"kernel": "numpy"},
    "random": {"init": "random", "n_init": 2},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return rows and their file by dtype, far from the origin in one column."""
    rng, found = np.random.default_rng(5), {}
    rows = rng.normal(size=(N, D)) * rng.uniform(0.1, 3, D) + 4 * rng.integers(0, 3, (N, D))
    rows[:, 2] += 1000
    for kind in ("float32", "float64", "int16"):
        path = tmp_path_factory.mktemp("rows") / f"{kind}.npy"
        np.save(path, rows.astype(kind))
        found[kind] = np.load(path), path
    return found


@pytest.fixture
def little_memory(monkeypatch):
    """Let no rows of these tests fit into half of what is free."""
    monkeypatch.setattr("kmeans_lab.rows.memory.free_bytes", lambda: 0)
    monkeypatch.setattr("kmeans_lab.estimators.streamed.fits", lambda *_: False)
    monkeypatch.setattr("kmeans_lab.rows.streamed.fits", lambda *_: False)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def called(rows):
    return CalledRows(lambda start, stop: rows[start:stop], rows.shape, rows.dtype)


def pair(estimator, way, rows, source, **settings):
    """Return two fits in one way: of an array, and of the same rows in a source."""
    settings |= WAYS[way]
    weights = settings.pop("sample_weight", None)
    model = estimator(K, random_state=3, **settings)
    return [clone(model).fit(it, sample_weight=weights) for it in (rows, source)]


def assert_same(one, other):
    assert one.cluster_centers_.dtype == other.cluster_centers_.dtype
    assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert (one.inertia_, one.n_iter_) == (other.inertia_, other.n_iter_)
    assert one.n_features_in_ == other.n_features_in_ == D


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", ["float32", "float64", "int16"])
@pytest.mark.parametrize("way", WAYS)
def test_fits_have_the_bits_of_memory(saved, way, kind):
    rows, path = saved[kind]
    assert_same(*pair(KMeans, way, rows, path, max_iter=4))
    batches = pair(MiniBatchKMeans, way, rows, path, tol=1e-3, max_iter=2)
    assert_same(*batches)
    assert batches[0].n_steps_ == batches[1].n_steps_


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
def test_sources_of_all_kinds_have_the_bits_of_memory(saved, estimator):
    rows, path = saved["float32"]
    np.save("a.npy", rows[:70_001])
    np.save("b.npy", rows[70_001:])
    files = ["a.npy", Path("b.npy")]
    for source in (
        str(path),
        called(rows),
        files,
        JoinedRows([NpyRows("a.npy"), called(rows[70_001:])]),
    ):
        assert_same(*pair(estimator, "plain", rows, source, max_iter=2))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("way", ["plain", "weighted", "cosine", "by NumPy"])
@pytest.mark.parametrize("kind", ["float32", "float64", "int16"])
def test_what_is_found_of_sources_has_the_bits_of_memory(saved, way, kind):
    rows, path = saved[kind]
    settings = WAYS[way] | {"max_iter": 2}
    weights = settings.pop("sample_weight", None)
    model = KMeans(K, random_state=0, **settings).fit(saved["float32"][0])
    for source in (path, called(rows)):
        np.testing.assert_array_equal(model.predict(source), model.predict(rows))
        found = model.transform(source)
        assert found.dtype == model.transform(rows).dtype
        np.testing.assert_array_equal(found, model.transform(rows))
        assert model.score(source, sample_weight=weights) == model.score(
            rows, sample_weight=weights
        )


def test_predict_holds_some_rows_at_a_time(saved):
    rows, path = saved["float64"]
    model, longest = KMeans(K, random_state=0).fit(rows[:1000]), []

    def read(start, stop):
        longest.append(stop - start)
        return np.tile(rows, (5, 1))[start:stop]

    source = CalledRows(read, (5 * N, D))
    assert len(model.predict(source)) == 5 * N
    assert max(longest) * D * 8 <= 1 << 23
    assert model.predict(path).tobytes() == model.predict(rows).tobytes()


@pytest.mark.parametrize("estimator", [KMeans, MiniBatchKMeans])
def test_what_fits_is_read_at_once(saved, estimator):
    rows = saved["float64"][0][:5000]
    lengths = []

    def read(start, stop):
        lengths.append(stop - start)
        return rows[start:stop]

    assert_same(*pair(estimator, "plain", rows, CalledRows(read, rows.shape)))
    assert lengths == [5000]


@pytest.mark.usefixtures("little_memory")
def test_methods_of_one_call(saved):
    rows, path = saved["float32"]
    for model in (
        KMeans(K, random_state=0, max_iter=2),
        MiniBatchKMeans(K, random_state=0, compute_labels=False),
    ):
        np.testing.assert_array_equal(model.fit_predict(path), model.fit_predict(rows))
    model = KMeans(K, random_state=0, max_iter=2)
    np.testing.assert_array_equal(model.fit_transform(path), model.fit_transform(rows))
    held = make_pipeline(clone(model)).fit(path)
    np.testing.assert_array_equal(held.predict(rows), model.predict(path))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(path), model.predict(path))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("way", ["plain", "cosine"])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_callable_start_slices_rows_like_an_array(saved, way, kind):
    def init(X, n_clusters, random_state):
        return np.asarray(X[random_state.choice(len(X), n_clusters)])

    assert_same(*pair(KMeans, way, *saved[kind], init=init, n_init=1, max_iter=2))
    assert_same(*pair(MiniBatchKMeans, way, *saved[kind], init=init, n_init=1))


class Scores:
    """Keeps what a fit that had ended with each iteration would have found."""

    def __init__(self):
        self.seen = []

    def setup(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name == "iteration":
            labels, rows = fitted_estimator.labels_, X[[3, 1]]
            self.seen.append((fitted_estimator.inertia_, labels.tobytes(), rows.tobytes()))

    def teardown(self, estimator, context):
        """Do nothing."""


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("way", ["plain", "weighted"])
def test_callbacks_see_what_they_see_in_memory(saved, way):
    seen = []
    for X in saved["float32"]:
        told = Scores()
        model = KMeans(K, random_state=3, max_iter=3).set_callbacks(told)
        model.fit(X, **WAYS[way])
        seen.append(told.seen)
    assert len(seen[0]) == 3
    assert seen[0] == seen[1]


def test_partial_fit_takes_a_source_as_one_batch(saved, monkeypatch):
    rows, path = saved["float32"]
    one, other = (MiniBatchKMeans(K, random_state=0).partial_fit(it) for it in (rows, path))
    assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
    np.testing.assert_array_equal(one.labels_, other.labels_)
    one.partial_fit(rows[:99])
    other.partial_fit(called(rows[:99]))
    assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
    monkeypatch.setattr("kmeans_lab.rows.memory.free_bytes", lambda: 0)
    big = CalledRows(lambda start, stop: pytest.fail("nothing is read"), (10**6, D))
    told = r"^the 1,000,000 rows of <lambda> do not fit into 17 MB, half of what is free, and a"
    with pytest.raises(ValueError, match=told):
        other.partial_fit(big)


def verb_of(name):
    """Return a call of a method of an estimator that was fitted to something else."""

    def call(source, **more):
        model = KMeans(3, random_state=0).fit(np.eye(6)).set_params(**more)
        return getattr(model, name)(source)

    return call


VERBS = {
    "KMeans.fit": lambda source, **more: KMeans(3, random_state=0, **more).fit(source),
    "MiniBatchKMeans.fit": lambda source, **more: MiniBatchKMeans(3, **more).fit(source),
    **{name: verb_of(name) for name in ("predict", "transform", "score")},
}


def changed(place, value, kind="f8"):
    rows = np.random.default_rng(0).normal(size=(N, D)).astype(kind)
    rows[place] = value
    return rows


CASES = {
    "one dimension": (np.zeros(9), ValueError, r"shape \(9,\) and must hold rows"),
    "no rows": (np.zeros((0, D)), ValueError, r"shape \(0, 6\) and must hold rows"),
    "words": (np.full((9, D), "a"), TypeError, r"holds <U1 and must hold real numbers"),
    "not finite": (
        changed((N - 9, 3), np.inf),
        ValueError,
        rf"^X\[{N - 9}, 3\] is inf and every value must be finite; drop or fill such rows first",
    ),
    "too large": (changed((5, 3), 1e200), ValueError, r"1e\+200 overflows in a squared distance"),
}


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("case", CASES)
def test_what_no_source_may_be_is_said_in_one_sentence(verb, case):
    rows, error, sentence = CASES[case]
    np.save("rows.npy", rows)
    with pytest.raises(error, match=sentence) as caught:
        VERBS[verb]("rows.npy")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("verb", VERBS)
def test_files_that_are_not_there_or_cut_short(verb):
    with pytest.raises(Refused, match=r"^there is no file absent\.npy; check the path"):
        VERBS[verb]("absent.npy")
    np.save("rows.npy", np.zeros((9, D)))
    os.truncate("rows.npy", 200)
    with pytest.raises(Refused, match=r"^rows\.npy is truncated: it has 200 bytes and its 9 rows"):
        VERBS[verb]("rows.npy")


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("verb", VERBS)
def test_files_that_change_meanwhile(verb):
    rows = changed(0, 0.5)
    np.save("rows.npy", rows)
    source = NpyRows("rows.npy")
    os.utime("rows.npy", ns=(1, 1))
    with pytest.raises(Refused, match=r"^rows\.npy has changed since the fit began"):
        VERBS[verb](source)
    source = NpyRows("rows.npy")
    os.truncate("rows.npy", 10_000)
    with pytest.raises(Refused, match=r"^rows\.npy was cut short while it was read"):
        VERBS[verb](source)


@pytest.mark.usefixtures("little_memory")
def test_batches_of_a_file_that_is_cut_short_or_changes():
    rows = changed(0, 0.5)
    for labels, spoil, sentence in (
        (True, lambda: os.truncate("rows.npy", 10_000), r"was cut short while it was read: rows"),
        (False, lambda: os.utime("rows.npy", ns=(1, 1)), r"rows\.npy has changed since"),
    ):
        np.save("rows.npy", rows)

        def init(X, n_clusters, random_state, spoil=spoil):
            spoil()
            return X[:n_clusters]

        model = MiniBatchKMeans(3, init=init, n_init=1, compute_labels=labels)
        with pytest.raises(Refused, match=sentence):
            model.fit("rows.npy")


@pytest.mark.usefixtures("little_memory")
def test_batches_whose_values_are_no_longer_finite():
    rows, reads = changed(0, 0.5), []

    def read(start, stop):
        reads.append(stop - start)
        return rows[start:stop] if sum(reads) <= N else np.full((stop - start, D), np.nan)

    with pytest.raises(ValueError, match=r"^read has returned values that are not finite and were"):
        MiniBatchKMeans(3, random_state=0, batch_size=10).fit(CalledRows(read, rows.shape))


@pytest.mark.usefixtures("little_memory")
def test_rows_are_held_to_the_fit(saved):
    rows, path = saved["float64"]
    model = KMeans(3, random_state=0, max_iter=2).fit(path)
    np.save("narrow.npy", rows[:, :4])
    for verb in (model.predict, model.transform, model.score):
        with pytest.raises(ValueError, match="X has 4 features, but KMeans is expecting 6"):
            verb("narrow.npy")
    np.save("few.npy", rows[:2])
    for estimator in (KMeans, MiniBatchKMeans):
        with pytest.raises(ValueError, match=r"^n_samples=2 should be >= n_clusters=3\.$"):
            estimator(3).fit("few.npy")
    for verb in VERBS.values():
        with pytest.raises(ValueError, match="kernel='gpu' is not known"):
            verb(path, kernel="gpu")
    with pytest.raises(ValueError, match="takes all rows at once"):
        KMeans(3, kernel="numpy-broadcast").fit(path)


@pytest.mark.usefixtures("little_memory")
def test_a_row_of_zeros_has_no_direction():
    np.save("rows.npy", changed(N - 7, 0.0))
    for verb in (
        KMeans(3, metric="cosine").fit,
        MiniBatchKMeans(3, metric="cosine").fit,
        KMeans(3, metric="cosine", random_state=0).fit(1 + np.eye(D)).predict,
    ):
        with pytest.raises(ValueError, match=rf"^X\[{N - 7}\] holds only zeros"):
            verb("rows.npy")


def test_a_value_that_is_not_finite_is_named_where_angles_are_compared():
    np.save("rows.npy", changed((5, 3), -np.inf))
    model = KMeans(3, metric="cosine", random_state=0).fit(1 + np.eye(D))
    with pytest.raises(ValueError, match=r"^X\[5, 3\] is -inf and every value must be finite"):
        model.predict("rows.npy")


def test_distances_that_memory_does_not_hold(monkeypatch):
    model = KMeans(3, random_state=0).fit(np.eye(6))
    monkeypatch.setattr("kmeans_lab.rows.memory.free_bytes", lambda: 2 * LEAST)
    source = CalledRows(lambda start, stop: pytest.fail("nothing is read"), (10**6, D))
    told = r"^the distances of the 1,000,000 rows of <lambda> to 3 centers take 24 MB and must fit"
    with pytest.raises(MemoryError, match=told):
        model.transform(source)


def test_random_rows_of_a_source_are_those_of_memory(saved):
    rows, path = saved["float64"]
    numbers = np.random.default_rng(0).integers(0, N, 500)
    numbers[:50] = np.arange(70_000, 70_050)
    np.save("a.npy", rows[:70_001])
    np.save("b.npy", rows[70_001:])
    joined = JoinedRows([NpyRows("a.npy"), called(rows[70_001:])])
    for source in (NpyRows(path), called(rows), joined):
        taken = StreamedRows(source, np.dtype("f8"))
        np.testing.assert_array_equal(taken[numbers], rows[numbers])
        np.testing.assert_array_equal(taken.relative_to(rows[0])[numbers], rows[numbers] - rows[0])
        assert taken[numbers[:0]].shape == (0, D)
