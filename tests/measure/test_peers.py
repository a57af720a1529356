"""The comparison with other libraries: every way to get no number, and two that get one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("threadpoolctl", reason="pip install 'kmeans-lab[bench]'")
pytest.importorskip("rich", reason="pip install 'kmeans-lab[bench]'")
from bench.peers.disturbance import Disturbance
from bench.peers.referee import choose_counts, follow, inertia_of, rests_after
from bench.peers.report import fastest, ours_is
from bench.peers.rounds import Row, ratios

ROOT = Path(__file__).parents[2]
FAKES = """
import os, time
from dataclasses import replace
from bench.peers.base import Outcome
from bench.peers.libraries import Ours

class Right(Ours):
    distribution, kernel, remark = "right", "numpy", "a remark"
class Raises(Right):
    def train(self, X, start, n_iter):
        raise ValueError("no such thing")
class Unset(Right):
    def threads_set(self):
        return 7
class Fewer(Right):
    def train(self, X, start, n_iter):
        return super().train(X, start, max(1, n_iter - 1))
class Hides(Fewer):
    "Does fewer iterations and does not say how many."
    def read(self, model, X):
        return Outcome(model.centers)
class Wrong(Right):
    def read(self, model, X):
        return replace(super().read(model, X), centers=model.centers * 1.001)
class Lies(Right):
    def read(self, model, X):
        return replace(super().read(model, X), inertia=1.0)
class NotANumber(Right):
    def read(self, model, X):
        return replace(super().read(model, X), centers=model.centers * float("nan"), inertia=None)
class Modifies(Right):
    def train(self, X, start, n_iter):
        model = super().train(X, start, n_iter)
        X[0] = X[1]
        return model
class Samples(Right):
    def read(self, model, X):
        refused, centers = "trained on 9 of 150 rows", model.centers * 1.1
        return replace(super().read(model, X), refused=refused, centers=centers)
class Hangs(Right):
    def train(self, X, start, n_iter):
        time.sleep(60)
class Dies(Right):
    def train(self, X, start, n_iter):
        os._exit(3)
class Late(Right):
    "Right until it is timed."
    calls = 0
    def train(self, X, start, n_iter):
        self.calls += 1
        return super().train(X, start, n_iter if self.calls < 6 else 1)
class Races(Right):
    "One fit of many ends elsewhere."
    calls = 0
    def train(self, X, start, n_iter):
        self.calls += 1
        model = super().train(X, start, n_iter)
        return replace(model, centers=model.centers * (1.01 if self.calls == 9 else 1.0))
class Chatters(Right):
    def train(self, X, start, n_iter):
        os.write(1, b"not an answer\\n")
        print("nor this")
        return super().train(X, start, n_iter)
class Kicks(Right):
    "Takes its own start, and then less than Lloyd's iterations."
    own_start = True
    def train(self, X, start, n_iter):
        model = super().train(X, start, n_iter)
        return replace(model, centers=model.centers + 0.5 * n_iter, inertia=None)
    def read(self, model, X):
        return Outcome(model.centers, None, model.n_iter)
class OwnStart(Right):
    own_start = True
"""
REASONS = {
    "Raises": "failed: ValueError: no such thing",
    "Unset": "no number: thread pools of ",
    "Fewer": "iterations in place of",
    "Hides": "iterations, by its centers, in place of",
    "Wrong": "no number: inertia ",
    "Lies": "no number: it reports the inertia 1,",
    "NotANumber": "no number: inertia nan",
    "Modifies": "no number: X was modified",
    "Samples": "no number: trained on 9 of 150 rows",
    "Hangs": "failed: no answer within 5 s",
    "Dies": "failed: the process ended with status 3",
    "Late": "(timed)",
    "Races": "no number: 1 of ",
    "Kicks": "no number: inertia ",
    "Missing": "failed: AttributeError",
}


def run_peers(
    folder: Path, *options: str, preset: str = "smoke"
) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "100"}
    command = [sys.executable, "-m", "bench.peers", "--preset", preset, *options]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def rows_of(file: Path) -> dict[tuple[str, str], dict]:
    (comparison,) = json.loads(file.read_text())["comparisons"]
    return {(row["peer"], row["dtype"]): row for row in comparison["rows"]}


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    folder = tmp_path_factory.mktemp("fakes")
    (folder / "fakes.py").write_text(FAKES)
    names = ["Right", "Chatters", "OwnStart", *REASONS]
    options = [word for name in names for word in ("--peer", f"fakes:{name}")]
    file = folder / "run.json"
    run = run_peers(
        folder, "--kernel", "cpp", "--dtype", "float64", "--rounds", "3", "--timeout", "5",
        "--peer", "no_such_module:Peer", "--json", str(file), *options,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return rows_of(file), run.stdout


@pytest.mark.parametrize("name", REASONS)
def test_a_peer_that_did_not_do_equal_work_is_a_row_with_its_reason(name, fakes) -> None:
    rows, printed = fakes
    (row,) = [row for (peer, _), row in rows.items() if peer == f"fakes:{name}"]
    assert REASONS[name] in row["reason"]
    assert row["ratios"] == []
    assert row["turns"] == row["seconds_per_iteration"] == {}
    line = next(line for line in printed.splitlines() if line.split()[:1] == [f"fakes:{name}"])
    assert "–" in line  # the table comes before the reasons
    assert "×" not in line


@pytest.mark.parametrize("name", ["Samples", "Fewer"])
def test_a_peer_that_did_less_work_stands_beside_with_its_inertia(name, fakes) -> None:
    rows, printed = fakes
    row = rows[f"fakes:{name}", "float64"]
    assert row["ratios"] == []
    assert "iterations, it takes " in row["beside"]
    above = float(row["beside"].partition("inertia is ")[2].partition("%")[0])
    assert above >= (0.5 if name == "Samples" else 0.0)
    line = next(line for line in printed.splitlines() if line.split()[:1] == [f"fakes:{name}"])
    assert line.split()[-1] == "beside"
    others = {peer: row["beside"] for (peer, _), row in rows.items() if row["beside"]}
    assert others.keys() == {"fakes:Samples", "fakes:Fewer"}


def test_a_peer_that_cannot_be_imported_is_unavailable(fakes) -> None:
    rows, printed = fakes
    reason = rows["no_such_module:Peer", ""]["reason"]
    assert reason == "unavailable: No module named 'no_such_module'"
    assert f"no_such_module:Peer: {reason}" in printed


@pytest.mark.parametrize("name", ["Right", "Chatters", "OwnStart"])
def test_a_peer_that_did_equal_work_has_certificate_and_samples(name, fakes) -> None:
    row = fakes[0][f"fakes:{name}", "float64"]
    if "do not differ reliably" in row["reason"]:
        # What is refused then is right; only a machine with nothing else to do can show the rest.
        pytest.skip("the machine is too busy to resolve a microsecond")
    assert row["certificate"] == "valid", row["reason"]
    assert len(row["turns"]) == 3
    assert "fakes:Right, fakes:Chatters, fakes:OwnStart: a remark" in fakes[1]


@pytest.mark.slow
def test_scikit_learn_and_our_kernels_run_for_real(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="pip install 'kmeans-lab[data]'")
    file = tmp_path / "run.json"
    run = run_peers(
        tmp_path, "--rounds", "2", "--peer", "scikit-learn", "--peer", "scikit-learn-elkan",
        "--json", str(file),
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    rows = rows_of(file)
    ours = ["cpp-simd", "cpp-simd again", "cpp"]
    assert {peer for peer, _ in rows} == {*ours, "scikit-learn", "scikit-learn-elkan"}
    assert {dtype for _, dtype in rows} == {"float64", "float32"}
    for row in rows.values():
        assert row["certificate"] == "valid" or "do not differ" in row["reason"]
        assert all(pool["threads"] == 1 for pool in row["pools"])
    assert "cpp-simd is" in run.stdout
    assert "other programs" in run.stdout
    assert "scikit-learn 1." in run.stdout


def test_seeding_of_their_own_is_a_table_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="pip install 'kmeans-lab[data]'")
    run = run_peers(tmp_path, "--seeding", "--rounds", "2")
    assert run.returncode == 0, run.stderr
    for call in ("kmeans", "KMeans.fit", "greedy", "kmeans_plusplus"):
        assert call in run.stdout


SPARSE = """
from bench.peers.others import Faiss, LeftOut, ScikitLearn
from bench.peers.libraries import Ours

class Dense(Ours):
    "Takes no sparse rows."
    kernel = "numpy-broadcast"
class Copies(ScikitLearn):
    "Is given a dense copy."
    dtypes = ("float32",)
    def accept(self, X):
        return Faiss.accept(self, X)
class Full(Copies):
    "Whose copy does not fit."
    def accept(self, X):
        import bench.peers.others as others
        others._free_memory = lambda: 2**20
        return super().accept(X)
class Writes(Ours):
    kernel = "cpp"
    def train(self, X, start, n_iter):
        model = super().train(X, start, n_iter)
        X.data[5] += 1
        return model
class Wrong(Ours):
    kernel = "cpp"
    def read(self, model, X):
        from dataclasses import replace
        return replace(super().read(model, X), centers=model.centers * 1.2)
"""


def test_sparse_rows_go_to_those_that_take_them(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="pip install 'kmeans-lab[data]'")
    (tmp_path / "sparse_fakes.py").write_text(SPARSE)
    names = ["Dense", "Copies", "Full", "Writes", "Wrong"]
    options = [word for name in names for word in ("--peer", f"sparse_fakes:{name}")]
    file = tmp_path / "run.json"
    run = run_peers(
        tmp_path, "--kernel", "cpp", "--rounds", "2", *options, "--peer", "scikit-learn",
        "--iterations", "6", "--json", str(file), preset="text-2000-20",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    rows = {peer.removeprefix("sparse_fakes:"): row for (peer, _), row in last(file).items()}
    assert rows["Dense"]["reason"] == "left out: it takes no sparse rows"
    assert rows["Full"]["reason"].startswith(
        "left out: it takes no sparse rows, and a dense copy of them has 0.0 GiB where 0.0 are free"
    )
    assert rows["Writes"]["reason"] == "no number: X was modified"
    assert rows["Wrong"]["reason"].startswith("no number: inertia ")
    for name in ("cpp", "scikit-learn", "Copies"):
        row = rows[name]
        assert row["certificate"] == "valid" or "do not differ" in row["reason"], row["reason"]


def last(file: Path) -> dict[tuple[str, str], dict]:
    return {key: row for key, row in rows_of(file).items() if key[1] in ("float32", "")}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--peer", "sklearn"], "peer='sklearn' is not known; choose one of scikit-learn,"),
        (["--preset", "standart"], "preset='standart' is not known"),
        (["--kernel", "fast"], "kernel='fast' is not known"),
        (["--iterations", "1"], "--iterations 1 must be at least 2"),
        (
            ["--preset", "embeddings-3"],
            "embeddings are the rows of a file that the package cannot",
        ),
        (["--preset", "embeddings-3", "--data", "no.npy"], "there is no file"),
        (["--threads", "0"], "--rounds and --threads must be at least 1"),
        (["--threads", "1,99999"], "--threads 99999 must be at most "),
    ],
)
def test_what_is_not_known_is_one_sentence(options, sentence, tmp_path: Path) -> None:
    run = run_peers(tmp_path, *options)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


def test_other_programs_are_noticed_and_our_own_are_not() -> None:
    spin = "import time\nwhile time.process_time() < 0.6: pass"
    found = {}
    for known in (True, False):
        with subprocess.Popen([sys.executable, "-c", spin]) as child:
            watch = Disturbance({child.pid} if known else ())
            time.sleep(0.5)
            found[known] = watch.cores()
    if found[True] is None:
        pytest.skip("this system does not tell")  # only Linux has /proc
    assert found[False] > 0.3
    assert Disturbance({2**22 + 1}).cores() is None  # a process that has ended


def turn(few: float, many: float) -> dict[str, object]:
    return {"few": [few, few + 8, few], "many": [many], "wall": 1.0, "busy": 1.0}


def test_ratios_are_paired_within_a_round_and_the_difference_cancels_what_a_fit_costs() -> None:
    ours = Row("ours", "float64", 1, few=1, many=5)
    peer = Row("peer", "float64", 1, few=3, many=5)
    ours.turns = {0: turn(1, 5), 1: turn(1, 9), 2: turn(1, 0.5), 3: turn(1, 5)}
    peer.turns = {0: turn(7, 11), 1: turn(7, 19), 2: turn(7, 11)}
    assert ours.per_iteration() == {0: 1.0, 1: 2.0, 3: 1.0}  # round 2 was not resolved
    assert ratios(peer, ours) == [2.0, 3.0]
    assert ratios(peer, None) == []
    assert ours_is([2.0, 3.0, 4.0]) == ("3.00 × faster", "2.00–4.00")
    assert ours_is([0.25, 0.5, 0.2]) == ("4.00 × slower", "2.00–5.00")
    assert ours_is([]) == ("–", "–")
    assert ours.held_up() == 4 / 16  # each round's second short fit


def test_the_fastest_that_did_equal_work_is_named_and_an_approximate_one_apart() -> None:
    ours = Row("cpp-simd", "float32", 1, certificate="valid", few=1, many=5)
    ours.turns = {0: turn(1, 5)}
    rows = [ours]
    for peer, certificate, many in (
        ("faiss", "valid", 13),
        ("scikit-learn", "valid", 9),
        ("superkmeans", "approximate: inertia", 3),
        ("cpp", "valid", 2),  # no other library
    ):
        rows.append(Row(peer, "float32", 1, certificate=certificate, few=1, many=5))
        rows[-1].turns = {0: turn(1, many)}
    assert fastest(rows, "cpp-simd") == [
        "fastest exact f32 library that trained on all rows for as many iterations: scikit-learn; "
        "cpp-simd is 2.00 × faster",
        "fastest approximate f32 library that trained on all rows for as many iterations: "
        "superkmeans; cpp-simd is 2.00 × slower",
    ]
    assert fastest(rows[:1], "cpp-simd") == []


def test_the_counts_stay_away_from_rest() -> None:
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(c, 1.0, size=(60, 2)) for c in (0.0, 2.0, 4.0)])
    path = follow(X, X[:3], 40)
    few, many = choose_counts(X, X[:3], 35)
    assert 1 <= few < many <= rests_after(path, "float64") < 40
    assert choose_counts(X, path[-1], 35) == (1, 1)
    assert choose_counts(X, X[:3], 35, most=4) == (1, 4)
    assert inertia_of(X, path[-1]) < inertia_of(X, path[1]) < inertia_of(X, path[0])
