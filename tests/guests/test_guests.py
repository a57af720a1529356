"""Guests: the first kernels of another package, each by the contract or a row with its reason."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec as find_module
from pathlib import Path

import numpy as np
import pytest

from kmeans_lab import get_include, kmeans
from kmeans_lab.cli import main as cli
from kmeans_lab.isolation.kernel_child import KernelChild, survey
from kmeans_lab.measure.calibration import build_seconds
from kmeans_lab.measure.exam import examine
from kmeans_lab.presets import find_preset
from kmeans_lab.registry import find_spec, installed, load_kernel
from tests.support.helpers import ROOT

GUESTS = ROOT / "guests"
PROJECT = tomllib.loads((GUESTS / "pyproject.toml").read_text())["project"]
NAMES = tuple(PROJECT["entry-points"]["kmeans_lab.kernels"])
#: What each that is compiled needs when it is installed, and the sentence where that is missing.
TOOLS = {
    "mypyc": "mypy",
    "pythran": "pythran",
    "nanobind": "nanobind",
    "c-ctypes": "gcc",
    "c-cffi": "cffi",
    "rust": "rustc",
    "mojo": "mojo",
}
#: Not compiled when they are installed.
SMALL, LARGE = ("numexpr",), ("jax", "torch", "torch-compile")


def need_guests(name):
    """Skip a test where no guests are installed, as `make test` leaves it; fail it in CI.

    There `make guests` comes before the tests, and a missing guest would be a build that failed.
    """
    if name not in installed():
        missing = "the guests are not installed; make guests installs them"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


@pytest.fixture
def guest(request):
    """Return the name of a guest that is ready; check that the row of any other has its reason."""
    name = request.param
    need_guests(name)
    row = survey([name])[name]  # in a process of its own: JAX and PyTorch are large
    why = row["reason"]
    if row["state"] == "ready":
        return name
    assert row["state"] == "unavailable", why
    tool = TOOLS.get(name, name.partition("-")[0])
    assert find_module(tool) is None, why
    assert shutil.which(tool) is None, why
    assert tool in why
    return None


def each(*names):
    """Run a test for each of these guests."""
    slow = [pytest.param(it, marks=[pytest.mark.slow] * (it in LARGE)) for it in names]
    return pytest.mark.parametrize("guest", slow, indirect=True)


@each(*NAMES)
def test_a_guest_is_right_by_the_contract(guest):
    if guest:
        assert [it for it in examine(guest) if it.wrong] == []


@each(*NAMES)
def test_a_guest_fits_as_plain_python_does(guest):
    if guest:
        workload = find_preset("smoke").load()
        k, settings = workload.preset.n_clusters, workload.settings()
        with KernelChild(guest) as child:
            child.describe()
            fit = child.fit(workload.X, k, **settings)
        plain = kmeans(workload.X, k, kernel="python", **settings)
        assert (fit.kernel, fit.n_iter) == (guest, plain.n_iter)
        assert np.array_equal(fit.labels, plain.labels)
        if guest not in LARGE:  # the others add up a row's differences in an order of their own
            assert np.array_equal(fit.centers, plain.centers)


WRONG = {
    "labels above": ({"labels": [0, 2, 1]}, ValueError, "labels from 0 to n_clusters - 1"),
    "labels below": ({"labels": [0, -1, 1]}, ValueError, "labels from 0 to n_clusters - 1"),
    "fewer labels": ({"labels": [0, 1]}, ValueError, "update needs"),
    "narrow sums": ({"sums": np.zeros((2, 1))}, ValueError, "update needs"),
    "fewer counts": ({"counts": np.zeros(1, np.int64)}, ValueError, "update needs"),
    "wide labels": ({"labels": np.zeros(3, np.int64)}, TypeError, "update"),
    "float32 sums": ({"sums": np.zeros((2, 2), np.float32)}, TypeError, "update"),
    "sums in columns": ({"sums": np.zeros((2, 2), order="F")}, TypeError, "update"),
    "rows of integers": ({"rows": np.ones((3, 2), np.int64)}, TypeError, "update"),
    "rows of other bytes": ({"rows": np.ones((3, 2), ">f8")}, TypeError, "update"),
}


@each(*TOOLS)
@pytest.mark.parametrize("case", WRONG)
def test_what_would_be_written_out_of_bounds_is_refused(guest, case):
    changed, kind, sentence = WRONG[case]
    if guest == "mypyc" and not case.startswith("labels"):
        return  # lists of Python know their lengths
    rows, labels = np.ones((3, 2)), np.zeros(3, np.int32)
    given = {"rows": rows, "labels": labels, "sums": np.zeros((2, 2)), "counts": np.zeros(2, int)}
    given |= changed
    if isinstance(given["labels"], list):
        given["labels"] = np.array(given["labels"], np.int32)
    if guest:
        with pytest.raises(kind, match=sentence):
            load_kernel(guest).update(*given.values())
        assert not given["sums"].any()
        assert not given["counts"].any()


@each(*TOOLS)
def test_assign_refuses_what_it_could_not_write(guest):
    rows, labels = np.ones((3, 2)), np.full(3, 7, np.int32)
    frozen = labels.copy()
    frozen.flags.writeable = False
    for centers, out in (
        (np.empty((0, 2)), labels),
        *([] if guest == "mypyc" else [(np.ones((2, 3)), labels), (np.ones((2, 2)), labels[:2])]),
        *([] if guest == "mypyc" else [(np.ones((2, 2), np.float32), labels)]),
        (np.ones((2, 2)), frozen),
    ):
        if guest:
            with pytest.raises((TypeError, ValueError)):
                load_kernel(guest).assign(rows, centers, out)
            assert set(labels) == set(frozen) == {7}


def test_listing_guests_imports_none(capsys):
    need_guests("c-ctypes")
    before = set(sys.modules)
    assert cli.main(["kernels", "--json"]) == 0
    rows = {it["name"]: it for it in json.loads(capsys.readouterr().out)}
    assert {*NAMES} <= {*rows}
    for name in NAMES:
        assert rows[name]["state"] in ("installed", "unavailable")
        assert not rows[name]["summary"].startswith("from the package")  # its SPEC was read
        assert bool(rows[name]["reason"]) == (rows[name]["state"] == "unavailable")
    tools = ("kmeans_lab_guests", "jax", "torch", "cffi", "_cffi_backend")
    assert not {it for it in set(sys.modules) - before if it.partition(".")[0] in tools}


@pytest.fixture(scope="module")
def without_tools(tmp_path_factory):
    """Install guests where no tool is; return the rows of two listings."""
    folder = tmp_path_factory.mktemp("guests") / "guests"
    shutil.copytree(
        GUESTS, folder, ignore=shutil.ignore_patterns("*.so", "*.txt", "build", "*.egg*")
    )
    missing = ["cffi", "mypyc", "nanobind", "pythran"]
    build = f"import runpy, sys; sys.modules.update(dict.fromkeys({missing})); "
    build += (
        "sys.argv[1:] = ['-q', 'egg_info', 'build_ext', '--inplace']; runpy.run_path('setup.py')"
    )
    environment = os.environ | {"PATH": str(folder), "CC": "gcc", "PYTHONPATH": f"{folder}:{ROOT}"}
    command = [sys.executable, "-W", "ignore", "-c", build]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    found = []
    for tried in ([], ["--try"]):
        command = [sys.executable, "-m", "kmeans_lab", "kernels", "--json", *tried]
        run = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        found.append({it["name"]: it for it in json.loads(run.stdout)})
    assert not [*folder.rglob("*.so")]
    return found


@pytest.mark.parametrize("name", TOOLS)
def test_a_guest_without_its_tool_is_a_row_with_its_reason(name, without_tools):
    tool = TOOLS[name]
    get = "install" if tool in ("gcc", "rustc") else "pip install"
    for rows in without_tools:
        assert rows[name]["state"] == "unavailable"
        assert rows[name]["reason"] == (
            f"kernel {name!r} is not available: {tool} was not found when kmeans-lab-guests was "
            f"installed; {get} {tool}, then pip install --no-build-isolation --no-deps "
            "--force-reinstall kmeans-lab-guests"
        )


def test_every_guest_has_a_line_in_the_readme():
    text = (GUESTS / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"| `{name}` |" not in text] == []
    assert {*TOOLS, *SMALL, *LARGE} == {*NAMES}


def test_the_sources_that_other_bindings_include():
    assert (Path(get_include()) / "kmeans.cpp").is_file()


def test_what_building_the_lab_took_is_not_a_guests():
    need_guests("nanobind")
    assert "cpp/kmeans.cpp" in find_spec("nanobind").sources
    told = GUESTS / "kmeans_lab_guests" / "_built.json"
    own = json.loads(told.read_text()).get("_nanobind") if told.is_file() else None
    assert build_seconds("nanobind") == own
