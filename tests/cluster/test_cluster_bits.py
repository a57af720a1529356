"""A fit on a cluster has the bits of one in memory: whatever the blocks, workers and losses."""

import threading
from copy import deepcopy
from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client

from kmeans_lab import kmeans
from kmeans_lab.dask import crew, source
from kmeans_lab.dask import kmeans as on_cluster
from kmeans_lab.dask.distances import chances_of
from kmeans_lab.dask.source import _split
from kmeans_lab.rows import CalledRows, NpyRows
from tests.support.helpers import assert_same_fit

rng = np.random.default_rng(0)
X = rng.normal(size=(30_000, 5)) * rng.uniform(0.2, 2, 5) + 3 * rng.integers(0, 3, (30_000, 5))
X[:, 1] += 500
K = 8
WEIGHTS = rng.integers(0, 3, 30_000).astype(float)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


WAYS = {
    "greedy": {},
    "labels": {"stop": "labels", "tol": 5},
    "weights": {"sample_weight": WEIGHTS},
    "angles": {"metric": "cosine"},
    "repeated": {"init": "random", "n_init": 2},
    "k-means||": {"init": "k-means||"},
    "k-means||, weights": {
        "init": "k-means||",
        "sample_weight": rng.uniform(0, 2, 30_000),
        "random_state": np.random.default_rng(9),
    },
    "greedy, weights": {"sample_weight": rng.uniform(0, 2, 30_000)},
    "chances": {"init": "k-means||", "random_state": np.random.Generator(np.random.MT19937(2))},
    "empty": {"init": np.vstack([X[:6], np.full((2, 5), 1e4)])},
    "cython": {"kernel": "cython-tiled"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["f8", "f4"])
def test_a_dask_array_has_the_bits_of_memory(client, way, kind):
    rows = X.astype(kind)
    settings = {"random_state": 4, "max_iter": 8} | deepcopy(WAYS[way])  # generators draw on
    found = on_cluster(da.from_array(rows, chunks=(7000, 2)), K, client=client, **settings)
    assert found.mode == "dask"
    settings = {"random_state": 4, "max_iter": 8} | deepcopy(WAYS[way])
    assert_same_fit(found, kmeans(rows, K, **settings))


def frame():
    import dask.dataframe as dd
    import pandas as pd

    return dd.from_pandas(pd.DataFrame(X), npartitions=5)


def delayed(*blocks):
    return [dask.delayed(np.asarray)(block) for block in blocks]


def of_unknown_sizes():
    return da.from_array(X, chunks=(8000, 5))[da.from_array(np.ones(30_000, bool), chunks=8000)]


FORMS = {
    "frame": frame,
    "delayed blocks": lambda: delayed(*(X[i : i + 9000] for i in range(0, 30_000, 9000))),
    "empty blocks": lambda: delayed(X[:0], X[:5], X[5:5], X[5:]),
    "unknown sizes": of_unknown_sizes,
    "one block": lambda: da.from_array(X, chunks=-1),
}


@pytest.mark.parametrize("form", FORMS)
def test_blocks_of_any_form(client, form):
    settings = {"random_state": 1, "max_iter": 4, "init": "random"}
    assert_same_fit(
        on_cluster(FORMS[form](), K, client=client, **settings), kmeans(X, K, **settings)
    )


def test_rows_of_a_file(client, tmp_path):
    np.save(tmp_path / "X.npy", X)
    settings = {"random_state": 1, "max_iter": 4, "init": "random"}
    found = on_cluster(NpyRows(tmp_path / "X.npy"), K, **settings)  # the current client
    assert_same_fit(found, kmeans(X, K, **settings))


def test_history_and_callback(client):
    settings = {"random_state": 2, "max_iter": 5, "history": True}
    seen = []
    rows = da.from_array(X, chunks=(9000, 5))
    found = on_cluster(
        rows, K, client=client, callback=lambda it: seen.append(it.labels), **settings
    )
    expected = kmeans(X, K, **settings)
    assert_same_fit(replace(found, history=()), replace(expected, history=()))
    assert [it.changed for it in found.history] == [it.changed for it in expected.history]
    assert len(seen) == found.n_iter


@pytest.mark.parametrize("init", ["k-means++", "k-means||"])
def test_arrays_that_are_sent_once(client, init, monkeypatch):
    monkeypatch.setattr(source, "_LARGE", 100)  # bytes: centers, points and weights are larger
    monkeypatch.setattr(source, "_GROUP", 100_000)  # and a task has few blocks
    monkeypatch.setattr(crew, "_TOGETHER", 2)
    settings = {"random_state": 4, "max_iter": 5, "init": init, "sample_weight": WEIGHTS}
    found = on_cluster(da.from_array(X, chunks=(2000, 5)), K, client=client, **settings)
    assert_same_fit(found, kmeans(X, K, **settings))


def test_workers_forget(client):
    from kmeans_lab.dask import nearest, tasks

    for init in ("k-means++", "k-means||"):
        rows = da.from_array(X, chunks=(9000, 5))
        on_cluster(rows, K, client=client, max_iter=2, init=init)
    assert set(client.run(lambda: len(tasks._blocks)).values()) == {0}
    assert set(client.run(nearest.remembered).values()) == {0}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"mode": "threads"}, "mode='threads' has no meaning on a cluster"),
        ({"memory": "1GB"}, "memory='1GB' has no meaning on a cluster"),
        ({"kernel": "cpp"}, "kernel='cpp' adds rows up in the order in which they come"),
        ({"n_clusters": 10**6}, "n_clusters=1000000 must be at most n_samples=30000"),
    ],
)
def test_what_has_no_meaning_on_a_cluster(client, settings, sentence):
    arguments = {"n_clusters": K, "client": client} | settings
    with pytest.raises(ValueError, match=sentence):
        on_cluster(da.from_array(X, chunks=(9000, 5)), **arguments)


def test_rows_that_are_not_finite_or_fit(client):
    bad = X.copy()
    bad[20_000, 3] = np.nan
    with pytest.raises(ValueError, match=r"^X\[20000, 3\] is nan"):
        on_cluster(da.from_array(bad, chunks=(9000, 5)), K, client=client)
    blocks = delayed(X[:10], X[:10, :2])
    with pytest.raises(ValueError, match="X has blocks of 2, 5 columns and all must have"):
        on_cluster(blocks, K, client=client)
    with pytest.raises(TypeError, match="X of type ndarray must be a dask array or frame"):
        on_cluster(X, K, client=client)


def test_more_bytes_than_the_workers_have(started):
    with started(1, memory_limit="200MB") as client:
        rows = da.zeros((10**6, 50), chunks=(10**5, 50))
        with pytest.raises(ValueError, match="X takes 400,000,000 bytes and the 1 work"):
            on_cluster(rows, K, client=client)


def test_blocks_that_are_too_large_for_a_worker_are_split():
    whole = da.zeros((1000, 4), chunks=(700, 4))
    assert _split(whole, 4 * 8 * 300).chunks[0] == (300, 300, 100, 300)
    assert _split(whole, 0) is whole
    assert _split(whole, 4 * 8 * 700) is whole


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_numbers_are_those_of_a_generator_that_draws_for_all_rows(kind):
    bits = getattr(np.random, kind)
    rng, other = (np.random.Generator(bits(7)) for _ in range(2))
    for each in (rng, other):
        each.integers(10, dtype=np.uint32)  # half of a number is left
    found = chances_of(rng, [100, 150, 400])
    drawn = np.concatenate([it.random(n) for it, n in zip(found, (100, 50, 250), strict=True)])
    np.testing.assert_array_equal(drawn, other.random(400))
    assert rng.integers(1 << 30, dtype=np.uint32) == other.integers(1 << 30, dtype=np.uint32)
    assert rng.random() == other.random()


def test_a_file_is_never_overwritten_and_may_be_a_path(client, tmp_path):
    np.save(tmp_path / "X.npy", X)
    before = (tmp_path / "X.npy").read_bytes()
    settings = {"random_state": 1, "max_iter": 3, "init": "random"}
    found = on_cluster([tmp_path / "X.npy"], K, client=client, **settings)
    assert_same_fit(found, kmeans(X, K, **settings))
    for name in ("labels_out", "resume"):
        with pytest.raises(ValueError, match=f"^{name}=.* is the file that the rows are in"):
            on_cluster(tmp_path / "X.npy", K, client=client, **{name: tmp_path / "X.npy"})
    assert (tmp_path / "X.npy").read_bytes() == before


def test_a_file_that_changes_is_an_error(client, tmp_path):
    np.save(tmp_path / "X.npy", X)

    def change(iteration):
        np.save(tmp_path / "X.npy", X[::-1] * 3)

    with pytest.raises(ValueError, match=r"X\.npy"):
        on_cluster(tmp_path / "X.npy", K, client=client, init="random", callback=change)


def test_a_source_that_returns_something_else(client):
    short = CalledRows(lambda first, last: X[first : last - 1], X.shape)
    with pytest.raises(ValueError, match="check shape and read"):
        on_cluster(short, K, client=client)
    wide = CalledRows(lambda first, last: X[first:last], X.shape, np.float32)
    settings = {"random_state": 1, "max_iter": 3, "init": "random"}
    found = on_cluster(wide, K, client=client, **settings)
    assert_same_fit(found, kmeans(X.astype("f4"), K, **settings))
    lock = threading.Lock()
    held = CalledRows(lambda first, last: X[first:last] if lock else None, X.shape)
    with pytest.raises(TypeError, match="cannot be sent to workers"):
        on_cluster(held, K, client=client)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: da.from_array(X[:, :0], chunks=(9000, 0)), "X has no columns"),
        (lambda: [], "X has no rows"),
        (lambda: delayed(X[:0]), "X has no rows"),
        (lambda: delayed(3.0), "block 0 of X: it has 0 dimensions"),
        (lambda: delayed(X.reshape(-1, 5, 1)), "block 0 of X: it has 3 dimensions"),
        (lambda: da.from_array(X[:, 0], chunks=9000), r"use X\.reshape\(-1, 1\)"),
        (lambda: da.from_array(X.reshape(-1, 5, 1), chunks=9000), r"use X\.reshape\(-1, X\.shape"),
    ],
)
def test_what_is_no_matrix(client, make, sentence):
    with pytest.raises(ValueError, match=sentence):
        on_cluster(make(), K, client=client)


def test_integers_that_are_rounded_are_warned_of(client):
    rows = np.zeros((100, 2), np.int64)
    rows[70, 1] = 2**53 + 1
    with pytest.warns(UserWarning, match=r"^X\[70, 1\] is 9007199254740993"):
        on_cluster(da.from_array(rows, chunks=(30, 2)), 2, client=client, init="first")


def test_what_is_wrong_in_a_block_is_said_with_its_number(client):
    masked = np.ma.masked_array(X[:50], mask=False)
    masked[3, 1] = np.ma.masked
    blocks = [*delayed(X[:10]), dask.delayed(lambda rows: rows)(masked)]
    with pytest.raises(ValueError, match=r"^block 1 of X: X\[3, 1\] is masked"):
        on_cluster(blocks, K, client=client)


def test_what_is_no_client(client):
    rows = da.from_array(X, chunks=(9000, 5))
    with pytest.raises(TypeError, match=r"must be a distributed\.Client"):
        on_cluster(rows, K, client=client.scheduler.address)
    gone = Client(client.scheduler.address, set_as_default=False)
    gone.close()
    with pytest.raises(ValueError, match="is closed and must be running"):
        on_cluster(rows, K, client=gone)


def test_a_row_of_zeros_is_named_where_angles_are_asked_for(client):
    zeros = X.copy()
    zeros[20_000] = 0
    with pytest.raises(ValueError, match=r"^X\[20000\] holds only zeros and metric='cosine'"):
        on_cluster(da.from_array(zeros, chunks=(9000, 5)), K, client=client, metric="cosine")


def test_no_workers(started):
    with started(1) as client:
        client.cluster.scale(0)
        while client.scheduler_info()["workers"]:
            pass
        with pytest.raises(ValueError, match="has no workers; start some"):
            on_cluster(da.from_array(X, chunks=(9000, 5)), K, client=client)
