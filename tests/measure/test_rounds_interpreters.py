"""The paired run over several interpreters: the same rounds, the same judge, one record."""

import copy
import json
import os
import re
from pathlib import Path

import jsonschema
import pytest

from kmeans_lab.crews.lock import lock_is_on, may_run_without
from kmeans_lab.formatting import as_text
from kmeans_lab.io.errors import Refused
from kmeans_lab.isolation.interpreters import find_interpreters
from kmeans_lab.measure import machine, record, tables
from kmeans_lab.measure.rounds import TWIN, PairedRun
from kmeans_lab.pages.bench import page
from kmeans_lab.presets import PRESETS
from kmeans_lab.registry import KERNELS
from kmeans_lab.spec import KernelSpec
from tests.support.other_pythons import VARIABLE, needs_other, wrapper
from tests.support.planted import GOOD

pytestmark = pytest.mark.skipif(os.name != "posix", reason="interpreters are shell scripts here")

SCHEMA = json.loads((Path(record.__file__).parent / "bench.json").read_text("utf-8"))
OLD = Path(__file__).parents[2] / "docs" / "runs" / "standard.json"

#: Steps of a planted kernel that are spoiled where a variable says so: in the other interpreter.
SPOILED = """
import os, sys
calls = 0
def assign(rows, centers, labels):
    global calls
    calls += 1
    inertia = good_assign(rows, centers, labels)
    if os.environ.get("SPOILED"):
        {}
    return inertia
"""
#: What is wrong there, and how the row of that interpreter ends.
FAULTS = {
    "a wrong label": ("labels[0] = (labels[0] + 1) % 5", "INVALID", "iteration 1: "),
    "an exception": ("raise OSError('cable')", "broken", "OSError: cable"),
    "a crash": ("os.abort()", "broken", "it ended its process (signal 6)"),
    "an end in the rounds": ("calls > 8 and os._exit(0)", "broken", "round "),
    "another bit in the rounds": ("labels[0] = calls > 8 or labels[0]", "INVALID", "round "),
    "the lock, turned on": (
        "sys._is_gil_enabled = lambda: calls > 10 or os.environ['SPOILED'] == 'locked'",
        "INVALID",
        "after the rounds: the interpreter's lock was turned on during them",
    ),
}


def paired(path, *kernels, **options):
    """Return a run on the smoke preset, here and in another interpreter, done."""
    run = PairedRun(
        PRESETS["smoke"].load(),
        "smoke",
        kernels,
        "cpp",
        interpreters=find_interpreters([path]),
        **{"n_rounds": 6} | options,
    )
    run.run()
    return run


def in_json(run):
    """Return the record of a run as it is written and read again."""
    data = json.loads(record.dumps(record.to_dict([run], machine.card())))
    jsonschema.validate(data, SCHEMA, jsonschema.Draft202012Validator)
    return data


def label(run):
    (it,) = run.interpreters
    return f"@{it.name}"


@pytest.fixture
def unlocked(tmp_path):
    """Return an interpreter that says it has no lock, as this one may not be able to."""
    folder = tmp_path / "start"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys._is_gil_enabled = lambda: False\n")
    return wrapper(tmp_path, first=folder)


@pytest.fixture
def plant(monkeypatch, tmp_path):
    """Add a kernel that other interpreters find, or do not."""

    def add(source, *, elsewhere=True):
        folder = tmp_path / "kernels"
        folder.mkdir()
        (folder / "planted_kernel.py").write_text(GOOD + source)
        spec = KernelSpec("planted_kernel", "planted", "install it", threading="gil")
        monkeypatch.setitem(KERNELS, "planted", spec)
        monkeypatch.syspath_prepend(folder)
        found = folder if elsewhere else tmp_path
        return wrapper(tmp_path, before="export SPOILED=yes", first=found, others=False)

    return add


@pytest.fixture(params=["this one", pytest.param("another", marks=needs_other)])
def path(request, tmp_path):
    """Return this Python under another name, or the one that the environment names."""
    return wrapper(tmp_path) if request.param == "this one" else os.environ[VARIABLE]


def test_each_kernel_runs_in_each_interpreter_once_a_round(path):
    run = paired(path, "cpp", "numpy", "python")
    at = label(run)
    own = ["cpp", "numpy", "python"]
    names = [*own, *(f"{name} {at}" for name in own), f"cpp{TWIN}"]
    assert [it.name for it in run.contestants] == names
    assert all(sorted(order) == sorted(names) for order in run.orders)
    for it in run.contestants:
        assert (it.state, it.why, it.rounds) == ("valid", "", list(range(6)))
        assert it.certificate.ties == 0
    # Each is held to a certificate of its own interpreter's; the twin to the baseline's.
    found = {it.name: id(it.certificate) for it in run.contestants}
    assert found[f"cpp{TWIN}"] == found["cpp"]
    assert len({*found.values()}) == len(names) - 1
    assert run.n_comparisons == len(names) - 1


def test_the_record_the_tables_and_the_page_say_where_a_kernel_ran(path, tmp_path):
    run = paired(path, "cpp", "python")
    at = label(run)
    data = in_json(run)
    (tmp_path / "run.json").write_text(record.dumps(data))
    assert record.read(tmp_path / "run.json") == data
    (found,) = data["runs"]
    there = [it for it in found["contestants"] if it["interpreter"]]
    assert [(it["kernel"], it["name"]) for it in there] == [
        ("cpp", f"cpp {at}"), ("python", f"python {at}"),
    ]  # fmt: skip
    for it in found["contestants"]:
        assert it["lock"] is (lock_is_on() if not it["interpreter"] else it["lock"])
        own = next(o for o in found["contestants"] if o["name"] == it["kernel"])
        assert it["source"] == own["source"]  # one source, shown once
        assert tables.is_twin(found, it) == (it["name"] == f"cpp{TWIN}")
    here, other = data["interpreters"]
    assert here["name"] == ""
    assert here["free_threaded"] == may_run_without()
    assert other["name"] == at.removeprefix("@")
    assert {*other["locked"], *other["free"]} == {"cpp", "python"}
    assert other["builds"]["cpp"]
    text = as_text(*tables.of_run(found))
    assert re.search(rf"^cpp {at} +[\d.]+ .* (yes|no) +valid *$", text, re.MULTILINE)
    assert "the same kernel, here and there" in text
    assert len(tables.pairs_of(found)) == 2
    html = page(data)
    assert html.count(f"python {at}") >= 3  # an axis, phases, tables
    for line in machine.interpreter_lines(data["interpreters"]):
        assert line.partition(":")[0] in ("here", at)
        assert line.partition("(")[0] in html


def test_pairs_are_the_ratios_of_the_rounds_that_both_ran_in(path):
    data = in_json(paired(path, "cpp", "python"))
    (run,) = data["runs"]
    own, other = (
        next(
            it
            for it in run["contestants"]
            if it["kernel"] == "python" and bool(it["interpreter"]) == there
        )
        for there in (False, True)
    )
    own["seconds"], other["seconds"] = [1.0] * 6, [4.0, 4.0, 4.0, 4.0]
    other["rounds"] = [0, 2, 3, 5]
    run["floor"], run["void"] = 1.1, ""
    (row,) = [it for it in tables.pairs_of(run) if it[0] == other["name"]]
    assert row[3:] == ("4.00 × slower", "4.00–4.00")
    (twin,) = [it for it in run["contestants"] if tables.is_twin(run, it)]
    expected = tables.pairs_of(run)
    twin["seconds"] = [it / 2 for it in twin["seconds"]]
    assert tables.pairs_of(run) == expected  # the baseline itself is what is compared
    run["void"] = "it rained"
    assert {it[3] for it in tables.pairs_of(run)} == {"void"}
    run["void"], run["floor"] = "", None
    assert {it[3] for it in tables.pairs_of(run)} == {"–"}
    other["seconds"] = []
    assert [it[0] for it in tables.pairs_of(run)] == [f"cpp {other['name'].split()[1]}"]


def test_a_second_thread_of_python_code_is_measured_where_there_is_no_lock(unlocked):
    run = paired(unlocked, "python", n_threads=2)
    state = {it.name: (it.state, it.lock) for it in run.contestants}
    assert state[f"python {label(run)}"] == ("valid", False)
    assert state[f"cpp {label(run)}"] == ("valid", False)
    own = run.find("python")
    if lock_is_on():
        assert (own.state, own.why) == (
            "left out",
            "it holds the GIL: a second thread could not help",
        )
    here, there = record.interpreters_of([run])
    assert (there["locked"], there["free"]) == ([], ["cpp", "python"])
    assert (here["free"] == []) == lock_is_on()


def test_a_lock_that_is_on_in_a_free_threaded_interpreter_is_told(path):
    (it,) = record.interpreters_of([paired(path, "python")])[1:]
    told = it | {"free_threaded": True, "locked": ["python"], "free": ["cpp"]}
    assert (
        "; the lock was turned on in the processes of python"
        in machine.interpreter_lines([it, told])[1]
    )
    told |= {"locked": [], "free": ["python"]}
    assert machine.interpreter_lines([it, told])[1].endswith(", without the lock")
    told |= {"free_threaded": False, "locked": ["python"], "free": []}
    assert machine.interpreter_lines([it, told])[1].endswith(", with the lock")
    assert machine.interpreter_lines([told]) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_in_one_interpreter_costs_the_other_nothing(fault, plant):
    spoiled, state, why = FAULTS[fault]
    run = paired(plant(SPOILED.format(spoiled)), "planted")
    there = run.find(f"planted {label(run)}")
    assert (there.state, there.seconds) == (state, [])
    assert there.why.startswith(why)
    for name in ("planted", "cpp", f"cpp {label(run)}", f"cpp{TWIN}"):
        assert (run.find(name).state, len(run.find(name).seconds)) == ("valid", 6)
    in_json(run)


def test_a_kernel_that_is_missing_there_is_a_row_with_its_reason(plant):
    run = paired(plant("", elsewhere=False), "planted")
    there = run.find(f"planted {label(run)}")
    assert there.state == "unavailable"
    assert there.why == (
        "kernel 'planted' is not available: there is no module 'planted_kernel'; install it"
    )
    assert run.find("planted").state == "valid"
    in_json(run)


def test_a_record_without_interpreters_is_read_and_shown_as_before():
    data = record.read(OLD)
    assert "interpreters" not in data
    (run, *_) = data["runs"]
    assert tables.pairs_of(run) == []
    assert not tables.in_several(run)
    assert "interpreter" not in as_text(*tables.of_run(run))
    assert [it["name"] for it in run["contestants"] if tables.is_twin(run, it)] == [
        f"{run['baseline']}{TWIN}"
    ]
    assert "In another interpreter" not in page(data)


def test_runs_in_other_interpreters_of_one_name_are_not_compared(path):
    data = in_json(paired(path, "python"))
    for run in data["runs"]:
        run["void"] = ""
    assert record.compare(data, data)
    older = copy.deepcopy(data)
    older["interpreters"][1]["version"] = "3.13.1"
    with pytest.raises(Refused, match=r"^the older run had '3\.13\.1' as version of the interpre"):
        record.compare(older, data)
    del older["interpreters"]
    assert record.compare(older, data)
