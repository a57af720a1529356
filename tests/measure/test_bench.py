"""The benchmark command, run as a user runs it, on tiny data."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import ready_kernels

pytest.importorskip("pytest_benchmark", reason="pip install 'kmeans-lab[bench]'")
from bench.table import Row, group_table, ratio

ROOT = Path(__file__).parents[2]
PLUGIN = """
from kmeans_lab import KERNELS
from kmeans_lab.registry import KernelSpec
KERNELS["planted"] = KernelSpec("planted_kernel", "planted", "", threading="gil")
KERNELS["absent"] = KernelSpec("absent_kernel", "absent", "build it first")
"""
WRONG = """
from kmeans_lab._py_kernel import assign, update
def assign(rows, centers, labels, inner=assign):
    inertia = inner(rows, centers, labels)
    labels[-1] = (labels[-1] + 1) % len(centers)
    return inertia
"""
CHANGES_ITS_MIND = """
calls = 0
def assign(rows, centers, labels):
    global calls
    calls += 1
    points, means, inertia = rows.tolist(), centers.tolist(), 0.0
    for i, x in enumerate(points):
        d = [sum((a - b) ** 2 for a, b in zip(x, c)) for c in means]
        labels[i] = d.index(min(d))
        inertia += min(d)
    if calls > 40:
        labels[0] = (labels[0] + 1) % len(means)
    return inertia
def update(rows, labels, sums, counts):
    for i, j in enumerate(labels.tolist()):
        sums[j] += rows[i]
        counts[j] += 1
"""


def run_benchmarks(
    *options: str, folder: Path | None = None, checkout: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(folder or ""), "COLUMNS": "100"}
    command = [sys.executable, "-m", "pytest", "--benchmark-only", "--preset", "smoke", *options]
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300
    )


def lab_section(run: "subprocess.CompletedProcess[str]") -> str:
    return run.stdout.partition("= kmeans_lab =")[2]


@pytest.mark.slow
def test_the_command_without_a_path_compares_every_kernel(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    run = run_benchmarks(f"--benchmark-json={file}")
    assert run.returncode == 0, run.stdout + run.stderr
    table = lab_section(run)
    for group in ("whole fit", "assign alone", "update alone", "the driver's own cost:"):
        assert group in table
    ready = ready_kernels()
    for name in ready:
        lines = [line.split() for line in table.splitlines() if line.split()[:1] == [name]]
        # The paired fits, their parts and starts, two steps alone; the baseline's second row.
        valid = [words for words in lines if words[-1] == "valid"]
        assert (len(valid), len(lines)) == ((4, 6) if name == "cpp" else (3, 5)), (name, lines)
    written = json.loads(file.read_text())
    fits = [b for b in written["benchmarks"] if b["group"] == "whole fit"]
    assert {b["extra_info"]["kernel"] for b in fits} == set(ready)
    assert len({b["extra_info"]["n_iter"] for b in fits}) == 1
    assert written["machine_info"]["kmeans_lab"]["cpu"]
    assert written["kmeans_lab"]["machine"]["builds"]["cpp"]
    (paired,) = written["kmeans_lab"]["runs"]
    for it in paired["contestants"][:-1]:  # the last one is the baseline's twin
        if it["name"] not in ready:
            continue
        (fit,) = [b for b in fits if b["extra_info"]["kernel"] == it["name"]]
        assert fit["stats"]["data"] == pytest.approx(it["seconds"])


@pytest.fixture
def unbuilt(tmp_path: Path) -> Path:
    """Return a checkout whose modules are not compiled."""
    checkout, compiled = (
        tmp_path / "unbuilt",
        shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"),
    )
    for name in ("bench", "kmeans_lab"):
        shutil.copytree(ROOT / name, checkout / name, ignore=compiled)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout)
    (checkout / "tests").mkdir()
    return checkout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return a built package beside which there is no checkout."""
    place = tmp_path / "installed" / "kmeans_lab"
    place.parent.mkdir()
    place.symlink_to(ROOT / "kmeans_lab")
    return place


@pytest.mark.slow  # the next test is of the same kind
def test_beside_an_unbuilt_checkout_the_installed_package_is_measured_and_compared_with(
    unbuilt: Path, installed: Path
) -> None:
    def measure(option: str) -> "subprocess.CompletedProcess[str]":
        options = ("-k", "test_assign and cython", "--require-kernels=all", option)
        return run_benchmarks(*options, folder=installed.parent, checkout=unbuilt)

    first = measure("--benchmark-autosave")
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"kmeans_lab: {installed}\n" in first.stdout
    (saved,) = (unbuilt / ".benchmarks").rglob("*.json")
    second = measure("--benchmark-compare")
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"({saved.name[:4]}" in second.stdout
    assert "machine_info" not in second.stderr
    # A run of another machine is shown beside this one's with a warning, and no error.
    run = json.loads(saved.read_text())
    run["machine_info"]["kmeans_lab"]["cpu"] = "another"
    saved.write_text(json.dumps(run))
    third = measure("--benchmark-compare")
    assert third.returncode == 0, third.stdout + third.stderr
    assert "machine_info is different" in third.stderr


def test_an_unbuilt_checkout_alone_is_one_sentence(unbuilt: Path) -> None:
    for options in ([], ["--benchmark-only", "--preset", "smoke"]):
        command = [sys.executable, "-m", "pytest", *options]
        run = subprocess.run(command, cwd=unbuilt, capture_output=True, text=True, check=False)
        assert run.returncode == 4, run.stdout
        (sentence,) = run.stderr.strip().splitlines()
        assert sentence.startswith("ERROR: this checkout is not built, and")
        assert sentence.endswith("pip install --editable '.[dev]' builds it")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [pytest.param(WRONG, "INVALID", marks=pytest.mark.slow), (CHANGES_ITS_MIND, "INVALID")],
    ids=["wrong", "right until it is timed"],
)
def test_a_kernel_with_a_wrong_result_gets_no_number(
    source: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "planted_kernel.py").write_text(source)
    file = tmp_path / "run.json"
    run = run_benchmarks(
        "-p", "plugin", "-k", "planted or cpp", f"--benchmark-json={file}", folder=tmp_path
    )
    assert run.returncode == 1
    fit = lab_section(run).partition("assign alone")[0]
    (row,) = [line for line in fit.splitlines() if line.split()[:1] == ["planted"]]
    assert sentence in row
    assert "×" not in row
    names = {b["name"] for b in json.loads(file.read_text())["benchmarks"]}
    assert "test_fit[planted]" not in names
    assert "test_fit[cpp]" in names


@pytest.mark.slow
def test_an_unavailable_kernel_is_a_row_with_its_reason_or_a_failure(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    run = run_benchmarks("-p", "plugin", "-k", "absent", folder=tmp_path)
    assert run.returncode == 0
    assert "unavailable: kernel 'absent' is not available: there is no" in lab_section(run)
    strict = run_benchmarks(
        "-p", "plugin", "-k", "absent", "--require-kernels=all", folder=tmp_path
    )
    assert strict.returncode == 1


def test_an_unknown_preset_is_one_sentence() -> None:
    run = run_benchmarks("--preset", "standart")
    assert run.returncode == 4
    assert "ERROR: preset='standart' is not known; choose one of standard," in run.stderr
    assert "Traceback" not in run.stderr


def test_ratios_name_their_baseline_and_exist_only_beside_a_number() -> None:
    slow, fast = Row("g", "python", 2.0, "valid"), Row("g", "cpp", 0.5, "valid")
    bad = Row("g", "numpy", None, "INVALID: labels")
    assert ratio(fast, slow) == "4.00 × faster"
    assert ratio(slow, fast) == "4.00 × slower"
    assert ratio(slow, slow) == "1"
    assert ratio(bad, slow) == ratio(fast, bad) == ratio(fast, None) == "–"
    table = group_table("g", [slow, fast, bad])
    assert [str(c.header) for c in table.columns] == [
        "kernel", "median ms", "vs python", "vs cpp", "certificate",
    ]  # fmt: skip
