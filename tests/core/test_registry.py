"""The table of kernels: unknown, missing and broken are three different errors."""

import ast
import re
import subprocess
import sys
from importlib.util import find_spec as find_module
from pathlib import Path

import numpy as np
import pytest

import kmeans_lab
from kmeans_lab import KERNELS, KernelUnavailable, kmeans, load_kernel
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.registry import find_spec
from kmeans_lab.spec import KernelSpec
from tests.support.helpers import require_ready

PACKAGE = Path(kmeans_lab.__file__).parent


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Return a function that adds a row for a module with this source, or without any."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name, source=None, module=None, **fields):
        module = module or f"planted_{name}"
        if source is not None:
            (tmp_path / f"{module}.py").write_text(source)
        spec = KernelSpec(module=module, summary="planted", remedy="pip install it", **fields)
        monkeypatch.setitem(KERNELS, name, spec)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return add


def test_an_unknown_name_lists_the_choices():
    for function in (find_spec, load_kernel, lambda name: kmeans([[1.0]], 1, kernel=name)):
        with pytest.raises(ValueError, match=r"kernel='cuda' is not known; choose one of python, "):
            function("cuda")


@pytest.mark.parametrize("module", ["planted_ghost", "planted_package.kernel", "kmeans_lab._ghost"])
def test_a_missing_module_is_unavailable_with_the_remedy(register, module):
    register("ghost", module=module)
    with pytest.raises(KernelUnavailable, match=r"'ghost' is not available: .*; pip install it"):
        load_kernel("ghost")
    assert state_of("ghost")[0] == "unavailable"


def test_a_missing_requirement_is_unavailable_and_names_it(register):
    register("needy", "import not_installed_at_all", requires=("not_installed_at_all",))
    with pytest.raises(KernelUnavailable, match="no module 'not_installed_at_all'; pip") as caught:
        load_kernel("needy")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    state, why = state_of("needy")
    assert (state, why) == ("unavailable", str(caught.value))


BROKEN = {
    "its own ImportError": ("raise ImportError('libfast.so: cannot open')", ImportError, "libfast"),
    "an unrelated module": ("import not_installed_at_all", ModuleNotFoundError, "not_installed"),
    "a part of a requirement": ("import numpy.not_there", ModuleNotFoundError, "numpy.not_there"),
    "a syntax error": ("def assign(:", SyntaxError, "invalid syntax|expected"),
    "any exception": ("1 / 0", ZeroDivisionError, "division by zero"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_kernel_raises_its_own_error_untouched(register, fault):
    source, error, words = BROKEN[fault]
    register("bad", source, requires=("numpy",))
    for _ in range(2):  # the second import does not find half a module
        with pytest.raises(error, match=words) as caught:
            load_kernel("bad")
        assert not isinstance(caught.value, KernelUnavailable)
    state, why = state_of("bad")
    assert state == "broken"
    assert re.search(f"{error.__name__}: .*({words})", why)


def test_a_kernel_that_is_there_is_ready(register):
    register("fine", "def assign(*a): return 0.0\ndef update(*a): pass")
    assert state_of("fine") == ("ready", "")
    assert load_kernel("fine").assign() == 0.0


def test_the_suite_skips_or_fails_by_state_and_option(register):
    register("ghost", module="planted_ghost")
    register("bad", "1 / 0")
    require_ready("python")
    require_ready("python", "all")
    with pytest.raises(pytest.skip.Exception, match="'ghost' is not available"):
        require_ready("ghost")
    for name, required in (("ghost", "all"), ("bad", "available"), ("bad", "all")):
        with pytest.raises(pytest.fail.Exception, match=f"'{name}' is"):
            require_ready(name, required)


def test_the_documented_kernels_are_in_the_table():
    assert {"python", "numpy", "numpy-broadcast", "numba", "cython", "cpp"} <= set(KERNELS)


@pytest.mark.parametrize("name", KERNELS)
def test_every_field_of_a_row_is_valid(name):
    spec = find_spec(name)
    assert spec is KERNELS[name]
    assert re.fullmatch(r"[a-z][a-z0-9-]*", name)
    assert spec.summary == spec.summary.strip() != ""
    assert "\n" not in spec.summary
    assert spec.remedy
    assert set(spec.dtypes) <= {"float32", "float64"}
    assert "float64" in spec.dtypes
    assert spec.threading in ("gil", "nogil", "own")
    assert type(spec.whole) is type(spec.compiles_on_first_call) is bool
    assert isinstance(spec.requires, tuple)
    assert all(package.isidentifier() for package in spec.requires)


def test_every_ready_kernel_has_both_functions(kernel):
    assert callable(kernel.assign)
    assert callable(kernel.update)


NARROW = """
from kmeans_lab._numpy_kernel import assign as real, update
seen = []
def assign(rows, centers, labels):
    seen.append(rows.dtype.name)
    return real(rows, centers, labels)
"""


def test_only_the_dtypes_of_its_row_reach_a_kernel(register):
    register("narrow", NARROW, dtypes=("float64",))
    for dtype in ("float32", "float64", "float16", "int8"):
        result = kmeans(np.array([[1], [5]], dtype), 2, kernel="narrow", init="first")
        assert result.centers.dtype == np.float64
    assert set(load_kernel("narrow").seen) == {"float64"}


def test_only_kernels_that_say_so_compile_on_their_first_call(kernel_name, kernel):
    compiles = hasattr(kernel.assign, "py_func")  # what numba.njit returns
    assert compiles == KERNELS[kernel_name].compiles_on_first_call


def python_kernels():
    origins = {name: find_module(spec.module) for name, spec in KERNELS.items()}
    return [name for name, found in origins.items() if found and str(found.origin).endswith(".py")]


class RunTimeImports(ast.NodeVisitor):
    """Collects what a module imports, blocks under ``if TYPE_CHECKING`` left out."""

    def __init__(self):
        self.names = []

    def visit_If(self, node):
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node):
        self.names += [alias.name for alias in node.names]

    def visit_ImportFrom(self, node):
        self.names.append("." * node.level + (node.module or ""))


def run_time_imports(source):
    visitor = RunTimeImports()
    visitor.visit(ast.parse(source))
    return visitor.names


def test_imports_for_types_alone_are_told_from_the_others():
    source = "import a.b\nif TYPE_CHECKING:\n    import c\ndef f():\n    from . import d\n"
    assert run_time_imports(source) == ["a.b", "."]


@pytest.mark.parametrize("name", python_kernels())
def test_a_kernel_imports_what_its_row_names_and_nothing_of_the_package(name):
    # A kernel may import files of its own kind, what kernels with threads of their own share, and
    # the error that says it cannot run here.
    own = (KERNELS[name].module, "kmeans_lab.tuned.")
    modules, seen = {KERNELS[name].module}, {"kmeans_lab.registry", "kmeans_lab.crews.helpers"}
    while files := {module for module in modules if module.startswith(own)} - seen:
        for file in files:
            modules.update(run_time_imports(Path(find_module(file).origin).read_text()))
        seen |= files
    imported = {module.partition(".")[0] for module in modules - seen}
    imported -= {"__future__", *sys.stdlib_module_names}
    assert "kmeans_lab" not in imported
    assert "" not in imported  # a relative import
    requires = KERNELS[name].requires
    assert imported <= ({*requires, "numpy"} if requires else set())


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.pyx")), ids=lambda path: path.name)
def test_a_cython_kernel_imports_nothing_of_the_package(path):
    lines = path.read_text().splitlines()
    assert not [line for line in lines if re.match(r"\s*(from|c?import)\s+(kmeans_lab|\.)", line)]


def loaded_by(statement):
    """Return the modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


HEAVY = {"numba", "multiprocessing", "rich", "sklearn", "scipy", "PIL", "importlib.metadata"}


def test_importing_the_package_imports_numpy_and_nothing_heavier():
    loaded = loaded_by("import kmeans_lab")
    assert {"kmeans_lab.driver", "numpy"} <= loaded
    assert not HEAVY & loaded
    assert not {spec.module for spec in KERNELS.values()} & loaded


def test_a_fit_imports_its_own_kernel_only():
    loaded = loaded_by(
        "from kmeans_lab import kmeans; "
        "kmeans([[1.0], [2.0]], 2, init='random', kernel='python', mode='threads')"
    )
    assert {spec.module for spec in KERNELS.values()} & loaded == {"kmeans_lab._py_kernel"}
    assert not HEAVY & loaded


def test_the_public_names():
    names = {"KERNELS", "KMeansResult", "KernelUnavailable", "kmeans", "load_kernel"}
    assert names <= set(kmeans_lab.__all__)
    assert all(hasattr(kmeans_lab, name) for name in kmeans_lab.__all__)
    assert re.match(r"\d+\.\d+", kmeans_lab.__version__)
    with pytest.raises(AttributeError, match="no attribute 'k_means'"):
        _ = kmeans_lab.k_means
