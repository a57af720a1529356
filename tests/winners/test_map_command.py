"""``kmeans-lab map``: what it measures, writes, draws, answers and refuses."""

import json
import re
from importlib.resources import files

import jsonschema
import pytest

from kmeans_lab import registry
from kmeans_lab.cli import main as cli
from kmeans_lab.measure.record import dumps
from kmeans_lab.winners import choice, record, survey
from kmeans_lab.winners.grid import Cell
from kmeans_lab.winners.record import cell_of, verdicts_of
from tests.support.maps.made_up import made_up_cell, made_up_map
from tests.support.planted import BY_NUMPY

SMALL = ("map", "--n", "100,200", "--d", "2", "--k", "3", "--minutes", "5", "--rounds", "9")
MANY = ",".join(str(1000 * i) for i in range(1, 65))
FAST = ("--kernel", "cpp", "--kernel", "cpp-simd")


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for known in ("_added", "_places"):
        monkeypatch.setattr(registry, known, {})
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    choice.forget_read()
    yield
    choice.forget_read()


@pytest.fixture
def kept(tmp_path, data):
    """Write a map, and return where."""
    path = tmp_path / "kept.json"
    path.write_text(dumps(data))
    return path


def call(capsys, *argv):
    status = cli.main([str(argument) for argument in argv])
    return status, *capsys.readouterr()


def refused(capsys, *argv):
    status, out, err = call(capsys, *argv)
    assert (status, out) == (2, "")
    assert err.startswith("kmeans-lab: error: ")
    assert err.count("\n") == 1
    return err


def in_a_line(text):
    return " ".join(text.split())


def test_a_map_is_measured_certified_kept_drawn_and_read_again(capsys, tmp_path):
    outputs = ("-o", "m.json", "-o", "m.html", "-o", "m.png", "-o", "m.svg")
    status, out, err = call(capsys, *SMALL, *FAST, *outputs)
    assert (status, err) == (0, "")
    assert "2 of 2 cells measured" in out
    data = record.read(tmp_path / "m.json")
    assert [cell_of(it) for it in data["cells"]] == [Cell(100, 2, 3, 1), Cell(200, 2, 3, 1)]
    for it in data["cells"]:
        assert it["spent"] > 0
        assert it["run"]["preset"] == f"blobs-{it['n']}-2-3"
        found = it["run"]["contestants"]
        assert [c["name"] for c in found] == ["cpp", "cpp-simd", "cpp-simd again"]
        assert {len(c["seconds"]) for c in found if c["state"] == "valid"} == {9}
    assert {path.name for path in tmp_path.glob("m.*")} == {"m.json", "m.html", "m.png", "m.svg"}
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "m.html").read_bytes()
    assert call(capsys, "map", "m.json", "-o", "m.html", "--force")[0] == 0
    assert (tmp_path / "m.html").read_bytes() == before
    again = call(capsys, "map", "m.json")
    assert again[0] == 0
    assert again[1] in out


def test_a_wrong_kernel_gets_no_number_and_the_exit_status_says_so(capsys, tmp_path):
    wrong = "def assign(*a):\n    return good_assign(*a) + 1e-3\n"
    (tmp_path / "wrong.py").write_text(BY_NUMPY + wrong)
    options = ("--n", "100", "--d", "2", "--k", "3", "--rounds", "9")
    status, out, err = call(capsys, "map", *options, *FAST, "--kernel", "wrong.py")
    assert status == 1
    assert "wrong is INVALID (iteration 1: the fit returned the inertia" in in_a_line(err)
    data = record.read(tmp_path / "map.json")
    (verdict,) = verdicts_of(data).values()
    assert "wrong" not in {*verdict.leaders, verdict.runner_up}
    assert "wrong is INVALID" in in_a_line(out)


def test_kernels_far_behind_run_no_rounds(capsys, tmp_path):
    options = ("--n", "2000", "--d", "4", "--k", "16", "--rounds", "9")
    kernels = ("--kernel", "cpp-simd", "--kernel", "python")
    assert call(capsys, "map", *options, *kernels)[0] == 0
    (cell,) = record.read(tmp_path / "map.json")["cells"]
    slow = next(it for it in cell["run"]["contestants"] if it["name"] == "python")
    assert (slow["state"], slow["seconds"]) == ("left out", [])
    (verdict,) = verdicts_of(record.read(tmp_path / "map.json")).values()
    assert (verdict.kind, verdict.winner) == ("alone", "cpp-simd")


def test_a_map_goes_on_where_it_ended(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(survey.Survey, "_run_cell", lambda self, cell, watch: made_up_cell(cell))
    left = ["", ""]

    def stop_after_two(self, cell, watch):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return made_up_cell(cell)

    grid = ("--n", "1e3,1e4", "--d", "2,4", "--k", "4,8")
    whole = ("map", *grid, "-o", "whole.json")
    assert call(capsys, *whole)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(survey.Survey, "_run_cell", stop_after_two)
        status, out, err = call(capsys, "map", *grid, "-o", "part.json")
    assert status == 1
    assert "interrupted: part.json keeps 2 cells; kmeans-lab map part.json --resume goes on" in err
    assert "not measured" in out
    assert len(record.read(tmp_path / "part.json")["cells"]) == 2
    assert call(capsys, "map", "part.json", "--resume")[0] == 0
    parts, cells = record.read(tmp_path / "part.json"), record.read(tmp_path / "whole.json")
    assert [cell_of(it) for it in parts["cells"]] == [cell_of(it) for it in cells["cells"]]
    status, _, err = call(capsys, "map", "part.json", "--resume")  # nothing is left to do
    assert (status, err) == (0, "")


def test_json_follows_the_schema(capsys, kept):
    status, out, _ = call(capsys, "map", kept, "--json")
    assert status == 0
    schema = json.loads((files("kmeans_lab") / "winners" / "map.json").read_text())
    bench = json.loads((files("kmeans_lab") / "measure" / "bench.json").read_text())
    schema["$defs"] |= bench["$defs"] | {"machine": bench["properties"]["machine"]}
    jsonschema.validate(json.loads(out), schema, jsonschema.Draft202012Validator)
    assert set(record.MapRecord.__annotations__) == set(schema["properties"])
    assert set(record.CellRecord.__annotations__) == set(schema["$defs"]["cell"]["properties"])


def test_a_question_is_answered_from_the_nearest_cell(capsys, kept):
    status, out, _ = call(capsys, "map", kept, "--ask", "900,2,5")
    assert status == 0
    assert re.fullmatch(
        r"cython-tiled is the fastest, 0\.\d+ ms a fit: 1\.\d+ × faster than cpp-simd, the next "
        r"\(1\.\d+–1\.\d+\)\. Measured at the nearest cell: 1,000 × 2, k = 4, 1 thread\.\n",
        out,
    )
    out = call(capsys, "map", kept, "--ask", "1000,16,32")[1]
    assert out.startswith("not resolved between cpp-simd and cython-tiled, ")
    told = json.loads(call(capsys, "map", kept, "--ask", "1e6,16,64", "--json")[1])
    assert (told["kind"], told["leaders"]) == ("won", ["cpp-simd"])
    assert told["measured_at"] == {"n": 100_000, "d": 16, "k": 32, "threads": 1}
    assert "no verdict with 2 threads" in refused(capsys, "map", kept, "--ask", "1000,2,4,2")


def test_calibrating_and_forgetting(capsys, kept, tmp_path):
    status, out, _ = call(capsys, "map", kept, "--calibrate")
    assert status == 0
    assert "kernel='auto' is now cython-tiled in 3 of 16 cells and cpp-simd elsewhere" in out
    (path,) = (tmp_path / "config" / "kmeans-lab").iterdir()
    assert str(path) in out
    assert "is removed" in call(capsys, "map", "--forget")[1]
    assert not path.exists()
    assert call(capsys, "map", "--forget")[1] == "There was no calibration.\n"
    told = json.loads(call(capsys, "map", kept, "--calibrate", "--json")[1])
    assert told["usual"] == "cpp-simd"
    assert len(told["choices"]) == 16


def foreign(data):
    data["machine"]["cpu"] = "another"


def older(data):
    data["kmeans_lab"] = "0.0.1"


@pytest.mark.parametrize(
    ("change", "words"),
    [(foreign, r"from another machine \(cpu 'another'"), (older, "measured with kmeans_lab 0.0.1")],
)
@pytest.mark.parametrize("option", ["--resume", "--calibrate"])
def test_a_map_of_another_machine_or_version_is_refused(capsys, kept, change, words, option):
    data = made_up_map()
    change(data)
    kept.write_text(dumps(data))
    before = kept.read_bytes()
    assert re.search(words, refused(capsys, "map", kept, option))
    assert kept.read_bytes() == before
    assert call(capsys, "map", kept)[0] == 0  # it may be read anywhere


# What may be wrong with a map.
DAMAGED = {
    "another format": lambda it: it | {"format": "kmeans-lab bench"},
    "another version": lambda it: it | {"version": 2},
    "no cells": lambda it: {k: v for k, v in it.items() if k != "cells"},
    "no grid": lambda it: it | {"grid": {}},
    "a size": lambda it: it | {"grid": it["grid"] | {"n": ["1000"]}},
    "a cell twice": lambda it: it | {"cells": it["cells"] * 2},
    "a cell that is not in the grid": lambda it: it | {"grid": it["grid"] | {"d": [3]}},
    "a run of another shape": lambda it: (
        it | {"cells": [it["cells"][0] | {"run": it["cells"][1]["run"]}]}
    ),
    "other rows": lambda it: it | {"grid": it["grid"] | {"dtype": "float32"}},
    "a run without its baseline": lambda it: (
        it | {"cells": [it["cells"][0] | {"run": it["cells"][0]["run"] | {"baseline": "x"}}]}
    ),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_map_is_refused(capsys, kept, fault):
    kept.write_text(json.dumps(DAMAGED[fault](json.loads(kept.read_text()))))
    before = kept.read_bytes()
    for option in ((), ("--resume",), ("--calibrate",), ("--ask", "1000,2,4")):
        assert "kept.json" in refused(capsys, "map", kept, *option)
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--minutes", "0"), "--minutes 0 must be more than 0"),
        (("--minutes", "nan"), "--minutes nan must be more than 0"),
        (("--n", "1.5"), "--n 1.5 must be up to 64 whole numbers, like 1e3,1e4"),
        (("--k", "a"), "--k a must be"),
        (("--d", "0"), "--d 0 must be"),
        (("--n", "10", "--k", "9"), "no cell has two rows for each cluster"),
        (("--n", MANY, "--d", MANY), "cells, at most 1,000; give fewer sizes"),
        (("--dtype", "float16"), "--dtype float16 is not known; choose float64 or float32"),
        (("--rounds", "3"), "--rounds 3 must be at least"),
        (("--threads", "0"), "--threads 0 must be counts of at least 1"),
        (("--kernel", "no-such"), "'no-such' is not known"),
        (("-o", "m.txt"), "m.txt"),
        (("-o", "a.json", "-o", "b.json"), "--output b.json is a second .json"),
        (("--resume",), "--resume needs the map that goes on"),
        (("--calibrate",), "--calibrate needs a map that is measured"),
        (("--ask", "1,2,3"), "--ask needs a map that is measured"),
        (("kept.json", "--minutes", "3"), "--minutes has no effect on a map that is only read"),
        (("kept.json", "--resume", "--n", "10"), "--n has no effect on a map that goes on"),
        (("kept.json", "--resume", "-o", "b.json"), "--resume goes on in kept.json"),
        (("kept.json", "--ask", "1,2"), "--ask 1,2 must be rows, features and clusters"),
        (("kept.json", "-o", "x.json"), "x.json"),
        (("none.json",), "none.json cannot be read"),
        (("kept.json", "--forget"), "--forget stands alone"),
    ],
)
def test_refusals_are_one_sentence(capsys, kept, argv, words):
    assert words in refused(capsys, "map", *argv)


def test_existing_outputs_are_kept_without_force(capsys, kept, tmp_path):
    (tmp_path / "map.json").write_text("mine")
    (tmp_path / "m.html").write_text("mine")
    said = refused(capsys, *SMALL, *FAST)
    assert "map.json exists and is kept; use --force to replace it, or kmeans-lab map" in said
    assert "m.html exists" in refused(capsys, "map", kept, "-o", "m.html")
    assert "m.html exists" in refused(capsys, *SMALL, *FAST, "-o", "a.json", "-o", "m.html")
    assert {(tmp_path / name).read_text() for name in ("map.json", "m.html")} == {"mine"}
