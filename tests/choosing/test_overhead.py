"""What kernels cost beside their speed: calls, bytes, builds, and the command that shows them."""

import json
from itertools import count
from types import SimpleNamespace
from typing import get_type_hints

import pytest

from kmeans_lab import registry
from kmeans_lab.choosing import calls, costs, footprint, record, tables
from kmeans_lab.cli import main as cli
from kmeans_lab.io.errors import Refused
from kmeans_lab.isolation import metadata
from kmeans_lab.measure import calibration, machine
from kmeans_lab.measure.counts import lines_of_code, sources_of
from kmeans_lab.measure.machinecode import CannotTell
from kmeans_lab.registry import KERNELS, find_spec, known_as, load_kernel
from kmeans_lab.spec import KernelSpec

NUMBERS = count()
PLAIN = """
from kmeans_lab import KernelSpec

SPEC = KernelSpec(module="", summary="for a test", remedy="none", threading="gil")


def assign(rows, centers, labels):
    return 0.0


def update(rows, labels, sums, counts):
    {body}
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Return a function that adds a kernel with this body of ``update``, and gives its name."""
    monkeypatch.setattr(registry, "_added", {})

    def write(body):
        path = tmp_path / f"called_{next(NUMBERS)}.py"
        path.write_text(PLAIN.format(body=body))
        return known_as(str(path))

    return write


def test_calls_of_each_kernel_are_counted_in_turns(planted):
    seen = []
    found = calls.measure(
        ["cpp", planted("pass")], n_rounds=3, watch=lambda *told: seen.append(told)
    )
    assert [(it.state, len(it.seconds), len(it.empty)) for it in found] == [("ready", 3, 3)] * 2
    assert [done for _, done, _ in seen] == [0, 1, 2, 3, 4, 5]
    assert {total for *_, total in seen} == {6}
    assert {name for name, *_ in seen[:2]} == {it.kernel for it in found}  # each once a round
    for it in found:
        interval = it.interval(0.5)
        assert min(it.seconds) <= interval.middle <= max(it.seconds)


def test_a_call_is_a_turn_divided_by_its_calls(monkeypatch):
    seen = []  # each call takes a millisecond, and nothing else takes any time
    monkeypatch.setattr(calls, "perf_counter", lambda: 1e-3 * len(seen))
    kernel = SimpleNamespace(update=lambda *arrays: seen.append(arrays))
    monkeypatch.setattr(calls, "load_for", lambda name, sparse: (kernel, None))
    calls._prime("any")
    assert (
        len(seen) == 1 + 1 + 2 + 4 + 8 + 16
    )  # the first call, then turns until one is long enough
    assert calls._batch() == (pytest.approx(1e-3), 0.0)
    assert len(seen) == 32 + 16
    rows, labels, sums, counts = seen[-1]
    assert (rows.shape, labels.shape, sums.shape, counts.shape) == ((0, 1), (0,), (1, 1), (1,))
    assert not rows.flags.writeable


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("counts += 1", "update adds something where there are no rows"),
        ("sums -= 1", "update adds something where there are no rows"),
        ("raise OSError('no such device')", "no such device"),
        ("import os; os._exit(3)", "ended"),
    ],
)
def test_a_kernel_that_cannot_be_called_is_a_row_with_the_reason(planted, body, why):
    bad, good = calls.measure([planted(body), planted("pass")], n_rounds=1)
    assert (bad.state, bad.seconds, good.state, len(good.seconds)) == ("broken", [], "ready", 1)
    assert why in bad.why


def test_a_kernel_that_fails_later_has_no_numbers(planted):
    body = (
        "global n; n = globals().get('n', 0) + 1\n    if n > 700_000: raise ValueError('worn out')"
    )
    (found,) = calls.measure([planted(body)], n_rounds=200)
    assert (found.state, found.seconds, found.empty) == ("broken", [], [])
    assert "worn out" in found.why


def test_an_unavailable_kernel_has_its_sentence(monkeypatch):
    needs = KernelSpec("no_such_tool", "s", "r", requires=("no_such_tool",))
    monkeypatch.setitem(KERNELS, "needs", needs)
    (found,) = costs.measure(["needs"], n_rounds=1)
    assert (found.state, found.call, found.lines) == ("unavailable", None, None)
    assert "no_such_tool" in found.why


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a function that installs a distribution with one package of so many bytes."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, n_bytes, *requires):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_bytes(b"#" * n_bytes)
        (tmp_path / name / "cached.pyc").write_bytes(b"#" * 1000)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {it}\n" for it in requires)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}"
        )
        (info / "top_level.txt").write_text(f"{name}\n")
        (info / "RECORD").write_text(f"{name}/__init__.py,,\n{name}/cached.pyc,,\n{name}/gone,,\n")

    return install


def test_packages_count_with_all_that_they_require_once(site):
    site("lab_top", 10, "lab-left", "lab_right>=1", 'lab_extra; extra == "all"', "numpy")
    site("lab_left", 200, "lab_base", "lab-nowhere", 'lab_other; sys_platform == "amiga"')
    site("lab_right", 3000, "LAB.base", "lab_top")
    site("lab_base", 40000)
    site("lab_extra", 1)
    site("lab_other", 1)
    assert footprint.installed_bytes(["lab_top"]) == 43210
    assert footprint.installed_bytes(["lab_left", "lab_right"]) == 43210  # in a circle with its top
    assert footprint.installed_bytes(["numpy"]) == footprint.installed_bytes([]) == 0
    with pytest.raises(CannotTell, match="no_such_tool"):
        footprint.installed_bytes(["lab_top", "no_such_tool"])


def test_compiled_files_are_those_of_the_kernel(tmp_path, monkeypatch):
    file = load_kernel("cpp").__file__
    assert footprint.binary_bytes("cpp", find_spec("cpp")) == metadata.Path(file).stat().st_size
    assert footprint.binary_bytes("numpy", find_spec("numpy")) is None
    for name, size in (("_fast.so", 7), ("_fast__more.so", 20), ("_fast.py", 1), ("_slow.so", 1)):
        (tmp_path / name).write_bytes(b"#" * size)
    kernel = SimpleNamespace(__file__=str(tmp_path / "any.py"))
    monkeypatch.setattr(footprint, "load_for", lambda name, sparse: (kernel, None))
    spec = KernelSpec("any", "s", "r", built="_fast")
    assert footprint.binary_bytes("any", spec) == 27


def test_seconds_of_a_build_are_those_that_the_build_left(tmp_path, monkeypatch):
    ours = calibration.build_seconds("cpp")
    assert ours is None or ours > 0
    spec = KernelSpec("any", "s", "r", built="_fast")
    monkeypatch.setattr(calibration, "spec_for", lambda name, sparse: spec)
    monkeypatch.setattr(calibration, "find_file", lambda module: tmp_path / "any.py")
    assert calibration.build_seconds("any") is None  # it left nothing
    told = tmp_path / "_built.json"
    told.write_text('{"_fast": 2.5, "_slow": 100}')
    assert calibration.build_seconds("any") == 2.5
    for damaged in ("{", "[1]", '{"_fast": "long"}', '{"_slow": 1}'):
        told.write_text(damaged)
        assert calibration.build_seconds("any") is None
    spec = KernelSpec("any", "s", "r", sources=("_f*",))  # says nothing of a compiled file
    told.write_text('{"_fast": 2.5}')
    assert calibration.build_seconds("any") is None


def test_sources_of_an_installed_package_lie_beside_its_module(planted, monkeypatch, tmp_path):
    spec = KernelSpec("any", "s", "r", sources=("somewhere/else/loops.c", "somewhere/gone.c"))
    monkeypatch.setattr("kmeans_lab.measure.counts.spec_for", lambda name, sparse=False: spec)
    (tmp_path / "loops.c").write_text("// a comment\nint f();\n\n")
    module = str(tmp_path / "any.py")
    assert sources_of("any", module) == {"loops.c": tmp_path / "loops.c"}
    assert lines_of_code("any", module) == 1


@pytest.fixture(scope="module")
def data():
    """Return a record of two kernels, one of which does not exist here."""
    found = costs.measure(["python"], n_rounds=6)
    gone = costs.Costs("gone", "unavailable", "it is not here; install it", "own", "", "")
    return record.to_dict([*found, gone], machine.card())


def test_a_record_is_read_as_it_was_written(data, tmp_path):
    path = tmp_path / "overhead.json"
    path.write_text(json.dumps(data))
    assert record.read(path) == data
    assert {*get_type_hints(record.CostsRecord)} == {*data["kernels"][0]}
    schema = json.loads(record.Path(record.__file__).with_name("overhead.json").read_text())
    assert {*schema["$defs"]["costs"]["required"]} == {*data["kernels"][0]}
    assert {*schema["$defs"]["costs"]["properties"]} == {*data["kernels"][0]}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data.update(version=2), "version 2"),
        (lambda data: data.update(format="kmeans-lab bench"), "not a record"),
        (lambda data: data["kernels"].clear(), "damaged"),
        (lambda data: data["kernels"][0].update(call={"middle": "fast"}), "damaged"),
        (lambda data: data["kernels"][0].pop("lines"), "damaged"),
        (lambda data: data["kernels"][0].update(threading="sometimes"), "damaged"),
    ],
)
def test_a_damaged_record_is_refused_in_a_sentence(data, tmp_path, change, why):
    damaged = json.loads(json.dumps(data))
    change(damaged)
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(damaged))
    with pytest.raises(Refused, match=why):
        record.read(path)


def test_the_table_has_a_row_for_each_kernel_and_dashes_where_nothing_is_known(data):
    python, gone = data["kernels"]
    assert tables.call_cells(gone) == ["gone", "–", "–", "–", "released, own threads"]
    assert set(tables.other_cells(gone)[1:]) == {"–"}
    cells = tables.call_cells(python)
    assert len(cells) == len(tables.CALLS)
    assert cells[0] == "python"
    assert cells[-1] == "held"
    assert float(cells[3]) == pytest.approx(python["times_empty"]["middle"], rel=0.01)
    assert float(cells[1].replace(",", "")) == pytest.approx(
        1e9 * python["call"]["middle"], rel=0.01
    )
    others = dict(zip(tables.OTHERS, tables.other_cells(python), strict=True))
    assert others["lines"] == str(lines_of_code("python"))
    assert (others["binary"], others["packages"], others["build s"]) == ("–", "none", "–")
    assert tables.reasons(data) == ["gone: it is not here; install it"]


def test_the_command_prints_and_writes_the_same(capsys, tmp_path):
    path = tmp_path / "overhead.json"
    asked = ["overhead", "--kernel", "python", "--kernel", "python", "--rounds", "1"]
    assert cli.main([*asked, "--json", "-o", str(path)]) == 0
    printed = capsys.readouterr().out
    assert path.read_text() == printed
    assert [it["kernel"] for it in json.loads(printed)["kernels"]] == ["python"]
    assert cli.main([*asked, "-o", str(path)]) == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == printed
    assert cli.main([*asked, "-o", str(path), "--force"]) == 0
    assert "python" in capsys.readouterr().out
    assert record.read(path)["kernels"][0]["kernel"] == "python"


def test_the_command_refuses_in_a_sentence(capsys, planted):
    assert cli.main(["overhead", "--rounds", "0"]) == 2
    assert "--rounds 0 must be at least 1" in capsys.readouterr().err
    assert cli.main(["overhead", "--kernel", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert cli.main(["overhead", "--kernel", planted("counts += 1"), "--rounds", "1"]) == 1
    said = capsys.readouterr()
    assert "adds something" in said.out
    assert "no call could be measured" in said.err
