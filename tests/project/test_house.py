"""The plan of the house: imports point down, rooms stay small, and nothing is written twice."""

import ast
import os
import re
import subprocess
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "kmeans_lab"
SOURCES = {".py", ".pyx", ".pxi", ".cpp", ".h", ".js", ".css", ".html"}

#: From the roof down: a module imports from its own line and those below; the longest prefix
#: counts. ``docs/architecture.md`` draws it.
ORDER = (
    ("__main__", "cli", "web"),
    ("pages", "choosing", "measure", "studies", "estimators", "isolation", "dask", "winners"),
    ("compress", "dbscan", "silhouette", "soft", "presets", "io.datafiles", "io.outputs"),
    ("driver",),
    ("crews", "tuned", "_numba_kernel", "sparse._numba_kernel"),
    # "": all others: registry, kernel, seeding, stopping, empty, numerics, the rest of io, …
    (
        "",
        *(f"crews.{name}" for name in ("helpers", "blas")),
        *(f"isolation.{name}" for name in ("availability", "plugins", "metadata")),
        *(f"isolation.{name}" for name in ("children", "child_side", "hardware")),
        "winners.choice",
    ),
)

#: Files that have six or more lines in common, and why. What is no longer so must leave the list.
REPEATED = {
    (
        "guests/kmeans_lab_guests/pythran_loops.py",
        "kmeans_lab/_numba_kernel.py",
        "kmeans_lab/_py_kernel.py",
    ): "the same loops, to be compared",
    ("guests/kmeans_lab_guests/pythran_loops.py", "kmeans_lab/_numba_kernel.py"): "the same loops",
    ("guests/kmeans_lab_guests/mypyc_kernel.py", "kmeans_lab/_py_kernel.py"): "the same loops",
    ("kmeans_lab/_numba_kernel.py", "kmeans_lab/sparse/_numba_kernel.py"): "the same loops",
    ("kmeans_lab/choosing/costs.py", "kmeans_lab/choosing/record.py"): "the same fields, as JSON",
    ("kmeans_lab/isolation/messages.py", "kmeans_lab/result.py"): "the same fields, to be sent",
    ("kmeans_lab/measure/scaling.py", "kmeans_lab/measure/schema.py"): "the same fields, as JSON",
    ("kmeans_lab/sparse/_numba_kernel.py", "kmeans_lab/sparse/_py_kernel.py"): "the same loops",
    ("kmeans_lab/tuned/cython_bounds.pxi", "kmeans_lab/tuned/numba_tiles.py"): "in two languages",
    ("kmeans_lab/tuned/cython_sums.pxi", "kmeans_lab/tuned/numba_sums.py"): "in two languages",
}
_SIX = 6

#: How many source files a room may hold; every other one: 24.
ROOMS = defaultdict(lambda: 24, {"kmeans_lab": 26})


def module_name(path: Path) -> str:
    """Return what a module is called inside the package; "" for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in PACKAGE.rglob("*.py")}
COMPILED = {module_name(path) for path in PACKAGE.rglob("*.pyi")}


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield all imports of a module, those in functions too, but for those of type checkers."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    parts = getattr(node, "orelse", []) if types else ast.iter_child_nodes(node)
    for part in parts:
        yield from statements(part)


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a file imports from."""
    found = set()
    for it in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(it, ast.Import):
            names = [alias.name for alias in it.names]
        else:
            assert it.level == 0, f"{path}:{it.lineno} imports by dots; write the whole name"
            names = [f"{it.module}.{alias.name}" for alias in it.names]
        for name in names:
            if f"{name}.".startswith("kmeans_lab."):
                found.add(known(name.partition(".")[2]))
    return found


def known(name: str) -> str:
    """Return the module in a dotted name, which may end with what the module defines."""
    while name not in PATHS and name not in COMPILED:
        name = name.rpartition(".")[0]
    return name


@cache
def graph() -> dict[str, set[str]]:
    """Return what each module imports from the package."""
    return {name: imported(path) - {name} for name, path in PATHS.items()}


def reached(start: str) -> set[str]:
    seen, left = set(), [start]
    while left:
        for name in graph().get(left.pop(), ()):
            if name not in seen:
                seen.add(name)
                left.append(name)
    return seen


def depth(name: str) -> int:
    """Return how far below the roof a module is."""
    lines = {part: i for i, line in enumerate(ORDER) for part in line}
    parts = name.split(".")
    prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((lines[it] for it in prefixes if it in lines), lines[""])


def test_imports_point_down() -> None:
    up = {(a, b) for a, names in graph().items() for b in names if a and depth(b) < depth(a)}
    commands = {(a, b) for a, names in graph().items() for b in names if b.startswith("cli")}
    libraries = {(a, b) for a, b in commands if not f"{a}.".startswith(("cli.", "__main__."))}
    assert up | libraries == set()


def test_there_is_no_circle() -> None:
    below = {name: reached(name) for name in PATHS}
    circles = {frozenset(b for b in below[a] if a in below.get(b, ())) for a in PATHS}
    assert circles == {frozenset()}


def test_imports_in_functions_count_and_those_of_type_checkers_do_not(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(
        "if TYPE_CHECKING:\n    import kmeans_lab.web\n"
        "def f():\n    from kmeans_lab.driver import kmeans\n"
        "from kmeans_lab.cli import bench\n"
    )
    assert imported(planted) == {"driver", "cli.bench"}


def test_every_room_is_installed() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("__init__.py")}
    assert {".".join(room.parts) for room in rooms} == set(named)


def test_no_room_is_crowded() -> None:
    rooms = Counter(path.parent.as_posix() for path in files() if path.suffix in SOURCES)
    assert {room: n for room, n in rooms.items() if n > ROOMS[room]} == {}


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_room_is_in_the_plan(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} | {"bench", "cpp", "tests"}
    assert {room for room in rooms if f"{room}/" not in text} == set()


def test_tests_share_code_by_support_alone() -> None:
    for path in (it for it in files() if it.parts[0] == "tests" and it.suffix == ".py"):
        for found in re.findall(r"^ *(?:from|import) (tests\.\S+)", path.read_text(), re.MULTILINE):
            assert found.startswith("tests.support"), f"{path} imports {found}"


def test_the_readme_is_read_in_a_few_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_what_is_written_twice_says_why() -> None:
    places = defaultdict(set)
    for path in files():
        if path.parts[0] not in ("tests", "docs") and path.suffix in SOURCES - {".html"}:
            lines = code_lines(path.suffix, (ROOT / path).read_text(encoding="utf-8"))
            for i in range(len(lines) - _SIX + 1):
                places[tuple(lines[i : i + _SIX])].add((path.as_posix(), i))
    shared = [sorted(found) for found in places.values() if len(found) > 1]
    assert {tuple(path for path, _ in found) for found in shared} == set(REPEATED)


def test_six_lines_are_found_whatever_stands_between_them() -> None:
    block = [f"a{i} = {i}" for i in range(_SIX)]
    one, other = ["import os", *block], ["def f():", '    """F."""', *(f"    {it}" for it in block)]
    other.insert(5, "\n    # why\n")
    assert code_lines(".py", "\n".join(one)) == block == code_lines(".py", "\n".join(other))


@cache
def files() -> list[Path]:
    """Return all files of the repository that are its own, by their path in it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    except (OSError, subprocess.CalledProcessError):
        if os.environ.get("CI"):
            pytest.fail("CI works in a checkout of git, and there is none", pytrace=False)
        pytest.skip("this is no checkout of git")  # but an sdist, whose files git does not know
    return [Path(it) for it in listed.stdout.split("\0") if it and (ROOT / it).exists()]


def code_lines(suffix: str, text: str) -> list[str]:
    """Return the lines that do something: no imports, signatures, docstrings or comments."""
    dropped = declarations(ast.parse(text)) if suffix == ".py" else set()
    code = []
    for number, line in enumerate(text.splitlines(), 1):
        plain = " ".join(re.sub(r"(^|\s)(#|//).*", "", line).split())
        imports = plain.startswith(("import ", "from ", "cimport "))
        if number not in dropped and not imports and re.search(r"\w", plain):
            code.append(plain)
    return code


def declarations(tree: ast.Module) -> set[int]:
    """Return the numbers of the lines that declare: imports, signatures and docstrings."""
    found: list[tuple[int, int | None]] = []
    for it in ast.walk(tree):
        if isinstance(it, ast.Import | ast.ImportFrom):
            found.append((it.lineno, it.end_lineno))
        elif isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            if not isinstance(it, ast.Module):
                first = min([it.lineno, *(each.lineno for each in it.decorator_list)])
                found.append((first, it.body[0].lineno - 1))
            if ast.get_docstring(it) is not None:
                found.append((it.body[0].lineno, it.body[0].end_lineno))
    return {number for first, last in found for number in range(first, (last or first) + 1)}
