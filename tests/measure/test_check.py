"""``kmeans-lab check``: every planted fault is found, and said in words."""

import json
import sys

import pytest

from kmeans_lab import kmeans, registry
from kmeans_lab.cli import main as cli
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.measure import conformance
from kmeans_lab.measure.exam import examine
from kmeans_lab.numerics import whole_numbers
from kmeans_lab.registry import KERNELS, find_spec, known_as, load_kernel
from tests.support.planted import GOOD

# The fault, and a question that it fails with what is said.
FAULTS = {
    "no update": ("del update", "it has assign and update", "there is no function update"),
    "stale labels": (
        "memory = []\ndef assign(rows, centers, labels):\n"
        "    inertia = good_assign(rows, centers, labels)\n"
        "    memory.append([int(label) for label in labels])\n"
        "    labels[:] = memory[-2] if len(memory) > 1 and len(memory[-2]) == len(labels) else "
        "labels\n    return inertia\n",
        "every row gets its nearest center",
        "got label",
    ),
    "mutated X": (
        "def assign(rows, centers, labels):\n"
        "    inertia = good_assign(rows, centers, labels)\n"
        "    if rows.flags.writeable:\n        rows[0, 0] += 1\n    return inertia\n",
        "inputs stay as they are",
        "it changed its rows, float32; inputs belong to the caller",
    ),
    "last chunk skipped": (
        "def assign(rows, centers, labels):\n"
        "    n = len(rows) // 8 * 8 or 1\n    return good_assign(rows[:n], centers, labels[:n])\n",
        "every row gets its nearest center",
        "37 × 1 float32, k = 8: assign left 5 labels unwritten, the first in row 32",
    ),
    "the last of equals": (
        "def assign(rows, centers, labels):\n"
        "    inertia = good_assign(rows, centers[::-1], labels)\n"
        "    labels[:] = [len(centers) - 1 - j for j in labels]\n    return inertia\n",
        "ties go to the lowest index",
        "row 0 got label",
    ),
    "NaN": (
        "def assign(rows, centers, labels):\n"
        "    return good_assign(rows, centers, labels) * float('nan')\n",
        "assign returns the inertia",
        "assign returned the inertia nan and the sum of squared distances is",
    ),
    "nothing returned": (
        "def assign(rows, centers, labels):\n    good_assign(rows, centers, labels)\n",
        "assign returns the inertia",
        "assign returned None and must return a float",
    ),
    "off by one in k": (
        "def assign(rows, centers, labels):\n"
        "    return good_assign(rows, centers[:-1] if len(centers) > 1 else centers, labels)\n",
        "every row gets its nearest center",
        "and its nearest center is 7",
    ),
    "update overwrites": (
        "def update(rows, labels, sums, counts):\n"
        "    sums.fill(0)\n    counts.fill(0)\n    good_update(rows, labels, sums, counts)\n",
        "update adds to sums and counts",
        "update, which adds, made the count of cluster 0",
    ),
    "a sum too few": (
        "def update(rows, labels, sums, counts):\n"
        "    good_update(rows, labels, sums, counts)\n    sums[labels[0], 0] -= rows[0, 0]\n",
        "update adds to sums and counts",
        "and its rows sum to",
    ),
    "a silent call of NumPy": (
        "def assign(rows, centers, labels):\n"
        "    d = ((rows[:, None] - centers) ** 2).sum(axis=2)\n"
        "    labels[:] = d.argmin(axis=1)\n    return float(d.min(axis=1).sum())\n",
        "its own code computes",
        "code of numpy ran in place of its own; a kernel that is made of numpy says so",
    ),
    "a fused step that forgets": (
        "def assign_update(rows, centers, labels, sums, counts):\n"
        "    before = [int(label) for label in labels]\n"
        "    inertia = good_assign(rows, centers, labels)\n"
        "    moved = [i for i, j in enumerate(before) if j != labels[i]]\n"
        "    good_update(rows[moved], labels[moved], sums, counts)\n    return inertia\n",
        "assign_update does both",
        "step 2 of assign_update, 230 rows: it made the count of cluster",
    ),
    "chance": (
        "import random\ndef update(rows, labels, sums, counts):\n"
        "    good_update(rows, labels, sums, counts)\n"
        "    sums *= 1 + random.random() * 1e-13\n",
        "it repeats itself, bit for bit",
        "a second fit, with 1 thread, gave other bits",
    ),
    "an exception": (
        "def update(rows, labels, sums, counts):\n    raise KeyError('lost')\n",
        "update adds to sums and counts",
        "it raised KeyError: 'lost'",
    ),
}


@pytest.fixture(autouse=True)
def nothing_added(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_added", {})
    registry.installed.cache_clear()
    before = set(sys.modules)
    yield
    registry.installed.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith(("kmeans_lab_kernel_", "mine", "my_")):
            del sys.modules[name]


@pytest.fixture
def small(monkeypatch):
    """Ask about few rows: what is planted here shows on them, and plain Python is slow."""
    monkeypatch.setattr(whole_numbers, "_CHUNKS", ())
    monkeypatch.setattr(conformance, "_TWO_CHUNKS", "smoke-grid")
    monkeypatch.setattr(conformance, "MANY", ((99, 1, 2),))


def check(capsys, *arguments):
    status = cli.main(["check", *map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.mark.slow_for(
    "numba-tiled", "python", "numba", "cython"
)  # which compiles for each of some twenty shapes
def test_the_kernels_of_the_lab_are_right(kernel_name):
    assert [it for it in examine(kernel_name) if it.wrong] == []


@pytest.mark.usefixtures("small")
def test_the_kernel_that_faults_are_planted_into_is_right(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    status, out, err = check(capsys, "mine.py")
    assert (status, err) == (0, "")
    assert {line.split()[0] for line in out.splitlines()} == {"right"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("small")
def test_a_planted_fault_is_found_and_said(tmp_path, fault):
    source, question, sentence = FAULTS[fault]
    (tmp_path / "mine.py").write_text(GOOD + source)
    answers = {it.question: it.wrong for it in examine(registry.add_kernel("mine.py"))}
    assert sentence in answers[question]


@pytest.mark.usefixtures("small")
def test_what_is_wrong_stands_below_its_question_or_in_the_json(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(GOOD + FAULTS["NaN"][0])
    status, out, err = check(capsys, tmp_path / "mine.py", "--json")
    assert status == 1
    assert err.startswith("kmeans-lab: mine is wrong in ")
    answers = {it["question"]: it["wrong"] for it in json.loads(out)["answers"]}
    assert FAULTS["NaN"][2] in answers["assign returns the inertia"]
    _, out, _ = check(capsys, "mine.py")
    lines = out.splitlines()
    at = lines.index("wrong  assign returns the inertia")
    assert lines[at + 1].startswith("       37 × 1 float32, k = 8: assign returned the inertia nan")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("none.py", "there is no file none.py; give the path of a kernel's .py file"),
        ("no.such.module", "'no.such.module' is no kernel, no module that can be imported"),
        ("cuda", "kernel='cuda' is not known; choose one of python"),
        ("broken.py", "broken.py cannot be imported: ZeroDivisionError: division by zero"),
        ("cpp.py", "cpp.py has the name of the kernel 'cpp'; give the file another name"),
        ("spec.py", "SPEC of spec.py is of type int and must be a kmeans_lab.KernelSpec"),
    ],
)
def test_what_is_no_kernel_is_refused(capsys, tmp_path, place, sentence):
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "cpp.py").write_text(GOOD)
    (tmp_path / "spec.py").write_text("SPEC = 3")
    status, out, err = check(capsys, place)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err


@pytest.mark.usefixtures("small")
def test_a_module_may_say_what_it_needs(capsys, tmp_path, monkeypatch):
    spec = (
        "from kmeans_lab.registry import KernelSpec\n"
        "SPEC = KernelSpec('', 'by NumPy', 'none', requires=('numpy',), dtypes=('float64',))\n"
    )
    (tmp_path / "my_module.py").write_text(GOOD + FAULTS["a silent call of NumPy"][0] + spec)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    (tmp_path / "my_package" / "kernel.py").write_text((tmp_path / "my_module.py").read_text())
    for place in ("my_module.py", "my_package.kernel"):
        assert check(capsys, place)[0] == 0
    assert find_spec("my_package.kernel").module == "my_package.kernel"
    assert find_spec("my_module").dtypes == ("float64",)


def install(folder, entries):
    """Make a package with entry points, as an installer would leave it behind."""
    (folder / "my_kernels.py").write_text(
        GOOD + "from kmeans_lab.registry import KernelSpec\n"
        "SPEC = KernelSpec('', 'mine', 'pip install my-kernels', threading='gil')\nOTHER = 1\n"
    )
    info = folder / "my_kernels-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-kernels\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kmeans_lab.kernels]\n" + entries)


@pytest.mark.usefixtures("small")
def test_installed_packages_bring_kernels(capsys, tmp_path, monkeypatch):
    install(tmp_path, "plain = my_kernels\nspecified = my_kernels:SPEC\ncpp = my_kernels\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_spec("plain").remedy == "pip install --force-reinstall my-kernels"
    assert find_spec("specified").threading == "gil"
    assert find_spec("cpp") is KERNELS["cpp"]
    assert kmeans([[0.0], [1.0], [9.0]], 2, kernel="plain", init="first").kernel == "plain"
    assert [it for it in examine("specified") if it.wrong] == []
    assert cli.main(["kernels", "--try", "--json"]) == 0
    listed = {it["name"]: it["state"] for it in json.loads(capsys.readouterr().out)}
    assert (listed["plain"], listed["specified"]) == ("ready", "ready")
    with pytest.raises(ValueError, match=r"choose one of python, .*, plain, specified$"):
        find_spec("cuda")


def test_an_installed_spec_that_is_none_says_where_it_stands(tmp_path, monkeypatch):
    install(tmp_path, "wrong = my_kernels:OTHER\nabsent = my_kernels:NONE\nplain = my_kernels\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert state_of("plain") == ("ready", "")  # whatever the others are
    state, why = state_of("wrong")
    assert (state, why[:52]) == ("broken", "SPEC of entry point my_kernels:OTHER is of type int ")
    state, why = state_of("absent")
    assert (state, why[:14]) == ("broken", "AttributeError")


def test_bench_takes_a_file_too(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    status = cli.main(["bench", "--preset", "smoke", "--rounds", "2", "--kernel", "mine.py"])
    out = capsys.readouterr().out
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[3:6]] == ["cpp", "mine", "cpp"]


def test_a_file_is_known_by_its_name_afterwards(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    assert known_as("mine.py") == "mine"
    assert load_kernel("mine").__name__ == "kmeans_lab_kernel_mine"
    with pytest.raises(ValueError, match=", mine"):
        find_spec("cuda")
