"""The tables of the command line, their JSON, and what happens without rich."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kmeans_lab import __version__
from kmeans_lab.cli import main as cli
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.registry import KERNELS, load_kernel
from kmeans_lab.spec import KernelSpec

GONE = KernelSpec("kmeans_lab._gone_kernel", "a kernel that is not built", "type this")
BROKEN = KernelSpec("broken_for_test", "a kernel that fails", "type that", threading="own")
WHY_GONE = "kernel 'gone' is not available: there is no module 'kmeans_lab._gone_kernel'; type this"
WHY_BROKEN = "kernel 'broken' is broken: OSError: no libfoo; type that"
NO_RICH = (
    "kmeans-lab: error: tables, unlike --json, need the package rich, which is not installed; "
    "pip install 'kmeans-lab[cli]'\n"
)


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    np.save("X.npy", np.arange(6.0).reshape(3, 2))


@pytest.fixture
def poor_kernels(tmp_path, monkeypatch):
    """Two kernels that cannot run."""
    (tmp_path / "broken_for_test.py").write_text("raise OSError('no libfoo')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(KERNELS, "gone", GONE)
    monkeypatch.setitem(KERNELS, "broken", BROKEN)


def printed(capsys, *argv):
    status = cli.main(argv)
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


@pytest.mark.usefixtures("poor_kernels")
def test_kernels_as_json(capsys):
    entries = {entry["name"]: entry for entry in json.loads(printed(capsys, "kernels", "--json"))}
    assert list(entries) == list(KERNELS)
    for name, spec in KERNELS.items():
        assert entries[name]["summary"] == spec.summary
        assert entries[name]["threading"] == spec.threading
        assert entries[name]["dtypes"] == list(spec.dtypes)
    python, gone, broken = entries["python"], entries["gone"], entries["broken"]
    assert (python["state"], python["reason"], python["build"]) == ("ready", "", None)
    assert (gone["state"], gone["reason"]) == ("unavailable", WHY_GONE)
    assert (broken["state"], broken["reason"]) == ("broken", WHY_BROKEN)


@pytest.mark.kernels("cython", "cpp")
def test_compiled_kernels_show_how_they_were_built(capsys, kernel_name):
    build = load_kernel(kernel_name).BUILD
    entries = {entry["name"]: entry for entry in json.loads(printed(capsys, "kernels", "--json"))}
    assert entries[kernel_name]["build"] == build
    assert build in " ".join(printed(capsys, "kernels").split())


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.usefixtures("poor_kernels")
def test_the_table_of_kernels(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    table, *reasons = printed(capsys, "kernels").split("\n\n")
    heading, rule, *rows = table.splitlines()
    assert heading.split() == ["kernel", "state", "threading", "dtypes", "sparse", "summary"]
    assert set(rule) == {"─"}
    assert all(len(line) <= columns for line in (heading, rule, *rows))
    firsts = [row.split() for row in rows if not row.startswith(" ")]
    assert [first[0] for first in firsts] == list(KERNELS)
    (gone,) = (first for first in firsts if first[0] == "gone")
    (broken,) = (first for first in firsts if first[0] == "broken")
    assert gone[1:5] == ["unavailable", "nogil", "f32", "f64"]
    assert broken[1:5] == ["broken", "own", "f32", "f64"]
    assert [" ".join(reason.split()) for reason in reasons][-2:] == [WHY_GONE, WHY_BROKEN]
    assert len(reasons) == sum(state_of(name)[0] != "ready" for name in KERNELS)
    words = " ".join(row[heading.index("summary") :].strip() for row in rows)
    for spec in KERNELS.values():
        assert spec.summary in words


@pytest.mark.usefixtures("poor_kernels")
def test_a_fit_with_a_kernel_that_cannot_run(capsys):
    assert cli.main(["fit", "X.npy", "-k", "1", "--kernel", "gone"]) == 2
    assert capsys.readouterr() == ("", f"kmeans-lab: error: {WHY_GONE}\n")
    assert cli.main(["fit", "X.npy", "-k", "1", "--kernel", "broken"]) == 2
    sentence = "kernel 'broken' is broken: OSError: no libfoo; "
    assert capsys.readouterr().err.startswith(f"kmeans-lab: error: {sentence}")


def test_presets_as_json_and_as_a_table(capsys):
    from kmeans_lab.presets import PRESETS

    entries = {entry["name"]: entry for entry in json.loads(printed(capsys, "presets", "--json"))}
    assert list(entries) == list(PRESETS)
    for name, preset in PRESETS.items():
        fields = set(entries[name]) - {"name"}
        assert fields >= {"summary", "n_samples", "n_features", "n_clusters", "max_iter"}
        assert fields >= {"n_init", "dtype", "stop", "tol"}
        assert {field: getattr(preset, field) for field in fields} == {
            field: entries[name][field] for field in fields
        }
    table = printed(capsys, "presets").splitlines()
    assert all(len(line) <= 80 for line in table)
    assert "…" not in "".join(table)  # nothing is cut off
    rows = [line for line in table[2:] if line.startswith("  ")]
    assert [row.split()[0] for row in rows] == list(PRESETS)
    column = table[0].index("dtype")  # the same in every group
    assert {row[column : column + 3] for row in rows} == {"f32", "f64"}


def test_a_row_of_the_table_of_presets(capsys, monkeypatch):
    shape = {"n_samples": 1440, "n_features": 2, "n_clusters": 5, "dtype": "float64"}
    quick = SimpleNamespace(
        summary="a set", max_iter=120, n_init=3, stop="shift-norm", tol=1e-4, **shape
    )
    plain = SimpleNamespace(summary="a set", max_iter=9, n_init=1, stop="equal", tol=None, **shape)
    fake = SimpleNamespace(PRESETS={"quick": quick, "plain": plain})
    monkeypatch.setitem(sys.modules, "kmeans_lab.presets", fake)
    heading, rule, *rows = printed(capsys, "presets").splitlines()
    assert heading.split() == ["preset", "rows", "d", "k", "max_iter", "dtype", "stop,", "tol"]
    assert set(rule) == {"─"}
    assert [" ".join(row.split()) for row in rows] == [
        "a set",
        "quick 1,440 2 5 3 × 120 f64 shift-norm 0.0001",
        "plain 1,440 2 5 9 f64 equal",
    ]


def test_version_and_help(capsys):
    assert printed(capsys, "--version") == f"kmeans-lab {__version__}\n"
    assert printed(capsys, "--help").startswith("usage: kmeans-lab ")
    text = printed(capsys, "fit", "--help")
    assert text.startswith("usage: kmeans-lab fit ")
    options = "clusters kernel init n-init max-iter tol stop empty threads mode seed"
    options += " output force json skip-rows quiet"
    for option in options.split():
        assert f" --{option}" in text


def test_without_rich_tables_say_what_to_install_and_json_works(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"] + ["rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    for argv in (["kernels"], ["presets"], ["fit", "X.npy", "-k", "1", "-o", "r.npz"]):
        assert cli.main(argv) == 2
        assert capsys.readouterr() == ("", NO_RICH)
    assert not Path("r.npz").exists()  # it was said before the fit
    assert json.loads(printed(capsys, "kernels", "--json"))[0]["name"] == "python"
    assert json.loads(printed(capsys, "presets", "--json"))[0]["name"] == "standard"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # no bar either, and no complaint
    fit = ("fit", "X.npy", "-k", "1", "--kernel", "numpy")
    assert json.loads(printed(capsys, *fit, "--json"))["inertia"] == 16.0
    assert printed(capsys, *fit, "--quiet") == ""


def test_a_path_is_shown_as_it_is(capsys):
    fit = ("fit", "X.npy", "-k", "1", "--kernel", "numpy", "-o", "[red]:smile:.npz")
    assert printed(capsys, *fit).splitlines()[-1].split() == ["written", "[red]:smile:.npz"]
