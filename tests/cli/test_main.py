"""The command line: what it prints, what it refuses, and how it ends."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet
from safetensors.numpy import save_file
from scipy.io import mmwrite

from kmeans_lab import kmeans
from kmeans_lab.cli import fit
from kmeans_lab.cli import main as cli
from kmeans_lab.registry import KERNELS
from tests.support.helpers import cloud

X = cloud(seed=5, n_samples=80, n_features=3)
RICH = (
    "tables, unlike --json, need the package rich, which is not installed; "
    "pip install 'kmeans-lab[cli]'"
)


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    np.save("X.npy", X)


def run(capsys, *argv):
    """Return what a call that succeeds prints; nothing may go to stderr."""
    status = cli.main([str(argument) for argument in argv])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def refused(capsys, *argv):
    """Return the sentence of a call that is refused; nothing may go to stdout."""
    status = cli.main([str(argument) for argument in argv])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("kmeans-lab: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("kmeans-lab: error: ").rstrip("\n")


def lines(table):
    """Return a table's cells, row by row, as one blank-separated string each."""
    return [" ".join(line.split()) for line in table.splitlines()]


# --- fit ------------------------------------------------------------------------------------


def test_json_tells_the_whole_result(capsys):
    printed = run(capsys, "fit", "X.npy", "-k", 4, "--kernel", "numpy", "--seed", 7, "--json")
    report, expected = json.loads(printed), kmeans(X, 4, kernel="numpy", random_state=7)
    seconds = report.pop("seconds")
    assert set(seconds) == {"prepare", "init", "assign", "update", "finish"}
    assert report == {
        "n_samples": 80,
        "n_features": 3,
        "n_clusters": 4,
        "metric": "euclidean",
        "kernel": "numpy",
        "mode": "serial",
        "n_threads": 1,
        "n_iter": expected.n_iter,
        "converged": True,
        "stop": "shift",
        "inertia": expected.inertia,
        "counts": np.bincount(expected.labels).tolist(),
        "centers": expected.centers.tolist(),
        "output": [],
    }


def test_rows_are_compared_by_angle_on_request(capsys):
    call = ("fit", "X.npy", "-k", 4, "--metric", "cosine", "--seed", 7, "--json")
    report, expected = json.loads(run(capsys, *call)), kmeans(X, 4, metric="cosine", random_state=7)
    assert report["metric"] == "cosine"
    assert report["centers"] == expected.centers.tolist()
    assert report["inertia"] == expected.inertia
    np.save("zero.npy", np.vstack([X, np.zeros(3)]))
    said = refused(capsys, "fit", "zero.npy", "-k", 4, "--metric", "cosine")
    assert said.startswith("X[80] holds only zeros and metric='cosine' needs directions")


def test_every_option_reaches_kmeans(capsys, monkeypatch):
    seen = {}

    def spy(rows, n_clusters, **settings):
        seen.update(settings, shape=rows.shape, n_clusters=n_clusters)
        return kmeans(rows, n_clusters, **settings)

    monkeypatch.setattr(fit, "kmeans", spy)
    options = "--kernel numpy --init random --n-init 2 --max-iter 9 --tol 3 --stop labels"
    options += (
        " --metric cosine --empty keep --mode threads --threads 2 --seed 5 --clusters 3 --json"
    )
    run(capsys, "fit", "X.npy", *options.split())
    assert seen == {
        "shape": (80, 3),
        "n_clusters": 3,
        "kernel": "numpy",
        "metric": "cosine",
        "init": "random",
        "n_init": 2,
        "max_iter": 9,
        "tol": 3.0,
        "stop": "labels",
        "empty": "keep",
        "mode": "threads",
        "n_threads": 2,
        "random_state": 5,
        "sample_weight": None,
        "callback": None,  # stderr is not a terminal
        "history": False,
        "memory": None,
        "labels_out": None,
        "resume": None,
    }


def test_a_file_is_read_block_by_block(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", np.random.default_rng(0).normal(size=(300_000, 8)))
    call = ("fit", "X.npy", "-k", 3, "--seed", 1, "--max-iter", 3, "--json")
    whole = json.loads(run(capsys, *call))
    options = ("--mode", "stream", "--memory", "17MB", "--labels-output", "labels.npy")
    streamed = json.loads(run(capsys, *call, *options))
    assert (whole["mode"], streamed["mode"]) == ("serial", "stream")
    for name in ("n_samples", "n_features", "n_iter", "inertia", "stop"):
        assert streamed[name] == whole[name]
    assert streamed["output"] == ["labels.npy"]
    for option in ("--columns 1", "--skip-rows 2", "--array X"):
        assert cli.main([*map(str, call), "--mode", "stream", *option.split()]) == 2
        assert f"{option.split()[0]} has no meaning for X.npy" in capsys.readouterr().err
    assert cli.main([*map(str, call), "--labels-output", "labels.npy"]) == 2
    assert "--force" in capsys.readouterr().err
    expected = kmeans(np.load("X.npy"), 3, random_state=1, max_iter=3).labels
    np.testing.assert_array_equal(np.load("labels.npy"), expected)


def test_without_options_a_fit_has_the_defaults_of_kmeans(capsys, monkeypatch):
    seen = {}

    def spy(rows, n_clusters, **settings):
        seen.update(settings)
        return kmeans(rows, n_clusters, kernel="numpy")

    monkeypatch.setattr(fit, "kmeans", spy)
    run(capsys, "fit", "X.npy", "-k", 3)
    public = {name: it for name, it in kmeans.__kwdefaults__.items() if name[0] != "_"}
    assert seen == public


def test_the_summary_of_a_fit(capsys):
    call = ("fit", "X.npy", "-k", 4, "--kernel", "numpy", "--seed", 7, "-o", "r.csv")
    result = kmeans(X, 4, kernel="numpy", random_state=7)
    counts = np.bincount(result.labels)
    shown = lines(run(capsys, *call))
    assert shown[:5] == [
        "rows × features 80 × 3",
        f"clusters 4, of {counts.min()} to {counts.max()} rows",
        "kernel numpy, mode serial, threads 1",
        f"iterations {result.n_iter}, ended by shift",
        f"inertia {result.inertia:.10g}",
    ]
    phases = ["seconds", "prepare", "init", "assign", "update", "finish"]
    assert [row.split()[0] for row in shown[5:11]] == phases
    total, *parts = (float(row.split()[1]) for row in shown[5:11])
    assert sum(parts) == pytest.approx(total, abs=3e-4)  # each is rounded to 1e-4
    assert shown[11:] == ["written r.csv", "r.centers.csv"]


def test_a_fit_that_max_iter_ends_says_so(capsys):
    shown = lines(run(capsys, "fit", "X.npy", "-k", 4, "--kernel", "numpy", "--max-iter", 2))
    assert shown[3] == "iterations 2, cut off by max-iter"
    assert shown[-1] == "written nothing, without --output"


@pytest.mark.filterwarnings("always:.*float64 rounds")
def test_a_warning_is_one_sentence_without_a_path(capsys):
    np.save("large.npy", [[2**53 + 1], [5]])
    assert cli.main(["fit", "large.npy", "-k", "1", "--quiet"]) == 0
    told = capsys.readouterr().err
    assert told.startswith(
        "kmeans-lab: warning: X[0, 0] is 9007199254740993, which float64 rounds, so"
    )
    assert told.count("\n") == 1


@pytest.mark.filterwarnings("always:.*cannot be parsed")
def test_of_a_warning_with_a_traceback_the_first_line_is_shown(capsys, monkeypatch):
    def read_rows(*_, **__):
        # Numba does so about its environment variables.
        warnings.warn("'true' cannot be parsed.\nTraceback (most recent call last):", stacklevel=1)
        return np.array([[1.0], [2.0]])

    monkeypatch.setattr(fit, "read_rows", read_rows)
    assert cli.main(["fit", "X.npy", "-k", "1", "--quiet"]) == 0
    assert capsys.readouterr().err == "kmeans-lab: warning: 'true' cannot be parsed.\n"


def test_quiet_prints_nothing_but_the_json_that_is_asked_for(capsys):
    assert run(capsys, "fit", "X.npy", "-k", 2, "--quiet") == ""
    assert json.loads(run(capsys, "fit", "X.npy", "-k", 2, "-q", "--json"))["n_clusters"] == 2


def test_csv_and_skip_rows(capsys):
    Path("a.csv").write_text("x,y\n1,2\n3,4\n5,6\n")
    report = json.loads(run(capsys, "fit", "a.csv", "-k", 1, "--skip-rows", 1, "--json"))
    assert report["centers"] == [[3.0, 4.0]]


def test_options_for_text_files(capsys):
    Path("a.csv").write_text("id;x;y;note\n1;1,5;1.000,5;a\n2;3,5;2.000,5;b\n")
    options = ["--delimiter", ";", "--decimal", ",", "--thousands", ".", "--json"]
    chosen = json.loads(run(capsys, "fit", "a.csv", "-k", 1, *options, "--columns", "y,2"))
    assert chosen["centers"] == [[1500.5, 2.5]]
    left = json.loads(
        run(capsys, "fit", "a.csv", "-k", 1, *options, "--drop-columns", "id", "--drop-columns", 4)
    )
    assert left["centers"] == [[2.5, 1500.5]]
    Path("b.csv").write_text("2023,2024\n1,2\n")
    named = json.loads(run(capsys, "fit", "b.csv", "-k", 1, "--header", "yes", "--json"))
    assert named["n_samples"] == 1


def test_every_kind_of_file_gives_the_same_fit(capsys):
    np.savez("X.npz", X=X, y=X[:, 0])
    mmwrite("X.mtx", X, precision=17)
    save_file({"X": X, "y": X[:2]}, "X.safetensors")
    table = pa.table([["text"] * 80, *X.T], ["t", "a", "b", "c"])
    parquet.write_table(table, "X.parquet")
    feather.write_feather(table, "X.feather")
    options = ["-k", 4, "--kernel", "numpy", "--seed", 7, "--json"]
    expected = json.loads(run(capsys, "fit", "X.npy", *options))
    for path, more in {
        "X.npz": [],
        "X.mtx": [],
        "X.safetensors": ["--array", "X"],
        "X.parquet": ["--columns", "2-4"],
        "X.feather": ["--drop-columns", "t"],
    }.items():
        found = json.loads(run(capsys, "fit", path, *options, *more))
        assert found | {"seconds": None} == expected | {"seconds": None}, path


def test_packages_are_imported_for_their_files_only():
    script = (
        "import sys\nfrom kmeans_lab.cli.main import main\n"
        "main(['fit', 'X.npy', '-k', '2', '--kernel', 'numpy', '--quiet'])\n"
        "print({'scipy', 'pyarrow', 'safetensors', 'pandas', 'zipfile'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("-k 0", "n_clusters=0 must be at least 1"),
        ("-k 81", "n_clusters=81 must be at most n_samples=80; ask for fewer clusters"),
        ("-k x", "argument -k/--clusters: invalid int value: 'x'; see kmeans-lab fit --help"),
        ("", "the following arguments are required: -k/--clusters; see kmeans-lab fit --help"),
        ("-k 2 --tol -1", "tol=-1.0 must be a number ≥ 0; use tol=0 for 'did not move'"),
        ("-k 2 --tol 1 --stop equal", "tol=1.0 has no meaning with stop='equal'; leave tol out"),
        ("-k 2 --threads 0", "n_threads=0 must be at least 1"),
        ("-k 2 --max-iter 0", "max_iter=0 must be at least 1"),
        ("-k 2 --n-init 0", "n_init=0 must be at least 1"),
        ("-k 2 --kernel fast", "kernel='fast' is not known; choose one of " + ", ".join(KERNELS)),
        (
            "-k 2 --mode x",
            "mode='x' is not known; choose one of serial, threads, processes, stream",
        ),
        ("-k 2 --empty x", "empty='x' is not known; choose one of relocate, random, keep, error"),
        ("-k 2 --bogus", "unrecognized arguments: --bogus; see kmeans-lab --help"),
        ("-k 2 --clust 3", "unrecognized arguments: --clust 3; see kmeans-lab --help"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(capsys, options, why):
    assert refused(capsys, "fit", "X.npy", *options.split()) == why


@pytest.mark.parametrize("name", ["init", "stop"])
def test_an_unknown_choice_is_refused_with_the_choices(capsys, name):
    why = refused(capsys, "fit", "X.npy", "-k", 2, f"--{name}", "x")
    assert why == f"{name}='x' is not known; choose one of {', '.join(fit._CHOICES[name])}"


def test_wrong_data_are_refused_in_one_sentence(capsys):
    Path("a.csv").write_text("1,2\nnan,3\n")
    why = (
        "a.csv, line 2, column 1 holds 'nan' and every value must be a finite number; fill it in, "
        "drop the line, or leave the column out with --drop-columns 1"
    )
    assert refused(capsys, "fit", "a.csv", "-k", 1) == why
    assert refused(capsys, "fit", "no.csv", "-k", 1) == "there is no file no.csv; check the path"
    Path("a.parquet").write_bytes(b"PAR1")
    assert refused(capsys, "fit", "a.parquet", "-k", 1).startswith("a.parquet is truncated or dam")
    np.save("text.npy", np.array([["a"]]))
    why = "text.npy: X has dtype <U1 and must be numeric (real); convert it with X.astype(float)"
    assert refused(capsys, "fit", "text.npy", "-k", 1) == why


def test_no_command_and_an_unknown_one(capsys):
    assert refused(capsys) == "no command is given; see kmeans-lab --help"
    assert refused(capsys, "x").startswith("argument COMMAND: invalid choice: 'x' (choose from ")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "out of memory; use fewer rows or float32"),
        (
            MemoryError("Unable to allocate 9 GiB"),
            "Unable to allocate 9 GiB; use fewer rows or float32",
        ),
        (OSError("the disk is gone"), "the disk is gone"),
    ],
)
def test_what_the_machine_refuses_is_one_sentence_too(capsys, monkeypatch, error, why):
    monkeypatch.setattr(fit, "kmeans", raising(error))
    assert refused(capsys, "fit", "X.npy", "-k", 2) == why


def raising(error):
    def function(*_, **__):
        raise error

    return function


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), RuntimeError("oops")])
def test_a_bug_keeps_its_traceback(monkeypatch, error):
    monkeypatch.setattr(fit, "kmeans", raising(error))
    with pytest.raises(type(error), match="oops"):
        cli.main(["fit", "X.npy", "-k", "2"])


def test_a_bug_in_our_own_printing_is_not_taken_for_bad_input(monkeypatch):
    monkeypatch.setattr(fit, "_show_report", raising(ValueError("oops")))
    with pytest.raises(ValueError, match="oops"):
        cli.main(["fit", "X.npy", "-k", "2"])


def test_ctrl_c_is_one_line_and_130(capsys, monkeypatch):
    monkeypatch.setattr(fit, "kmeans", raising(KeyboardInterrupt()))
    assert cli.main(["fit", "X.npy", "-k", "2", "-o", "r.npz"]) == 130
    assert capsys.readouterr() == ("", "kmeans-lab: interrupted\n")
    assert not Path("r.npz").exists()
