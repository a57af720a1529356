"""The estimator on a cluster has the bits of the one in memory; labels stay on the workers."""

import pickle
from copy import deepcopy

import dask
import dask.array as da
import numpy as np
import pytest
from sklearn.base import clone

import kmeans_lab
from kmeans_lab.dask import KMeans

rng = np.random.default_rng(3)
X = rng.normal(size=(20_000, 4)) + 6 * rng.integers(0, 2, (20_000, 4))
X[:, 2] -= 40
W = rng.integers(0, 4, 20_000).astype(float)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def rows(n=6000):
    return da.from_array(X, chunks=(n, 2))


@pytest.mark.parametrize("weights", [None, W])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_it_finds_what_the_local_one_finds(client, weights, metric):
    settings = {"init": "k-means++", "random_state": 5, "metric": metric}
    found = KMeans(6, client=client, **settings).fit(rows(), sample_weight=weights)
    expected = kmeans_lab.KMeans(6, **settings).fit(X, sample_weight=weights)
    assert found.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()
    assert (found.inertia_, found.n_iter_) == (expected.inertia_, expected.n_iter_)
    assert found.labels_.chunks == ((6000, 6000, 6000, 2000),)
    labels = np.asarray(client.compute(found.labels_).result())
    np.testing.assert_array_equal(labels, expected.labels_)


def test_predict_transform_and_score(client):
    fitted = KMeans(5, random_state=0, client=client).fit(rows())
    local = fitted.to_local()
    assert isinstance(local, kmeans_lab.KMeans)
    predicted = fitted.predict(rows(7000))
    assert predicted.chunks == ((7000, 7000, 6000),)
    np.testing.assert_array_equal(client.compute(predicted).result(), local.predict(X))
    distances = fitted.transform(rows())
    assert distances.shape == (20_000, 5)
    np.testing.assert_array_equal(client.compute(distances).result(), local.transform(X))
    assert fitted.score(rows()) == pytest.approx(local.score(X))
    weighted = fitted.score(rows(), sample_weight=da.from_array(W, chunks=5000))
    assert weighted == pytest.approx(local.score(X, sample_weight=W))
    np.testing.assert_array_equal(fitted.predict(X[:10]), local.predict(X[:10]))
    assert fitted.score(X) == local.score(X)


def test_empty_and_unknown_blocks(client):
    blocks = [dask.delayed(np.asarray)(it) for it in (X[:0], X[:9000], X[9000:])]
    fitted = KMeans(4, random_state=1).fit(blocks)  # the current client
    assert fitted.labels_.chunks == ((9000, 11_000),)
    unknown = rows()[da.from_array(X[:, 0] > 1e9, chunks=6000) | (da.arange(20_000) < 50)]
    predicted = fitted.predict(unknown)
    np.testing.assert_array_equal(predicted.compute(), fitted.to_local().predict(X[:50]))


def test_a_frame(client):
    import dask.dataframe as dd
    import pandas as pd

    frame = dd.from_pandas(pd.DataFrame(X), npartitions=3)
    fitted = KMeans(4, random_state=1, client=client).fit(frame)
    expected = client.compute(fitted.labels_).result()
    np.testing.assert_array_equal(client.compute(fitted.predict(frame)).result(), expected)


def test_weights_of_any_size_and_form(client):
    settings = {"init": "k-means++", "random_state": 5, "max_iter": 3}
    for weights in (np.arange(20_000), 2.0, rng.random(20_000), np.ones(20_000)):
        found = KMeans(6, client=client, **settings).fit(rows(), sample_weight=weights)
        expected = kmeans_lab.KMeans(6, **settings).fit(X, sample_weight=weights)
        assert found.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()
        score = found.score(rows(), sample_weight=weights)
        assert score == pytest.approx(expected.score(X, sample_weight=weights))
    light = np.r_[np.zeros(6000), np.ones(14_000)]
    local = found.to_local().score(X, sample_weight=light)
    assert found.score(rows(), sample_weight=light) == pytest.approx(local)
    for wrong in (np.ones(19_999), -np.ones(20_000), np.zeros(20_000)):
        with pytest.raises(ValueError, match=r"^sample_weight"):
            KMeans(6, client=client).fit(rows(), sample_weight=wrong)
        with pytest.raises(ValueError, match=r"^sample_weight"):
            found.score(rows(), sample_weight=wrong)


def test_an_estimator_with_a_client_is_copied(client):
    fitted = KMeans(3, init="random", n_init=1, random_state=0, client=client).fit(rows())
    again = clone(fitted)
    assert again.client is client
    assert not hasattr(again, "labels_")
    assert deepcopy(KMeans(3, client=client)).client is client
    alone = pickle.loads(pickle.dumps(KMeans(3, client=client)))
    assert alone.client is None
    assert alone.n_clusters == 3


def test_parameters_are_those_of_scikit_learn(client):
    given = KMeans(3, init=X[:3], client=client)
    again = clone(given.set_params(client=None))
    assert again.get_params()["n_clusters"] == 3
    with pytest.raises(ValueError, match="The 'init' parameter of KMeans must be"):
        KMeans(3, init="first", client=client).fit(rows())
    with pytest.raises(ValueError, match="max_iter"):
        KMeans(3, max_iter=0, client=client).fit(rows())
    with pytest.raises(AttributeError, match="not fitted"):
        KMeans(3).to_local()
    fitted = given.set_params(client=client, n_init=1).fit(rows())
    with pytest.raises(ValueError, match="4 features"):
        fitted.predict(rows()[:, :3]).compute()
