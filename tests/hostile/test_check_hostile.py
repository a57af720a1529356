"""``kmeans-lab check``: whatever a kernel does to its process, there is a verdict."""

import sys
from pathlib import Path

import pytest

from kmeans_lab import registry
from kmeans_lab.cli import main as cli
from kmeans_lab.measure import conformance, exam
from kmeans_lab.numerics import whole_numbers
from tests.support.planted import BY_NUMPY, ROWS

pytestmark = pytest.mark.hostile


def wrong_above(n):
    return f"""
def assign(rows, centers, labels):
    inertia = good_assign(rows, centers, labels)
    if len(rows) > {n}:
        labels[{n}] = (labels[{n}] + 1) % len(centers)
    return inertia
"""


IN_ASSIGN = "def assign(*arrays):\n    {}\n"
ONCE = (  # right while it is looked at, and gone when it is imported once more
    "from pathlib import Path\nimport os\nif Path('seen').exists():\n    {}\n"
    "Path('seen').write_text('')\n"
)
LATER = (
    "calls = 0\ndef assign(*arrays):\n    global calls\n    calls += 1\n"
    "    if calls > 9:\n        import os; os._exit(0)\n    return good_assign(*arrays)\n"
)
# What is added to a right kernel; the status; what is said.
FAULTS = {
    "SystemExit(0)": (IN_ASSIGN.format("raise SystemExit(0)"), 1, "it raised SystemExit: 0"),
    "os._exit(0)": (IN_ASSIGN.format("import os; os._exit(0)"), 1, "(exit status 0)"),
    "os._exit(0), later": (LATER, 1, "it ended its process (exit status 0)"),
    "a segmentation fault": (
        IN_ASSIGN.format("import os; os.kill(os.getpid(), 11)"), 1, "(signal 11)",
    ),
    "Ctrl-C": (IN_ASSIGN.format("raise KeyboardInterrupt"), 1, "it raised KeyboardInterrupt"),
    "signals to all": (IN_ASSIGN.format("import os; os.kill(0, 9)"), 1, "(signal 9)"),
    "exit on import": ("import os\nos._exit(0)", 2, "ends the process (exit status 0)"),
    "SystemExit on import": ("raise SystemExit(0)", 2, "raised SystemExit(0)"),
    "exit on the second import": (ONCE.format("os._exit(0)"), 1, "(exit status 0)"),
    "SystemExit on the second import": (ONCE.format("raise SystemExit(0)"), 1, "SystemExit(0)"),
    "Ctrl-C on import": ("raise KeyboardInterrupt", 2, "KeyboardInterrupt"),
    "wrong above 2 200 rows": (wrong_above(2_200), 1, "2205 × 2 float32, k = 3: row 2200 got"),
    "wrong above 100 000 rows": (wrong_above(100_000), 1, "row 100000 got label"),
    "a closed pipe": (IN_ASSIGN.format("import os; os.closerange(3, 99)"), 1, "its process"),
    "a number that is none": (IN_ASSIGN.format("return 1j"), 1, "must return a float"),
    "changed that lies": (ROWS.format("changed = 0"), 1, "prepared rows say that 0 labels changed"),
    "greedy that lies": (
        ROWS.format("greedy = lambda self, X, first, draws: [0] * (len(draws) + 1)"),
        1,
        "greedy of its prepared rows chose [0, 0,",
    ),
    "another kernel's code": (
        "def assign(*arrays):\n    from kmeans_lab import _cpp_kernel\n"
        "    return _cpp_kernel.assign(*arrays)\n",
        1,
        "kmeans_lab._cpp_kernel belongs to another kernel",
    ),
    "another kernel's code, imported": (
        "from kmeans_lab import _cpp_kernel\nassign = _cpp_kernel.assign\n",
        1,
        "code of kmeans_lab._cpp_kernel ran in place of its own",
    ),
    "another kernel's code, unwatched": (
        "import sys\ndef assign(*arrays):\n    if sys.getprofile():\n"
        "        return good_assign(*arrays)\n    from kmeans_lab.tuned import simd as it\n"
        "    return it.assign(it.prepare(arrays[0], len(arrays[1]), 1), *arrays[1:])\n",
        1,
        "kmeans_lab.tuned.simd belongs to another kernel",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_added", {})


def check(capsys, source):
    Path("mine.py").write_text(BY_NUMPY + source)
    status = cli.main(["check", "mine.py"])
    assert "kmeans_lab_kernel_mine" not in sys.modules
    return status, *capsys.readouterr()


#: One of each kind: the others take ``make test`` too long.
SOME = (
    *("SystemExit(0)", "os._exit(0)", "exit on the second import", "wrong above 2 200 rows"),
    *("another kernel's code, imported", "another kernel's code, unwatched"),
    *("changed that lies", "greedy that lies"),
)
FAULTS_IN_TURN = [
    pytest.param(fault, marks=[] if fault in SOME else [pytest.mark.slow]) for fault in FAULTS
]


@pytest.mark.parametrize("fault", FAULTS_IN_TURN)
def test_there_is_a_verdict(fault, capsys, monkeypatch):
    source, status, sentence = FAULTS[fault]
    if "rows" not in fault:
        monkeypatch.setattr(whole_numbers, "_CHUNKS", ())
        monkeypatch.setattr(conformance, "_TWO_CHUNKS", "smoke-grid")
    found, out, err = check(capsys, source)
    assert (found, err.count("\n")) == (status, 1)
    assert sentence in out + err
    assert ("wrong  " in out) == (status == 1)


def test_a_right_kernel_is_right(capsys):
    status, out, err = check(capsys, "")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "right  it is right on many rows, too"


def test_a_kernel_that_hangs_is_asked_no_more(capsys, monkeypatch):
    monkeypatch.setattr(exam, "PATIENCE", 2.0)
    status, out, err = check(capsys, IN_ASSIGN.format("import time; time.sleep(99)"))
    assert status == 1
    first = "every row gets its nearest center"
    assert f"wrong  {first}\n       it took longer than 2 s" in out
    assert "not asked  ties go to the lowest index\n" in out
    assert f"it was not asked: at '{first}' it took longer than 2 s" in out
    left = len(conformance.QUESTIONS) - 1
    assert err == f"kmeans-lab: mine is wrong in 1 of 2 points; {left} more were not asked\n"


@pytest.mark.slow  # tests/isolation/test_plugins.py has the same of a plug-in
def test_an_import_that_hangs_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("kmeans_lab.isolation.plugins.PATIENCE", 1.0)
    status, out, err = check(capsys, "import time; time.sleep(99)")
    assert (status, out) == (2, "")
    assert "mine.py cannot be imported: that takes longer than 1 s" in err
