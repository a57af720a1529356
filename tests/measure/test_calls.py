"""Whole calls beside scikit-learn's: certificates that refuse, turns that go wrong."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("threadpoolctl", reason="pip install 'kmeans-lab[bench]'")
pytest.importorskip("rich", reason="pip install 'kmeans-lab[bench]'")
pytest.importorskip("sklearn", reason="pip install 'kmeans-lab[data]'")

from bench.peers.calls import table
from bench.peers.calls.judge import Judge, Rested
from bench.peers.calls.run import OTHER, Crew, Measurement, hand_over
from bench.peers.calls.sides import Given, Side, alike
from bench.peers.calls.table import Row
from bench.peers.cells import Cell
from bench.peers.process import Refused
from bench.peers.worker import clocked

CELL = Cell(400, 3, 5, 3, spread=1.0)


def results(call: str, folder: Path) -> tuple[Judge, dict, dict]:
    """Let both libraries make a call; return the judge and what they found."""
    row = Row("", "", call, CELL, 1.0)
    found = []
    with hand_over(row, folder / "row") as given:
        for name in ("cpp-simd", OTHER):
            side = Side(name, 1)
            side.prepare(call, Given(folder / "row", CELL.max_iter))
            answer = side.call(call, 0, 2, folder / f"{name}.npz", clocked)
            assert (answer["strayed"], answer["modified"], len(answer["seconds"])) == (0, False, 2)
            with np.load(folder / f"{name}.npz") as archive:
                found.append(dict(archive))
        return Judge(row, given), *found


def wrong_label(found: dict) -> None:
    found["labels"][7] = (found["labels"][7] + 1) % 5


def off(name: str, factor: float):
    def change(found: dict) -> None:
        found[name] = found[name] * factor

    return change


def one_nan(found: dict) -> None:
    found["distances"][3, 1] = np.nan


def fewer(found: dict) -> None:
    found["n_iter"] = found["n_iter"] - 1


@pytest.mark.parametrize("call", [*table.OTHER_CALLS, "fit"])
def test_both_libraries_are_certified(call: str, tmp_path: Path) -> None:
    judge, ours, theirs = results(call, tmp_path)
    assert judge.certify(ours, theirs).startswith("valid")
    if judge.row.draws:
        assert "inertia" in judge.close(within=1.0)


@pytest.mark.parametrize(
    ("call", "whose", "mutant", "sentence"),
    [
        ("fit", "ours", wrong_label, "row 7 is not given its nearest center"),
        ("fit", "ours", off("inertia", 1 + 1e-6), "returned the inertia"),
        ("fit", "ours", off("inertia", np.nan), "returned the inertia"),
        ("fit", "ours", off("centers", 1.1), "nearest center|inertia"),
        ("fit", "ours", fewer, "2 iterations beside theirs, 3, of 3"),
        ("fit", "theirs", fewer, "3 iterations beside theirs, 2, of 3"),
        ("fit", "theirs", wrong_label, "inertia"),
        ("fit", "theirs", off("centers", np.nan), "inertia"),
        ("weighted", "ours", wrong_label, "row 7"),
        ("weighted", "ours", off("inertia", 1 + 1e-6), "returned the inertia"),
        ("predict", "ours", wrong_label, "row 7"),
        ("predict", "theirs", wrong_label, "their labels differ"),
        ("score", "ours", off("inertia", 1 + 1e-8), "ours: minus"),
        ("score", "theirs", off("inertia", np.nan), "theirs: minus nan"),
        ("transform", "ours", off("distances", 1 + 1e-10), "ours: distances off"),
        ("transform", "theirs", one_nan, "distances"),
        ("n_init", "ours", wrong_label, "row 7"),
        ("plusplus", "ours", off("inertia", 0.5), "returned the inertia"),
    ],
)  # fmt: skip
def test_a_wrong_result_gets_no_number(call, whose, mutant, sentence, tmp_path: Path) -> None:
    judge, ours, theirs = results(call, tmp_path)
    mutant({"ours": ours, "theirs": theirs}[whose])
    with pytest.raises(Refused, match=f"^no number: .*{sentence}"):
        judge.certify(ours, theirs)


def test_a_weighted_fit_that_leaves_out_the_weights_gets_no_number(tmp_path: Path) -> None:
    _, plain, _ = results("fit", tmp_path / "plain" if (tmp_path / "plain").mkdir() else tmp_path)
    judge, ours, theirs = results("weighted", tmp_path)
    assert judge.certify(ours, theirs).startswith("valid")
    with pytest.raises(Refused, match="inertia"):
        judge.certify(plain, theirs)


def test_a_seed_whose_fit_rests_early_is_another_matter(tmp_path: Path) -> None:
    judge, ours, theirs = results("plusplus", tmp_path)
    fewer(theirs)
    with pytest.raises(Rested):
        judge.certify(ours, theirs)
    assert (judge.rested, judge.excesses) == (1, [])


def test_starts_that_end_too_high_get_no_number() -> None:
    judge = SimpleNamespace(excesses=[0.051, 0.06, 0.07], rested=2)
    with pytest.raises(Refused, match=r"inertia \+6.0% \(median of 3 seeds\) of theirs"):
        Judge.close(judge)
    judge.excesses[0] = 0.04
    words = "valid; inertia +6.0% (median of 3 seeds); 2 seeds that rested early left out"
    assert Judge.close(judge) == words  # its interval reaches down to what is allowed


def test_timed_calls_are_compared_with_the_first() -> None:
    labels, inertia = np.arange(2000) % 3, 5.0
    found = {"labels": labels.copy(), "inertia": inertia * (1 + 1e-9)}
    first = {"labels": labels, "inertia": inertia}
    assert alike(found, first, exactly=False)
    assert not alike(found, first, exactly=True)
    found["labels"][:3] = 3
    assert not alike(found, first, exactly=False)
    assert not alike({**first, "inertia": np.nan}, first, exactly=False)
    assert not alike({"n_iter": 3}, {"n_iter": 4}, exactly=False)


def test_a_call_that_changes_x_or_its_result_is_told(tmp_path: Path) -> None:
    row = Row("", "", "fit", CELL, 1.0)
    with hand_over(row, tmp_path / "row"):
        side = Side("cpp-simd", 1)
        side.prepare("fit", Given(tmp_path / "row", 3))
        ready, kmeans = side._ready["fit"], side.kmeans
        calls = []

        def strays(X, *given, **settings):
            calls.append(1)
            X[0] = X[0] if len(calls) < 3 else X[1]
            return kmeans(X, *given, **settings | {"max_iter": 1 + len(calls) // 2})

        side.kmeans = strays
        answer = side.call("fit", 0, 3, tmp_path / "saved", clocked)
        assert (answer["strayed"], answer["modified"]) == (2, True)
        assert ready.X is not None


class Worker:
    """A process that answers what a test wants, in a turn after the first ones."""

    name, pid = "cpp-simd", os.getpid()

    def __init__(self, isa: str, after: int = 0, **wrong: object) -> None:
        self.isa, self.after, self.wrong, self.asked = isa, after, wrong, 0

    def answer(self) -> dict[str, object]:
        return {"version": "kmeans-lab 0"}

    def ask(self, do: str, **given: object) -> dict[str, object]:
        if do == "prepare":
            pools = [{"api": "openblas", "threads": self.wrong.get("threads", 1), "blas": ""}]
            return {"pools": pools, "isa": self.isa}
        self.asked += 1
        right = {"seconds": [0.1], "busy": 1.0, "strayed": 0, "modified": False}
        return right | (self.wrong if self.asked > self.after else {})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"strayed": 1}, "avx2: 1 of 1 calls ended elsewhere than before"),
        ({"modified": True}, "avx2: X was modified"),
        ({"busy": 1.9}, "avx2 kept 1.9 cores busy with 1 allowed"),
        ({"threads": 2}, "thread pools of [2] in place of 1"),
        ({"isa": "baseline"}, "baseline ran in place of avx2"),
    ],
)
def test_a_row_whose_timed_calls_go_wrong_has_a_reason_and_no_ratio(
    wrong: dict, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first call, off the clock, and the first round are right.
    workers = {isa: Worker(isa) for isa in ("", "avx2")}
    workers["avx2"] = Worker(wrong.pop("isa", "avx2"), after=2, **wrong)
    crew = Crew("cpp-simd", tmp_path, 1.0)
    crew._greeted = dict.fromkeys(workers.values(), False)
    monkeypatch.setattr(crew, "process", lambda name, n_threads, isa="": workers[isa])
    monkeypatch.setattr(Measurement, "_certify", lambda self, judge: "valid")
    monkeypatch.setattr(
        "bench.peers.calls.run.Disturbance", lambda pids: SimpleNamespace(cores=lambda: 0.0)
    )
    monkeypatch.setattr("bench.peers.calls.run.PAUSE", (0.0, 0.0))
    row = Row("", "", "fit", CELL, 1.0)
    found = Measurement(row, ("avx2",), crew, quick=False).run(4, 0)
    assert found.reason == f"no number: {sentence}"
    assert (found.certificate, found.ratio("avx2"), found.floor()) == ("", None, None)
    assert list(tmp_path.iterdir()) == []  # the data are gone
