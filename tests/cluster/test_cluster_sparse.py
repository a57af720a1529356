"""Sparse blocks on a cluster have the bits of a sparse matrix in memory."""

import os
import signal
from copy import deepcopy

import dask
import dask.array as da
import numpy as np
import pytest
from scipy import sparse

from kmeans_lab import kmeans
from kmeans_lab.dask import KMeans
from kmeans_lab.dask import kmeans as on_cluster
from tests.support.helpers import assert_same_fit

rng = np.random.default_rng(8)
N, D, K = 6000, 90, 7
X = sparse.random_array((N, D), density=0.06, format="csr", rng=rng)
X = X + sparse.csr_array((np.ones(N), (np.arange(N), np.arange(N) % D)), shape=(N, D))  # no zeros
X.data += 3 * (X.indices % K == rng.integers(0, K, X.nnz))
X = sparse.csr_array(X)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def blocks(matrix, n=1700):
    parts = [matrix[i : i + n] for i in range(0, matrix.shape[0], n)]
    return [dask.delayed(lambda part: part)(part) for part in parts]


WAYS = {
    "greedy": {},
    "k-means||": {"init": "k-means||"},
    "random": {"init": "random", "n_init": 2},
    "partition": {"init": "random-partition"},
    "d2": {"init": "d2"},
    "angles": {"metric": "cosine", "init": "random"},
    "labels": {"stop": "labels", "tol": 3},
    "empty": {"init": np.vstack([X[:5].toarray(), np.full((2, D), 50.0)])},
    "history": {"history": True},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_sparse_blocks_have_the_bits_of_memory(client, way, kind):
    settings = {"random_state": 2, "max_iter": 9, "kernel": "cpp-simd"} | deepcopy(WAYS[way])
    rows = X.astype(kind)
    found = on_cluster(blocks(rows), K, client=client, **settings)
    expected = kmeans(rows, K, **settings)
    if way == "history":
        changed = [[it.changed for it in each.history] for each in (found, expected)]
        assert changed[0] == changed[1]
        settings.pop("history")
        found, expected = on_cluster(blocks(rows), K, **settings), kmeans(rows, K, **settings)
    assert_same_fit(found, expected)


def test_a_dask_array_of_sparse_blocks(client):
    rows = da.from_delayed(blocks(X, N)[0], (N, D), X.dtype)
    found = on_cluster(rows, K, client=client, random_state=1, max_iter=5)
    assert_same_fit(found, kmeans(X, K, random_state=1, max_iter=5, kernel="cpp-simd"))


def test_a_worker_that_is_killed(started):
    settings = {"random_state": 4, "max_iter": 6, "tol": 0, "kernel": "cpp-simd"}
    with started(2) as client:

        def kill(iteration):
            if iteration.n_iter in (2, 5):
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        found = on_cluster(blocks(X), K, client=client, callback=kill, **settings)
    assert_same_fit(found, kmeans(X, K, **settings))


def test_the_estimator(client):
    fitted = KMeans(K, init="k-means++", random_state=3, client=client).fit(blocks(X))
    expected = kmeans(
        X, K, random_state=np.random.default_rng(0), init=fitted.cluster_centers_, max_iter=1
    )
    np.testing.assert_array_equal(client.compute(fitted.labels_).result(), expected.labels)


def test_rows_of_nothing_but_zeros(client):
    rows = sparse.csr_array((400, 5))
    found = on_cluster(blocks(rows, 150), 2, client=client, random_state=0)
    assert_same_fit(found, kmeans(rows, 2, random_state=0, kernel="cpp-simd"))


def test_what_sparse_blocks_cannot(client):
    bad = X.copy()
    bad.data[np.flatnonzero(np.repeat(np.arange(N), np.diff(X.indptr)) == 4000)[0]] = np.inf
    column = bad.indices[bad.indptr[4000]]
    with pytest.raises(ValueError, match=rf"^X\[4000, {column}\] is inf and every value"):
        on_cluster(blocks(bad), K, client=client)
    with pytest.raises(TypeError, match="X has sparse blocks and others"):
        on_cluster([*blocks(X), *blocks(X[:10].toarray())], K, client=client)
    with pytest.raises(ValueError, match="whose weighted sums depend on the order"):
        on_cluster(blocks(X), K, client=client, sample_weight=np.ones(N))
    with pytest.raises(ValueError, match=r"on a cluster; use 'cpp-simd' or, with dense"):
        on_cluster(blocks(X), K, client=client, kernel="cpp")
    zero = sparse.vstack([X, sparse.csr_array((1, D))])
    with pytest.raises(ValueError, match=r"^X\[6000\] holds only zeros and metric='cosine'"):
        on_cluster(blocks(zero), K, client=client, metric="cosine")
