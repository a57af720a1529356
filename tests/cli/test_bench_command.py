"""``kmeans-lab bench``: its tables, its JSON, its refusals, its exit status."""

import json
import os
import re
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from kmeans_lab import registry
from kmeans_lab.cli import main as cli
from kmeans_lab.measure import record
from kmeans_lab.registry import KERNELS
from kmeans_lab.spec import KernelSpec
from tests.support.helpers import ready_kernels
from tests.support.other_pythons import wrapper
from tests.support.planted import GOOD

QUICK = ("bench", "--preset", "smoke", "--rounds", "9")
SCHEMA = json.loads((files("kmeans_lab") / "measure" / "bench.json").read_text())


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for known in ("_added", "_places"):
        monkeypatch.setattr(registry, known, {})
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def call(capsys, *argv):
    status = cli.main([str(argument) for argument in argv])
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write a small run, and return where."""
    path = tmp_path_factory.mktemp("run") / "old.json"
    options = ("--kernel", "numpy", "--kernel", "cpp-simd", "--threads", "1,2")
    assert cli.main([*QUICK, *options, "--json", "--output", str(path)]) == 0
    return path


def test_the_json_follows_the_schema_and_has_all_samples(written):
    data = json.loads(written.read_text())
    jsonschema.validate(data, SCHEMA, jsonschema.Draft202012Validator)
    assert [run["n_threads"] for run in data["runs"]] == [1, 2]
    for run in data["runs"]:
        assert [it["name"] for it in run["contestants"]] == [
            "cpp", "numpy", "cpp-simd", "cpp again",
        ]  # fmt: skip
        assert all(len(it["seconds"]) == 9 for it in run["contestants"])
        assert len(run["orders"]) == 9
    assert all(pool["num_threads"] == 1 for pool in data["machine"]["pools"])


@pytest.mark.parametrize(
    "names",
    [pytest.param([*KERNELS], marks=pytest.mark.slow), ["python", "cython", "cpp", "cpp-simd"]],
    ids=["all", "some"],
)
def test_the_tables_fit_80_columns_and_name_everything(capsys, names):
    chosen = [word for name in names for word in ("--kernel", name)]
    status, out, err = call(capsys, *QUICK, *(chosen if len(names) < len(KERNELS) else []))
    assert (status, err) == (0, "")
    printed = out.splitlines()
    assert max(map(len, printed)) <= 80
    assert printed[0].startswith("smoke: 150 × 3 float64, k = 5; 1 thread, whole fits")
    table = printed[3 : printed.index("", 3)]
    rows = [words for line in table if (words := line.split())[0] in KERNELS]
    assert [row[0] for row in rows] == [*names, "cpp"]
    ready = [name for name in ready_kernels() if name in names]
    assert [row[0] for row in rows if row[-1] == "valid"] == [*ready, "cpp"]
    assert "…" not in out
    assert "Calibration loop" in out


@pytest.mark.skipif(os.name != "posix", reason="the interpreter is a shell script")
def test_kernels_of_another_interpreter_are_in_the_same_tables(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(KERNELS, "absent", KernelSpec("absent_kernel", "absent", "build it"))
    names = ("cpp-simd", "numpy-broadcast", "absent")
    options = [*(word for name in names for word in ("--kernel", name)), "--output", "run.json"]
    status, out, err = call(capsys, *QUICK, *options, "--python", wrapper(tmp_path))
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    at = f"@{sys.version_info[0]}.{sys.version_info[1]}"
    (row,) = re.findall(rf"^cpp-simd {at}t? .* (?:yes|no)  valid *$", out, re.MULTILINE)
    assert f"{at}" in row
    assert "…" not in out
    assert len(re.findall(r"is\s+unavailable:", out)) == 2  # one here, and one there
    assert re.search(rf"^{at}t?: Python ", out, re.MULTILINE)
    status, _, err = call(capsys, "report", "run.json", "-o", "run.html")
    assert (status, err) == (0, "")
    assert f"cpp-simd {at}" in Path("run.html").read_text(encoding="utf-8")


def test_a_kernel_without_certificate_has_no_ratio_anywhere(capsys, plant):
    plant("def assign(*a):\n    return good_assign(*a) + 1e-3\n")
    status, out, err = call(capsys, *QUICK, "--kernel", "planted", "--output", "bad.json")
    assert status == 1
    assert "planted is INVALID (iteration 1: the fit returned the inertia" in err
    (row,) = [line for line in out.splitlines() if line.startswith("planted")]
    assert row.split()[1:5] == ["–", "–", "–", "–"]
    assert "INVALID" in row
    data = json.loads(Path("bad.json").read_text())
    jsonschema.validate(data, SCHEMA, jsonschema.Draft202012Validator)
    entry = data["runs"][0]["contestants"][1]
    assert (entry["state"], entry["seconds"], entry["ratio"]) == ("INVALID", [], None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--kernel", "cuda"], "kernel='cuda' is not known"),
        (["--baseline", "cuda"], "kernel='cuda' is not known"),
        (["--preset", "huge"], "'huge' is not known"),
        (["--threads", "0"], "--threads 0 must be counts of at least 1, like 1,2"),
        (
            ["--threads", "2,500"],
            "--threads 2,500 must be at most 64, since this process may use 1 c",
        ),
        (["--threads", "1,x"], "--threads 1,x must be counts"),
        (["--rounds", "0"], "--rounds 0 must be at least 1"),
        (["--compare", "none.json"], "none.json"),
        (["--python", "no/python"], "--python no/python cannot be started (No such file or direct"),
        (["--output", "no/such/folder.json"], "no/such/folder.json"),
    ],
)
def test_refusals_come_before_anything_runs(capsys, monkeypatch, options, sentence):
    monkeypatch.setattr("kmeans_lab.crews.cores.available_cores", lambda: 1)
    status, out, err = call(capsys, "bench", *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("", "old.json is empty; give a file that bench --output wrote"),
        ("\ufeff\r\n", "old.json is empty; give a file that bench --output wrote"),
        ('{"format": "\\ud800"}', "is not JSON"),
        ("[1]", "is not a run of kmeans-lab"),
        ('{"format": "other"}', "is not a run of kmeans-lab"),
        ('{"format": "kmeans-lab bench", "version": 1}', "old.json: 'machine' is a required"),
        ('{"format": "kmeans-lab bench", "version": 2}', "has version 2 of the format and this"),
    ],
)
def test_files_that_are_no_run_are_refused_by_what_they_are(capsys, tmp_path, text, sentence):
    (tmp_path / "old.json").write_text(text)
    status, out, err = call(capsys, *QUICK, "--compare", "old.json")
    assert (status, out) == (2, "")
    assert sentence in err


def test_a_run_without_a_part_that_it_needs_is_refused_by_that_part(written, tmp_path):
    whole = json.loads(written.read_text())
    for spoil, sentence in (
        (lambda it: it["runs"].clear(), "bad.json, runs: .* should be non-empty"),
        (lambda it: it["runs"][0].pop("floor"), "bad.json, runs, 0: 'floor' is a required"),
        (
            lambda it: it["runs"][0]["contestants"][1].pop("ratio"),
            "contestants, 1: 'ratio' is",
        ),
        (lambda it: it["runs"][0].update(baseline="?"), r"bad.json, runs: '\?'"),
        (lambda it: it["runs"][0]["contestants"][0]["rounds"].pop(), "have different lengths"),
        (lambda it: it["runs"][0]["contestants"][0].update(n_iter=None), "without iterations"),
        (lambda it: it.update(machine=3), "bad.json, machine: 3 is not of type 'object'"),
    ):
        data = json.loads(json.dumps(whole))
        spoil(data)
        (tmp_path / "bad.json").write_text(json.dumps(data))
        with pytest.raises(record.Refused, match=sentence):
            record.read(tmp_path / "bad.json")
    assert record.read(written) == whole


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_run_that_powershell_has_saved_is_read(capsys, written, tmp_path, encoding):
    text = written.read_text(encoding="utf-8").replace("\n", "\r\n")
    (tmp_path / "saved.json").write_bytes(text.encode(encoding))
    assert record.read(tmp_path / "saved.json") == json.loads(text)
    assert call(capsys, "report", "saved.json", "-o", "page.html")[0] == 0
    (tmp_path / "cut.json").write_bytes(text.encode(encoding)[:-3])
    with pytest.raises(record.Refused, match=r"cut\.json is not JSON"):
        record.read(tmp_path / "cut.json")


def test_a_kernel_of_ones_own_may_be_the_baseline(capsys):
    Path("mine.py").write_text(GOOD)
    status, out, err = call(capsys, *QUICK, "--kernel", "numpy", "--baseline", "mine.py")
    assert (status, err) == (0, "")
    assert "vs mine" in out


def test_two_files_of_one_name_are_not_taken_for_each_other(capsys):
    for folder in ("old", "new"):
        Path(folder).mkdir()
        Path(folder, "twice.py").write_text(GOOD)
    options = ("--kernel", "old/twice.py", "--kernel", "new/twice.py")
    status, out, err = call(capsys, *QUICK, *options)
    assert (status, out) == (2, "")
    assert "new/twice.py has the name of" in err


def test_a_kernel_that_prints_is_measured(capsys):
    Path("loud.py").write_text("print('hello')\n" + GOOD)
    status, out, err = call(capsys, *QUICK, "--kernel", "loud.py", "--json")
    assert (status, err) == (0, "")
    data = json.loads(out)
    (it,) = [it for it in data["runs"][0]["contestants"] if it["name"] == "loud"]
    assert it["start"]["import"] > 0


def test_a_kernel_that_does_not_take_the_dtype_is_left_out(capsys):
    Path("wide.py").write_text(
        "from kmeans_lab.registry import KernelSpec\n"
        "SPEC = KernelSpec('', 'float64 only', '', dtypes=('float64',))\n" + GOOD
    )
    status, out, _ = call(
        capsys, "bench", "--preset", "blobs-200-2-3-f32", "--rounds", "2", "--kernel", "wide.py"
    )
    assert status == 0
    assert "left out: it does not take float32" in " ".join(out.split())


def test_an_instruction_set_that_is_not_there_concerns_its_kernels_alone(capsys, monkeypatch):
    monkeypatch.setenv("KMEANS_LAB_ISA", "avx9")
    status, out, _ = call(capsys, *QUICK, "--kernel", "numpy", "--json")
    states = {it["name"]: it["state"] for it in json.loads(out)["runs"][0]["contestants"]}
    assert (status, states) == (0, {"cpp": "valid", "numpy": "valid", "cpp again": "valid"})
    status, out, err = call(capsys, *QUICK, "--kernel", "cpp-simd")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "avx9" in err


def test_a_package_that_a_preset_needs_is_asked_for_before_anything_runs(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    options = ("--preset", "smoke-image", "--kernel", "numpy", "--output", "out.json")
    status, out, err = call(capsys, *QUICK, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert not Path("out.json").exists()


def changed(written, factor):
    """Return the run with every ratio of cpp-simd multiplied."""
    data = json.loads(written.read_text())
    for run in data["runs"]:
        for it in run["contestants"]:
            if it["name"] == "cpp-simd":
                for bound in ("low", "middle", "high"):
                    it["ratio"][bound] *= factor
    return data


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "not resolved"), (1e4, "slower"), (1e-4, "faster")]
)
def test_two_runs_are_compared_by_their_intervals(written, factor, verdict):
    old, new = json.loads(written.read_text()), changed(written, factor)
    found = {(work, name): (change, said) for work, name, change, said in record.compare(old, new)}
    for threads in ("1 thread", "2 threads"):
        work = f"smoke, {threads}, vs cpp"
        assert found[work, "cpp-simd"] == (f"{factor:.3f}", verdict)
        assert found[work, "numpy"] == ("1.000", "not resolved")


def test_runs_of_another_machine_or_of_other_work_are_not_compared(written):
    old, new = (json.loads(written.read_text()) for _ in range(2))
    old["machine"]["cpu"] = "another one"
    with pytest.raises(record.Refused, match="from another machine \\(cpu 'another one', here"):
        record.compare(old, new)
    old["machine"]["cpu"] = new["machine"]["cpu"]
    for run in old["runs"]:
        run["preset"] = "image"
    with pytest.raises(record.Refused, match="no certified ratio to the same baseline"):
        record.compare(old, new)


def test_a_run_of_another_machine_is_refused_before_anything_runs(capsys, written):
    old = json.loads(written.read_text())
    old["machine"]["cores"] = 999
    Path("other.json").write_text(json.dumps(old))
    status, out, err = call(capsys, *QUICK, "--compare", "other.json")
    assert (status, out) == (2, "")
    assert "other.json is from another machine (cores 999, here" in err


def test_a_comparison_is_printed_below_the_run(capsys, written):
    status, out, err = call(capsys, *QUICK, "--kernel", "numpy", "--compare", written)
    assert (status, err) == (0, "")
    assert "against the older run" in out
    assert "smoke, 1 thread, vs cpp" in out
