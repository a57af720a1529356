"""``kmeans-lab fit`` on a cluster that it starts, or that is there already."""

import json
import socket

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.cli import cluster
from kmeans_lab.cli.main import main

rng = np.random.default_rng(5)
X = rng.normal(size=(9000, 3))

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", X)


def fit(*more):
    return main(["fit", "X.npy", "--clusters", "4", "--seed", "3", "--json", *more])


def test_workers_that_are_started_find_what_one_process_finds(capsys):
    assert fit("--workers", "2", "--labels-output", "labels.npy") == 0
    found = json.loads(capsys.readouterr().out)
    expected = kmeans(X, 4, random_state=3)
    assert (found["mode"], found["inertia"]) == ("dask", expected.inertia)
    assert found["centers"] == expected.centers.tolist()
    np.testing.assert_array_equal(np.load("labels.npy"), expected.labels)


def test_a_scheduler_that_runs(client, capsys):
    assert fit("--scheduler", client.scheduler.address, "--init", "k-means||") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["inertia"] == kmeans(X, 4, random_state=3, init="k-means||").inertia


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--workers", "0"], "--workers 0 must be at least 1"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "name two clusters"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--scheduler tcp://127.0.0.1:1 cannot be reached"),
        (["--scheduler", "nonsense://"], "--scheduler nonsense:// cannot be reached"),
    ],
)
def test_clusters_that_there_are_not(options, sentence, capsys, monkeypatch):
    monkeypatch.setattr(cluster, "_SECONDS", 0.5)
    assert fit(*options) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert sentence in said


def test_files_that_workers_cannot_read_in_parts(capsys):
    np.savetxt("X.csv", X)
    assert main(["fit", "X.csv", "--clusters", "4", "--workers", "1"]) == 2
    assert "X.csv has the suffix '.csv' and must have .npy" in capsys.readouterr().err
    assert main(["fit", "none.npy", "--clusters", "4", "--workers", "1"]) == 2
    assert "none.npy" in capsys.readouterr().err


def test_a_port_that_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr(cluster, "_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert fit("--scheduler", address) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"--scheduler {address} cannot be reached" in said


def test_an_array_of_a_file_that_has_several(capsys):
    h5py = pytest.importorskip("h5py", reason="pip install 'kmeans-lab[hdf5]'")
    with h5py.File("X.h5", "w") as file:
        file["x"], file["y"] = X, X[:, :2]
    expected = kmeans(X, 4, random_state=3).inertia
    for more in ([], ["--memory", "17MB"], ["--workers", "1"]):
        command = ["fit", "X.h5", "--clusters", "4", "--seed", "3", "--json", "--array", "x"]
        assert main([*command, *more]) == 0
        assert json.loads(capsys.readouterr().out)["inertia"] == expected
    assert fit("--workers", "1", "--array", "x") == 2
    assert "--array has no meaning for X.npy, which is read block by block; leave it out\n" in (
        capsys.readouterr().err
    )


def test_without_the_extra(capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    assert fit("--workers", "1") == 2
    assert "pip install 'kmeans-lab[dask]'" in capsys.readouterr().err
