"""Kernels of other packages: whatever one of them does, the others are there."""

import io
import json
import re
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import pytest

from kmeans_lab import KERNELS, KernelUnavailable, kmeans, registry
from kmeans_lab.cli import main as cli
from kmeans_lab.isolation import plugins
from kmeans_lab.isolation.availability import reason_of, state_of
from kmeans_lab.measure import conformance
from kmeans_lab.numerics import whole_numbers
from kmeans_lab.registry import find_spec, installed, known_as, load_kernel
from kmeans_lab.web import queries
from tests.support.planted import GOOD

SPEC = (
    "from types import SimpleNamespace\nfrom kmeans_lab.registry import KernelSpec\n"
    "SPEC = KernelSpec('', 'mine', 'get it', threading='gil')\nOTHER = 1\n"
    "class Fast:\n    SPEC = KernelSpec('', 'nested', 'get it', dtypes=('float64',))\n"
    "thing = SimpleNamespace(assign=assign, update=update)\n"
)


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_added", {})
    installed.cache_clear()
    before = set(sys.modules)
    yield
    installed.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith(("kmeans_lab_kernel_", "other")):
            del sys.modules[name]


def write(folder, entries, source=GOOD, module="other", package="other"):
    """Leave a package behind, as an installer would."""
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{package}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        f"[console_scripts]\nother = other:main\n\n[kmeans_lab.kernels]\n{entries}\n",
        encoding="utf-8",
    )


@pytest.fixture
def install(tmp_path):
    """Return a function that installs a package."""
    return partial(write, tmp_path)


# Entry points and the module's source; what is said.
FAULTS = {
    "no target": ("x = not a module", GOOD, "its entry point is 'x = not a module' and must be"),
    "nothing": ("x =", GOOD, "its entry point is 'x = ' and must be 'name = module'"),
    "no sign": ("x", GOOD, "its entry point is 'x = ' and must be"),
    "relative": ("x = .other", GOOD, "must be 'name = module' or 'name = module:SPEC'"),
    "no words": ("x = other", "raise MemoryError", "is broken: MemoryError; "),
    "three parts": ("x = other:a:b", GOOD, "must be 'name = module' or 'name = module:SPEC'"),
    "no attribute": ("x = other:NONE", GOOD, "AttributeError: module 'other' has no attribute"),
    "no nested one": ("x = other:Fast.NONE", GOOD + SPEC, "AttributeError: "),
    "no spec": ("x = other:OTHER", GOOD + SPEC, "SPEC of entry point other:OTHER is of type int"),
    "an object": (
        "x = other:thing",
        GOOD + SPEC,
        "other:thing is of type SimpleNamespace and must be",
    ),
    "a wrong spec": (
        "x = other:SPEC",
        SPEC.replace("'gil'", "'none'"),
        "ValueError: threading='none' of a KernelSpec is not known",
    ),
    "a package less": ("x = other", "import not_there_at_all", "No module named 'not_there_at"),
    "an error": ("x = other", "1 / 0", "ZeroDivisionError: division by zero"),
    "two lines": ("x = other", "raise OSError('a\\nb')", "OSError: a b"),
    "sys.exit": ("x = other", "import sys\nsys.exit('no licence')", "SystemExit('no licence')"),
    "sys.exit with a spec": ("x = other:SPEC", "raise SystemExit", "raised SystemExit()"),
    "no functions": ("x = other", "", "other has no function assign, and its kernel 'x' must have"),
    "no update": ("x = other", "assign = print", "other has no function update"),
    "no prepare": (
        "x = other:SPEC",
        GOOD + SPEC.replace("'gil'", "'own'"),
        "other has no function prepare",
    ),
    "nosy": (
        "x = other",
        "def __getattr__(name):\n    raise RuntimeError('do not ask for ' + name)",
        "RuntimeError: do not ask for assign",
    ),
    "os._exit": ("x = other", "import os\nos._exit(3)", "other ends the process (exit status 3)"),
    "os._exit with a spec": ("x = other:SPEC", "import os\nos._exit(0)", "(exit status 0)"),
    "a crash": ("x = other", "import os\nos.abort()", "importing other ends the process ("),
    "twice": ("x = other\nx = other", GOOD, "the package other brings two kernels of this name"),
}


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Install all faults, and one plug-in without; return the rows of kernels --try --json."""
    folder = tmp_path_factory.mktemp("plug-ins")
    for i, (entries, source, _) in enumerate(FAULTS.values()):
        write(folder, of(i, entries), of(i, source), f"other{i}", f"other{i}")
    write(folder, "fine = other_fine", GOOD, "other_fine", "fine")
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.syspath_prepend(folder)
        installed.cache_clear()
        before = set(sys.modules)
        assert cli.main(["kernels", "--try", "--json"]) == 0
        assert not {it for it in set(sys.modules) - before if it.startswith("other")}
        installed.cache_clear()
    return {it["name"]: it for it in json.loads(said.getvalue())}


def of(i, text):
    """Give the names of a fault a number."""
    return re.sub(r"\b(x|other)\b", rf"\g<1>{i}", text)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plug_in_with_a_fault_is_listed_beside_the_others(fault, listed):
    i, (_, _, sentence) = [*FAULTS].index(fault), FAULTS[fault]
    assert {*listed} == {*KERNELS, *(f"x{i}" for i in range(len(FAULTS))), "fine"}
    row = listed[f"x{i}"]
    assert row["state"] == "broken"
    assert of(i, sentence) in row["reason"]
    assert row["reason"].startswith(f"kernel 'x{i}' is broken: ")
    needs = fault in ("a package less", "sys.exit", "sys.exit with a spec")
    remedy = of(i, "install what the package other needs" if needs else "the authors of other")
    assert row["reason"].endswith(f"{remedy}, or pip uninstall other{i}")
    assert listed["fine"]["state"] == "ready"


STATED = SPEC.replace("threading='gil'", "requires=REQUIRES, built=BUILT")
#: What a SPEC names, the files beside its module, and the row that an import need not fill.
LISTED = {
    "nothing against it": ((), "", {}, "installed", ""),
    "a package less": (
        ("not_there",),
        "",
        {},
        "unavailable",
        "there is no module 'not_there'; get",
    ),
    "not built": ((), "lib", {}, "unavailable", "lib was not compiled when it was installed; get"),
    "why": ((), "lib", {"lib.txt": "no\nrustc\n"}, "unavailable", "available: no rustc; get it"),
    "of another stem": ((), "lib", {"lib2.so": ""}, "unavailable", "lib was not compiled when"),
    "built": ((), "lib", {"lib.cpython-311.so": "", "lib.txt": "no"}, "installed", ""),
}


@pytest.mark.parametrize("case", LISTED)
@pytest.mark.parametrize("folder", ["", "other_package/"])
def test_a_kernel_is_listed_by_what_its_source_states(case, folder, install, tmp_path, capsys):
    requires, built, files, state, sentence = LISTED[case]
    stated = STATED.replace("REQUIRES", repr(requires)).replace("BUILT", repr(built))
    (tmp_path / folder).mkdir(exist_ok=True)
    for name, text in {"__init__.py": "raise SystemError", **files}.items():
        if folder or name != "__init__.py":
            (tmp_path / folder / name).write_text(text)
    place = f"{folder}other".replace("/", ".")
    install(f"x = {place}:SPEC", f"raise SystemError('imported')\n{stated}", f"{folder}other")
    assert cli.main(["kernels", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[-1]
    assert (row["name"], row["module"], row["summary"], row["state"]) == ("x", place, "mine", state)
    assert sentence in row["reason"]
    assert bool(sentence) == bool(row["reason"])
    assert not {it for it in sys.modules if it.startswith("other")}
    if state == "unavailable":
        assert reason_of("x") == row["reason"]  # the same, asked by any command
    assert cli.main(["kernels"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert ("kmeans-lab kernels --try imports" in said) == (state == "installed")


UNREAD = {
    "computed": "SPEC = KernelSpec('', 'mine' + '', 'get it')",
    "by another name": "FAST = KernelSpec('', 'mine', 'get it')\nSPEC = FAST",
    "twice": "SPEC = KernelSpec('', 'a', 'get it')\nSPEC = KernelSpec('', 'mine', 'get it')",
    "spread": "SPEC = KernelSpec(**{'module': '', 'summary': 'mine', 'remedy': 'get it'})",
    "in an if": "if True:\n    SPEC = KernelSpec('', 'mine', 'get it')",
    "with a function": "SPEC = KernelSpec('', str('mine'), 'get it')",
}


@pytest.mark.parametrize("form", UNREAD)
def test_what_only_an_import_can_tell_is_listed_as_a_plain_row(form, install, capsys):
    source = f"from kmeans_lab import KernelSpec\n{GOOD}{UNREAD[form]}\n"
    install("x = other:SPEC", source)
    for tried, summary in (([], "from the package other"), (["--try"], "mine")):
        assert cli.main(["kernels", "--json", *tried]) == 0
        assert json.loads(capsys.readouterr().out)[-1]["summary"] == summary


@pytest.mark.parametrize("source", [b"\0", b"SPEC = (", b"(" * 10_000, b"\xe9", None])
def test_a_source_that_cannot_be_read_is_a_plain_row(source, install, tmp_path, capsys):
    install("x = other:SPEC", "")
    if source is None:
        (tmp_path / "other.py").unlink()
    else:
        (tmp_path / "other.py").write_bytes(source)
    assert cli.main(["kernels", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[-1]
    assert (row["state"], row["summary"]) == ("installed", "from the package other")


def test_a_kernel_that_was_not_built_is_never_imported(install, tmp_path):
    stated = STATED.replace("REQUIRES", "()").replace("BUILT", "'lib'")
    install("x = other:SPEC", GOOD + stated)  # which would compute by other code
    for ask in (load_kernel, lambda name: kmeans([[0.0]], 1, kernel=name)):
        with pytest.raises(KernelUnavailable, match="'x' is not available: lib was not"):
            ask("x")
    assert "other" not in sys.modules
    (tmp_path / "lib.so").touch()
    assert load_kernel("x").__name__ == "other"


def test_what_a_kernel_requires_may_be_imported_beside_its_spec(install):
    stated = STATED.replace("REQUIRES", "('not_there',)").replace("BUILT", "''")
    install("x = other:SPEC", f"import not_there\n{stated}")
    with pytest.raises(KernelUnavailable, match="is no module 'not_there'; get it"):
        load_kernel("x")


COMMANDS = {
    "fit": ["t.csv", "-k", "2", "--quiet"],
    "compress": ["t.png", "-k", "2", "-o", "u.png", "--quiet"],
    "check": [],
    "profile": ["--json", "--preset", "smoke"],
    "explain": ["--json", "--preset", "smoke"],
    "scaling": ["--json", "--preset", "smoke"],
    "bench": ["--json", "--preset", "smoke", "--rounds", "1"],
}
MEASURING = ("profile", "explain", "scaling", "bench")


ASKED = [
    # Commands that measure refuse in one place: one fault for each of them is enough every day.
    pytest.param(it, fault, marks=[pytest.mark.slow] * (fault != "os._exit" and it in MEASURING))
    for it in COMMANDS
    for fault in ("no target", "sys.exit", "a package less", "os._exit")
]


@pytest.mark.parametrize(("command", "fault"), ASKED)
def test_a_plug_in_that_is_asked_for_is_refused_in_a_sentence(fault, command, install, capsys):
    entries, source, sentence = FAULTS[fault]
    install(entries, source)
    Path("t.csv").write_text("1,2\n3,4\n9,9\n")
    pytest.importorskip("PIL.Image").new("RGB", (4, 4)).save("t.png")
    named = ["--kernel", "x"] if command in ("fit", "compress", "bench") else ["x"]
    assert cli.main([command, *named, *COMMANDS[command]]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert sentence in said.err
    assert "pip uninstall other" in said.err


def test_the_page_lists_the_others(install):  # their rows: tests/hostile/test_hostile_web_kernels
    install("x = other\ny = not a module\nfine = other_fine", "import os\nos._exit(3)")
    Path("other_fine.py").write_text(GOOD)
    assert [*queries.all_places()] == [*KERNELS, "x", "y", "fine"]
    rows = {it["name"]: it for it in queries.survey(["python", "fine"])["kernels"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "python": "ready",
        "fine": "ready",
    }


def test_who_kills_the_worker_is_never_imported_by_the_server(install):
    install("x = other:SPEC", "raise SystemError('imported')")
    row = queries.broken("x", "ended by signal 9")
    assert (row["state"], row["reason"]) == (
        "broken",
        "the process that imports x ended by signal 9",
    )
    assert "other" not in sys.modules


def test_bench_says_one_sentence_about_it(install, capsys, monkeypatch):
    install("x = other", "import sys\nsys.exit('no licence')")
    monkeypatch.setattr("kmeans_lab.cli.bench.KERNELS", ("cpp", "numpy"))
    assert cli.main(["bench", "--preset", "smoke", "--rounds", "1", "--json"]) == 1
    said = capsys.readouterr()
    states = {it["name"]: it["state"] for it in json.loads(said.out)["runs"][0]["contestants"]}
    assert states == {"cpp": "valid", "numpy": "valid", "x": "broken", "cpp again": "valid"}
    assert said.err.count("\n") == 1
    assert "SystemExit('no licence')" in said.err


@pytest.mark.parametrize("name", ["a b", "", "auto", "mine.py", "-x", "a\tb", "a'b"])
def test_a_name_that_nobody_could_type_is_a_fault(name, install):
    install(f"{name} = other")
    assert "must be letters, digits, '-', '_', '+' and '.'" in reason_of(name)


@pytest.mark.parametrize("name", ["a", "7", "acme.fast", "k_1-b+c", "größe"])
def test_other_names_are_names(name, install):
    install(f"{name} = other")
    assert known_as(name) == name
    assert state_of(name) == ("ready", "")
    assert kmeans([[0.0], [1.0], [9.0]], 2, kernel=name, init="first").kernel == name


def test_a_spec_may_be_nested(install):
    install("x = other : Fast.SPEC [extra]", GOOD + SPEC)
    assert find_spec("x").dtypes == ("float64",)
    assert load_kernel("x").__name__ == "other"


def test_a_name_that_two_packages_bring_is_nobodys(install):
    install("x = other\nfine = other")
    install("x = other_too", GOOD, "other_too", "third")
    for part in ("kernel 'x' is broken: the packages ", " both bring a kernel of this name"):
        assert part in reason_of("x")
    with pytest.raises(ValueError, match="both bring"):
        kmeans([[0.0]], 1, kernel="x")
    assert state_of("fine") == ("ready", "")


def test_names_of_the_lab_stay_its_own_and_that_is_said(install, capsys):
    install("cpp = other\nfine = other")
    assert [*installed()] == ["fine"]
    assert find_spec("cpp") is KERNELS["cpp"]
    sentence = "the package other brings a kernel 'cpp', too, and kmeans_lab's own is used"
    assert cli.main(["kernels"]) == 0
    assert sentence in " ".join(capsys.readouterr().out.split())
    assert cli.main(["kernels", "--json"]) == 0
    said = capsys.readouterr()
    assert len(json.loads(said.out)) == len(KERNELS) + 1
    assert sentence in said.err


def test_the_first_of_two_copies_on_the_path_counts(install, tmp_path, monkeypatch):
    install("x = other")
    copy = tmp_path / "copy" / "Other-2.dist-info"
    copy.mkdir(parents=True)
    (copy / "METADATA").write_text("Metadata-Version: 2.1\nName: Other\nVersion: 2\n")
    (copy / "entry_points.txt").write_text("[kmeans_lab.kernels]\nx = not a module\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "copy")])
    assert state_of("x") == ("ready", "")


def test_a_list_that_cannot_be_read_is_said_and_takes_nothing_away(install, tmp_path):
    install("x = other")
    damaged = tmp_path / "damaged-1.dist-info"
    damaged.mkdir()
    (damaged / "entry_points.txt").write_bytes(b"[kmeans_lab.kernels]\n\xff\xfe = m\n")
    with pytest.warns(RuntimeWarning, match="the entry points of an installed package cannot be"):
        assert [*installed()] == ["x"]


def test_ctrl_c_during_an_import_is_ctrl_c(install):
    install("x = other", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        state_of("x")
    with pytest.raises(KeyboardInterrupt):
        load_kernel("x")


def test_what_an_import_prints_is_not_in_the_json(install, capfd):
    install("x = other\ny = other_too:SPEC", "print('welcome')\n" + GOOD)
    Path("other_too.py").write_text("print('hello')\n" + GOOD + SPEC)
    assert cli.main(["kernels", "--try", "--json"]) == 0
    said = capfd.readouterr()
    assert {it["state"] for it in json.loads(said.out)[-2:]} == {"ready"}
    assert sorted(said.err.splitlines()) == ["hello", "welcome"]


def test_an_import_that_never_ends_is_a_fault(install, monkeypatch):
    monkeypatch.setattr(plugins, "PATIENCE", 0.2)
    install("x = other", "import threading\nthreading.Event().wait()")
    assert "importing other takes longer than 0.2 s" in reason_of("x")


def test_an_import_is_tried_in_another_process_once_and_only_of_plug_ins(install, monkeypatch):
    tried, real = [], plugins.end_of_import
    monkeypatch.setattr(plugins, "end_of_import", lambda it: tried.append(it) or real(it))
    install("x = other\ny = other_too", GOOD)
    Path("other_too.py").write_text("import os\nos._exit(1)")
    for _ in range(2):
        states = [state_of(name)[0] for name in ("python", "numpy", "x", "y")]
    assert states == ["ready", "ready", "ready", "broken"]
    assert tried == ["other", "other_too"]


def test_what_a_plug_in_raises_in_a_fit_is_a_sentence(install, capsys):
    install("x = other", GOOD + "def assign(*arrays):\n    raise KeyError('lost')\n")
    Path("t.csv").write_text("1,2\n3,4\n9,9\n")
    assert cli.main(["fit", "t.csv", "-k", "2", "--kernel", "x", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "kmeans-lab: error: kernel 'x' failed: KeyError: 'lost'; kmeans-lab check x says what else "
        "is wrong with it\n"
    )


PLACES = {
    "other_plain": (GOOD, 0, ""),
    "other_plain.py": (GOOD, 0, ""),
    "other_exit.py": ("import sys\nsys.exit('stop')", 2, "raised SystemExit('stop'), which would"),
    "other_exit": ("raise SystemExit(0)", 2, "other_exit cannot be imported: ImportError: "),
    "other_dies.py": ("import os\nos._exit(0)", 2, "cannot be imported: that ends the process (ex"),
    "other_dies": ("import os\nos._exit(7)", 2, "cannot be imported: that ends the process (exit"),
    "other_quits": (GOOD + "def assign(*a):\n    raise SystemExit", 1, "is wrong in"),
    "other_empty": ("", 1, "other_empty is wrong in 1 of 1 points"),
    "./other_plain": (GOOD, 2, "'./other_plain' is no kernel, no module that can be imported"),
}


@pytest.mark.parametrize("place", PLACES)
def test_check_takes_files_and_modules_of_all_levels(place, capsys, monkeypatch):
    monkeypatch.setattr(whole_numbers, "_CHUNKS", ())  # plain Python is slow
    monkeypatch.setattr(conformance, "MANY", ())
    source, status, sentence = PLACES[place]
    Path(Path(place).stem + ".py").write_text(source)
    assert cli.main(["check", place]) == status
    said = capsys.readouterr().err
    assert said.count("\n") == bool(status)
    assert sentence in said
