"""KMeans and MiniBatchKMeans on sparse matrices: what they find is what they find on arrays."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from kmeans_lab import KMeans, MiniBatchKMeans

TEXTS = [
    f"{topic} {word} {number % 3}"
    for number in range(20)
    for topic, word in (("kernel cache vector", "lane"), ("garden rose tulip", "soil"))
]


def matrix(seed=0, shape=(300, 50), dtype=np.float64):
    rng = np.random.default_rng(seed)
    centers = rng.random((5, shape[1])) * (rng.random((5, shape[1])) < 0.2)
    dense = centers[rng.integers(0, 5, shape[0])] + 0.05 * rng.random(shape)
    return sparse.csr_array((dense * (rng.random(shape) < 0.6)).astype(dtype))


X = matrix()


@pytest.mark.parametrize("weighted", [False, True])
def test_all_methods_agree_with_dense_rows(dtype, weighted):
    rows = matrix(dtype=dtype)
    weights = np.random.default_rng(0).random(300) if weighted else None
    start = rows[:5].toarray()
    found = KMeans(5, init=start, n_init=1, tol=0).fit(rows, sample_weight=weights)
    dense = KMeans(5, init=start, n_init=1, tol=0).fit(rows.toarray(), sample_weight=weights)
    close = {"rtol": 1e-12 if dtype == "float64" else 1e-5}
    np.testing.assert_array_equal(found.labels_, dense.labels_)
    np.testing.assert_allclose(found.inertia_, dense.inertia_, **close)
    other = matrix(1, dtype=dtype)
    np.testing.assert_array_equal(found.predict(other), dense.predict(other.toarray()))
    np.testing.assert_allclose(found.transform(other), dense.transform(other.toarray()), **close)
    np.testing.assert_array_equal(found.transform(other).argmin(axis=1), found.predict(other))
    np.testing.assert_allclose(found.score(other), dense.score(other.toarray()), **close)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(other), found.predict(other))


def test_a_model_of_dense_rows_predicts_sparse_ones_and_the_other_way_round():
    dense = KMeans(5, random_state=0).fit(X.toarray())
    np.testing.assert_array_equal(dense.predict(X), dense.predict(X.toarray()))
    fitted = KMeans(5, random_state=0).fit(X)
    np.testing.assert_array_equal(fitted.predict(X.toarray()), fitted.predict(X))


@pytest.mark.parametrize("n_features", [49, 51])
def test_the_number_of_features_is_held_to(n_features):
    fitted = KMeans(5, random_state=0).fit(X)
    with pytest.raises(ValueError, match=f"X has {n_features} features, but KMeans is .* 50"):
        fitted.predict(matrix(shape=(4, n_features)))


def test_a_function_that_draws_the_start_sees_a_sparse_matrix():
    def init(rows, n_clusters, random_state):
        assert sparse.issparse(rows)
        return rows[random_state.choice(rows.shape[0], n_clusters)].toarray()

    assert KMeans(5, init=init, n_init=1, random_state=0).fit(X).n_iter_ >= 1
    assert MiniBatchKMeans(5, init=init, n_init=1, random_state=0).fit(X).n_iter_ >= 1


@pytest.mark.parametrize("weighted", [False, True])
def test_mini_batches_are_those_of_dense_rows(weighted):
    weights = np.random.default_rng(0).random(300) if weighted else None
    found, dense = (
        MiniBatchKMeans(5, random_state=0, batch_size=64).fit(rows, sample_weight=weights)
        for rows in (X, X.toarray())
    )
    np.testing.assert_array_equal(found.labels_, dense.labels_)
    np.testing.assert_allclose(found.cluster_centers_, dense.cluster_centers_, atol=1e-12)


def test_batches_come_one_by_one():
    found = MiniBatchKMeans(5, random_state=0)
    for seed in range(4):
        found.partial_fit(matrix(seed))
    with pytest.raises(ValueError, match="X has 7 features, but MiniBatchKMeans is expecting 50"):
        found.partial_fit(matrix(shape=(20, 7)))
    assert found.n_steps_ == 4
    assert found.predict(X).shape == (300,)


def test_starved_centers_begin_anew_at_rows():
    rows = sparse.csr_array(np.repeat(np.eye(3), 200, axis=0))
    start = np.concatenate([np.eye(3)[:2], 50 + np.eye(3)[:1]])
    found = MiniBatchKMeans(3, init=start, n_init=1, batch_size=100, random_state=0, max_iter=20)
    found.fit(rows)
    assert found.inertia_ < 1  # of 100, where two clusters share a center


def test_texts_are_clustered_in_a_pipeline():
    for cluster in (KMeans(2, random_state=0), MiniBatchKMeans(2, random_state=0)):
        labels = make_pipeline(TfidfVectorizer(), cluster).fit_predict(TEXTS)
        assert len(set(labels[::2])) == len(set(labels[1::2])) == 1
        assert labels[0] != labels[1]
