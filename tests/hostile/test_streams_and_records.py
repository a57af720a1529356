"""Closed and full streams, hostile records and endless files: one sentence, and no traceback."""

import io
import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmeans_lab.cli import main as cli
from kmeans_lab.io.errors import Refused
from kmeans_lab.measure import machine, record
from kmeans_lab.measure.rounds import PairedRun
from kmeans_lab.pages import bench
from kmeans_lab.presets import PRESETS

pytestmark = pytest.mark.hostile

CLOSED = "standard output is closed, and there is something to print; leave it open, or send it to"


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", np.arange(12.0).reshape(6, 2))


class Full(io.StringIO):
    """A stream on a full device."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


COMMANDS = (
    ["--help"],
    ["--version"],
    ["presets"],
    ["presets", "--json"],
    ["fit", "X.npy", "-k", "2", "--kernel", "numpy"],
    ["fit", "X.npy", "-k", "2", "--kernel", "numpy", "--json"],
    ["study"],
    ["report", "run.json", "-o", "p.html"],
    ["bench", "--preset", "smoke"],
    ["check", "cpp"],
    ["serve"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_closed_output_is_said_before_the_work(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(command) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told == f"kmeans-lab: error: {CLOSED} /dev/null"
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    assert cli.main(command) == 2


@pytest.mark.parametrize("stream", [None, Full()])
def test_an_error_stream_that_nobody_reads_changes_no_status(
    stream: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert cli.main([]) == 2
    assert cli.main(["fit", "X.npy", "-k", "2", "--kernel", "numpy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_clusters"] == 2  # and nothing beside it


def test_without_any_stream_a_quiet_fit_still_writes_its_result() -> None:
    """No file that is opened later stands where standard output was closed."""
    fit = f"{sys.executable} -m kmeans_lab fit X.npy -k 2 --kernel numpy"
    loud = f"{fit} <&- >&- 2>&-; echo $?"
    quiet = f"{fit} -q -o r.npz <&- >&- 2>&-; echo $?"
    full = f"{fit} 2>/dev/full >/dev/full; echo $?"
    script = f"{loud}; {quiet}; {full}"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["2", "0", "2"], "")
    with np.load("r.npz") as archive:
        assert set(archive.files) == {"labels", "centers", "inertia", "n_iter"}


@pytest.fixture(scope="module")
def whole() -> Any:
    run = PairedRun(PRESETS["smoke"].load(), "smoke", ["cpp", "numpy"], "cpp", n_rounds=3)
    with pytest.MonkeyPatch.context() as patch:
        costs = {"import": 0.01, "compile": None, "load": None, "build": 3.0}
        patch.setattr("kmeans_lab.measure.rounds.start_costs", lambda *arguments, **options: costs)
        run.run()
    return json.loads(record.dumps(record.to_dict([run], machine.card())))


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = there = deepcopy(data)
    for part in path[:-1]:
        there = there[part]
    there[path[-1]] = value
    return changed


def read(text: str) -> str:
    """Read a record and draw its page; return why it was refused, if it was."""
    Path("m.json").write_text(text, encoding="utf-8")
    try:
        data = record.read(Path("m.json"))
        bench.page(data, []).encode()
        record.compare(data, data)
    except Refused as error:
        return str(error)
    return ""


FIRST = ("runs", 0, "contestants", 0)
ZERO = dict.fromkeys(("prepare", "init", "assign", "update", "finish"), [0.0] * 3)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("machine", "load_average", 0), 10**400),
        (("runs", 0, "calibration", "drift"), 10**400),
        (("runs", 0, "n_samples"), 10**400),
        ((*FIRST, "phases"), ZERO),
        ((*FIRST, "phases", "assign"), [0.0] * 3),
        ((*FIRST, "seconds"), [5e-324] * 3),
        ((*FIRST, "name"), "\ud800"),
        ((*FIRST, "why"), "\ud800"),
        (("machine", "builds"), {"\ud800": "x"}),
    ],
    ids=range(9),
)
def test_a_hostile_record_is_refused_in_a_sentence(
    whole: Any, path: tuple[Any, ...], value: Any
) -> None:
    assert read(json.dumps(whole)) == ""
    why = read(json.dumps(put(whole, path, value)))
    assert why.startswith("m.json")
    assert "; " in why
    assert "\n" not in why


@pytest.mark.parametrize(
    "raw",
    ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000, "[" * 100_000, '{"a":' * 2000],
    ids=range(7),
)
def test_hostile_json_is_refused_in_a_sentence(whole: Any, raw: str) -> None:
    text = json.dumps(put(whole, ("runs", 0, "calibration", "drift"), "HERE"))
    assert read(text.replace('"HERE"', raw)).startswith("m.json ")
    assert read(raw).startswith("m.json ")


def paths(data: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    items = data.items() if isinstance(data, dict) else ()
    items = list(enumerate(data))[:2] if isinstance(data, list) else items
    for key, value in items:
        yield from paths(value, (*path, key))


@pytest.mark.slow
def test_whatever_is_put_anywhere_into_a_record_leads_to_no_traceback(whole: Any) -> None:
    values = (10**400, -(10**400), -1, 0, 0.0, 5e-324, 1e308, 1e30, 10**15, "\ud800", "", True)
    for path in paths(whole):
        for value in (*values, None, [], {}, [0.0], ["a"], {"a": 1}):
            if path:
                read(json.dumps(put(whole, path, value)))


@pytest.mark.parametrize("command", [["report", "-o", "p.html"], ["bench", "--compare"]])
def test_an_endless_record_is_refused_after_some_mebibytes(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, "/dev/zero"]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("kmeans-lab: error: /dev/zero has more than 8 MiB, which no run has;")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("z.csv", "z.csv begins with zero bytes and must be text"),
        ("z.npy", "z.npy is not an .npy file"),
        ("z.py", "z.py has more than 16 MiB and must be a kernel's source"),
    ],
)
def test_a_file_of_terabytes_is_refused_by_its_beginning(
    name: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path(name).open("wb") as file:
        file.truncate(2**43)  # a hole takes no room
    call = ["check", name] if name == "z.py" else ["fit", name, "-k", "2"]
    assert cli.main(call) == 2
    assert capsys.readouterr().err.startswith(f"kmeans-lab: error: {why}; ")


def test_a_line_without_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kmeans_lab.io.text_tables._LONGEST", 1 << 20)
    Path("x.csv").write_text("1,2\n" + "3" * 2_000_000 + "\n")
    assert cli.main(["fit", "x.csv", "-k", "1"]) == 2
    assert "x.csv, line 2 has more than 1 million characters" in capsys.readouterr().err
