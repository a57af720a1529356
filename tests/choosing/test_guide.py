"""The decision guide: tables and advice from records, between the markers of a page."""

import json
import re
import subprocess
import sys

import pytest

from kmeans_lab.choosing import KEPT, guide
from kmeans_lab.choosing.advice import advice
from kmeans_lab.choosing.tool import Tool, tools_of
from kmeans_lab.io.errors import Refused
from kmeans_lab.registry import KERNELS
from tests.support.helpers import ROOT

CARD = {
    "cpu": "a processor",
    "cores": 2,
    "affinity": 2,
    "load_average": [0.0, 0.0, 0.0],
    "system": "Linux x86_64",
    "python": "3.11",
    "numpy": "2.0",
    "numba": None,
    "builds": {},
    "pools": [],
}
GUESTS = ("nanobind", "c-ctypes", "c-cffi", "rust", "mypyc", "pythran", "jax", "torch")
PAGE = f"before\n{guide.BEGIN.format('advice')}\nstale\n{guide.END.format('advice')}\nbetween\n" + (
    f"{guide.BEGIN.format('choosing')}\nstale\n{guide.END.format('choosing')}\nafter"
)


def interval(middle):
    """Return an interval's record around a value."""
    return {"middle": middle, "low": 0.5 * middle, "high": 2 * middle, "confidence": 0.95, "n": 9}


def costs(kernel, i, **more):
    """Return the i-th kernel's costs, all of which differ."""
    return {
        "kernel": kernel,
        "state": "ready",
        "why": "",
        "threading": "gil" if kernel in ("python", "mypyc") else "nogil",
        "debugging": f"debugging {kernel}",
        "wheels": f"wheels of {kernel}",
        "call": interval(1e-6 * (i + 1)),
        "times_empty": interval(10.0),
        "imports": 0.25 * i,
        "compiles": 3.0 if kernel in ("numba", "torch-compile") else None,
        "builds": 100.0 + i,
        "lines": 1000 + i,
        "binary": 2**20 * i,
        "packages": 0,
    } | more


def contestant(kernel, milliseconds, gain):
    """Return a certified contestant's record."""
    return {
        "name": kernel,
        "kernel": kernel,
        "state": "valid",
        "seconds": [milliseconds / 1e3] * 3,
        "ratio": None if kernel == "numpy" else interval(1 / gain),
    }


@pytest.fixture
def records():
    """Return a run and an overhead record of all kernels and guests."""
    names = [*KERNELS, *GUESTS, "torch-compile"]
    kernels = [costs(name, i) for i, name in enumerate(names)]
    kernels.append(costs("lost", 99, state="unavailable", why="it is not here", call=None))
    contestants = [contestant(name, 100 + i, 2.0 + i) for i, name in enumerate(names)]
    contestants.append({**contestant("numpy", 1, 1.0), "name": "numpy again"})
    run = {
        "preset": "standard",
        "n_samples": 16250,
        "n_features": 10,
        "n_clusters": 25,
        "dtype": "float64",
        "baseline": "numpy",
        "void": "",
        "floor": 1.01,
        "contestants": contestants,
    }
    overhead = {"format": "kmeans-lab overhead", "version": 1, "machine": CARD, "kernels": kernels}
    return {"machine": CARD, "runs": [run]}, overhead


def test_a_tool_joins_both_records(records):
    tools = tools_of(*records)
    assert [*tools] == [it["kernel"] for it in records[1]["kernels"]]
    cpp = tools["cpp"]
    assert (cpp.fit, cpp.beside) == (0.105, "7.00 × faster (3.50–14.0)")
    assert (cpp.call, cpp.size, cpp.build) == (6.0, 5 * 2**20, 105.0)
    assert tools["numba"].first == 0.25 * 3 + 3.0
    assert (tools["numpy"].beside, tools["numpy"].fit) == ("1", 0.102)  # not that of its twin
    assert (tools["lost"].seconds, tools["lost"].beside) == (None, "–")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data["runs"][0].update(baseline="cpp"), "baseline numpy"),
        (lambda data: data["runs"][0].update(void="the machine changed"), "that counts"),
        (lambda data: data["runs"].append(data["runs"][0]), "one table"),
        (lambda data: data.update(machine=CARD | {"cpu": "another"}), "another machine"),
    ],
)
def test_what_no_guide_can_be_made_of_is_refused(records, change, why):
    change(records[0])
    with pytest.raises(Refused, match=why):
        tools_of(*records)


def test_every_ready_kernel_has_a_row_in_both_tables_and_others_a_sentence(records):
    numbers, words, *sentences = guide.tables(tools_of(*records))
    for table in (numbers, words):
        rows = table.splitlines()
        assert len(rows) == 2 + len(records[1]["kernels"]) - 1
        assert len({row.count("|") for row in rows}) == 1
    cells = "105 | 7.00 × faster (3.50–14.0) | 1,005 | 105 | 1,250 | 1,250 | 5.00 MiB | 6.00"
    assert f"| `cpp` | {cells} |" in numbers
    assert "| `numpy` | 102 | 1 |" in numbers
    assert "| `cpp` | debugging cpp | released | the driver's | wheels of cpp |" in words
    assert sentences == ["- `lost` is unavailable here: it is not here."]


def test_each_advice_has_the_numbers_that_it_rests_on(records):
    found = advice(tools_of(*records))
    assert len(found) == 10
    assert all(line.startswith("- **") for line in found)
    assert all(re.search(r"\d", line) for line in found if "need threads" not in line)
    daily = found[0]
    assert "1,003 lines" in daily
    assert "takes 2,060 ms, after 3.75 s" in daily  # 2 s · 103 / 100
    assert "`python` and `mypyc` do not" in " ".join(found)


def test_advice_about_what_was_not_measured_is_left_out(records):
    data, overhead = records
    data["runs"][0]["contestants"] = [
        it for it in data["runs"][0]["contestants"] if it["kernel"] in KERNELS
    ]
    found = advice(tools_of(data, overhead))
    assert 3 <= len(found) < 10
    assert not [line for line in found if "nanobind or pybind11?" in line]
    assert advice({}) == []


def test_the_page_keeps_what_is_outside_of_the_markers(records, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    for _ in range(2):  # the second time, over what the first has written
        guide.write_guide(page, *records)
        text = page.read_text()
        assert text.startswith("before\n<!-- advice:begin -->\n- **")
        assert text.endswith("<!-- choosing:end -->\nafter")
        assert "\nbetween\n" in text
        assert "stale" not in text
        assert "16,250 × 10 float64, k = 25" in text
    page.write_text("no markers")
    with pytest.raises(Refused, match="advice:begin"):
        guide.write_guide(page, *records)
    assert page.read_text() == "no markers"


def test_what_the_page_in_the_browser_shows_is_the_same(records, tmp_path, monkeypatch):
    kept = guide.kept(*records)
    numbers, words, _ = guide.tables(tools_of(*records))
    for table, rows in ((numbers, kept["numbers"]), (words, kept["words"])):
        shown = [line.replace("`", "").strip("| ").split(" | ") for line in table.splitlines()]
        assert rows == [shown[0], *shown[2:]]
    assert kept["setting"].startswith("Whole fits of the preset standard (16,250 × 10 float64")
    assert "a processor" in kept["machine"][0]


def test_from_the_shell_a_refusal_is_a_sentence(records, tmp_path):
    path = tmp_path / "overhead.json"
    path.write_text(json.dumps(records[1]))
    command = [sys.executable, "-m", "kmeans_lab.choosing.guide", path, path, path]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "is not a run of kmeans-lab" in run.stderr


def test_the_guide_in_the_documents_has_been_written():
    text = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    between = text.partition(guide.BEGIN.format("choosing"))[2].partition(guide.END[:4])[0]
    for name in KERNELS:
        assert f"| `{name}` |" in between
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert [row[0] for row in kept["numbers"]] == [row[0] for row in kept["words"]]
    assert {*KERNELS} <= {row[0] for row in kept["numbers"]}
    assert kept["setting"].replace("standard", "`standard`") in between


def test_a_tool_without_a_number_has_none():
    tool = Tool(costs("any", 0), None, "–")
    with pytest.raises(AssertionError):
        _ = tool.fit
