"""Workers that are lost, paused or new, and a client that is killed, change no bit of a fit."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import dask.array as da
import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.dask import kmeans as on_cluster
from tests.support.helpers import assert_same_fit

rng = np.random.default_rng(1)
X = rng.normal(size=(24_000, 4)) + 4 * rng.integers(0, 3, (24_000, 4))
K = 7
SETTINGS = {"random_state": 4, "max_iter": 8, "tol": 0}
LIMIT = 120  # seconds, for a fit that takes two

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def expected():
    return {init: kmeans(X, K, init=init, **SETTINGS) for init in ("k-means++", "k-means||")}


def within_limit(fit):
    """Return what a fit returns; fail where it hangs."""
    found = []
    thread = threading.Thread(target=lambda: found.append(fit()), daemon=True)
    thread.start()
    thread.join(LIMIT)
    assert found, "the fit raised, or hangs"
    return found[0]


def kill(client, n):
    """Kill some workers at once."""
    for pid in list(client.run(os.getpid).values())[:n]:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("n_workers", "lost"), [(2, 1), (4, 2), (2, 2)])
def test_workers_that_are_killed(started, expected, n_workers, lost):
    with started(n_workers) as client:

        def killing(iteration):
            if iteration.n_iter in (2, 5, 8):
                kill(client, lost)

        rows = da.from_array(X, chunks=(3000, 4))
        found = within_limit(
            lambda: on_cluster(rows, K, client=client, callback=killing, **SETTINGS)
        )
    assert_same_fit(found, expected["k-means++"])


def test_a_worker_that_is_killed_while_rows_are_drawn(started, expected, monkeypatch):
    from kmeans_lab.dask.distances import ClusterDistances

    drawn = ClusterDistances.drawn
    with started(2) as client:
        done = []

        def killing(self, *of):
            done.append(drawn(self, *of))
            if len(done) in (2, 4):
                kill(client, 1)
            return done[-1]

        monkeypatch.setattr(ClusterDistances, "drawn", killing)
        rows = da.from_array(X, chunks=(5000, 4))
        found = within_limit(
            lambda: on_cluster(rows, K, client=client, init="k-means||", **SETTINGS)
        )
    assert len(done) == 5
    assert_same_fit(found, expected["k-means||"])


def test_a_worker_that_is_paused(started, expected):
    with started(2) as client:
        pid = next(iter(client.run(os.getpid).values()))

        def pausing(iteration):
            if iteration.n_iter == 2:
                os.kill(pid, signal.SIGSTOP)
                threading.Timer(5, os.kill, (pid, signal.SIGCONT)).start()

        rows = da.from_array(X, chunks=(3000, 4))
        start = time.monotonic()
        found = within_limit(
            lambda: on_cluster(rows, K, client=client, callback=pausing, **SETTINGS)
        )
        assert time.monotonic() - start > 4
    assert_same_fit(found, expected["k-means++"])


def test_workers_that_join_and_leave(started, expected):
    with started(1) as client:

        def scaling(iteration):
            if iteration.n_iter in (2, 5):
                client.cluster.scale(3 if iteration.n_iter == 2 else 1)
                time.sleep(1)

        rows = da.from_array(X, chunks=(3000, 4))
        found = within_limit(
            lambda: on_cluster(rows, K, client=client, callback=scaling, **SETTINGS)
        )
    assert_same_fit(found, expected["k-means++"])


def test_a_client_that_is_killed_goes_on(client, expected, tmp_path):
    np.save(tmp_path / "X.npy", X)
    state = tmp_path / "state.json"
    fit = f"""
    import os, signal
    from distributed import Client
    from kmeans_lab.dask import kmeans
    from kmeans_lab.io import checkpoints
    from kmeans_lab.rows import NpyRows

    checkpoints._EVERY = 0.0
    def killed(it):
        if it.n_iter == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        client = Client({client.scheduler.address!r})
        kmeans(NpyRows({str(tmp_path / "X.npy")!r}), {K}, client=client, callback=killed,
               resume={str(state)!r}, random_state=4, max_iter=8, tol=0)
    """
    (tmp_path / "fit.py").write_text(textwrap.dedent(fit))
    ended = subprocess.run([sys.executable, tmp_path / "fit.py"], timeout=LIMIT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert json.loads(state.read_text())["n_iter"] == 3
    from kmeans_lab.rows import NpyRows

    rows = NpyRows(tmp_path / "X.npy")
    found = within_limit(lambda: on_cluster(rows, K, client=client, resume=state, **SETTINGS))
    assert_same_fit(found, expected["k-means++"])
    assert not state.exists()
