"""One extension that cannot be loaded, or a wrong KMEANS_LAB_ISA, takes nothing else with it."""

import json
import shutil
import subprocess
import sys
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import pytest

import kmeans_lab
from kmeans_lab import KERNELS, kmeans, load_kernel
from kmeans_lab.cli import main as cli
from kmeans_lab.compress import compress
from kmeans_lab.dbscan import dbscan
from kmeans_lab.isolation import availability
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.registry import AUTO
from kmeans_lab.silhouette import silhouette_score

X = np.random.default_rng(0).normal(size=(90, 3))

#: A compiled module, and the kernel that is gone with it.
COMPILED = {
    "kmeans_lab.tuned.simd": "cpp-simd",
    "kmeans_lab._cpp_kernel": "cpp",
    "kmeans_lab._cy_kernel": "cython",
    "kmeans_lab.tuned.cython_baseline": "cython-tiled",
    "kmeans_lab._cpp_dbscan": None,
    "numba": "numba",
}
ERRORS = {"torn": ImportError("libtorn.so: file too short"), "no disk": OSError(5, "no disk")}


class Torn:
    """A finder whose module is there and cannot be loaded."""

    def __init__(self, module, error):
        self.module, self.error = module, error

    def find_spec(self, name, path=None, target=None):
        if name == self.module:
            raise self.error
        return


@pytest.fixture(autouse=True)
def not_said_yet():
    availability._warn_once.cache_clear()
    yield
    availability._warn_once.cache_clear()


@pytest.fixture
def tear(monkeypatch):
    """Return a function that makes a module one that cannot be loaded."""

    def tear(module, error="torn"):
        users = [spec.module for spec in KERNELS.values() if module in spec.requires]
        tiled = ["kmeans_lab.tuned.cython"] if "tuned.cython" in module else []
        jit = ["kmeans_lab.tuned.numba_jit"] if module == "numba" else []
        for name in [module, *users, *tiled, *jit]:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "meta_path", [Torn(module, ERRORS[error]), *sys.meta_path])

    return tear


def estimator(name, **options):
    pytest.importorskip("sklearn")
    made = getattr(kmeans_lab, name)(3, random_state=0, n_init=1, **options).fit(X)
    made.predict(X)
    made.score(X)


def mini_batches():
    estimator("MiniBatchKMeans", batch_size=30)


def pixels():
    colors = np.random.default_rng(0).integers(0, 256, (20, 20, 3)).astype("u1")
    compress(colors, 4, random_state=0)


OPERATIONS = {
    "kmeans, numpy": lambda: kmeans(X, 3, kernel="numpy", random_state=0),
    "kmeans, auto": lambda: kmeans(X, 3, random_state=0),
    "kmeans, threads": lambda: kmeans(X, 3, mode="threads", n_threads=2, random_state=0),
    "KMeans": lambda: estimator("KMeans"),
    "KMeans, python": lambda: estimator("KMeans", kernel="python"),
    "MiniBatchKMeans": mini_batches,
    "compress": pixels,
    "silhouette": lambda: silhouette_score(X, np.arange(len(X)) % 3),
    "dbscan, python": lambda: dbscan(X, 0.5, 3, kernel="python"),
}


@pytest.mark.parametrize("module", COMPILED)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_torn_module_takes_nothing_else_with_it(operation, module, tear):
    tear(module)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            OPERATIONS[operation]()
    assert len(said) <= (COMPILED[module] in AUTO)  # once in a process, and of what matters alone
    for it in said:
        assert it.category is RuntimeWarning
        sentence = f"kernel {COMPILED[module]!r} is broken: ImportError: libtorn.so: file too short"
        assert sentence in str(it.message)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", [name for name in COMPILED.values() if name])
def test_a_torn_kernel_raises_its_own_error_and_the_others_are_as_before(name, error, tear):
    others = {it: state_of(it) for it in KERNELS if not it.startswith(name)}
    tear(next(module for module, it in COMPILED.items() if it == name), error)
    with pytest.raises(type(ERRORS[error]), match=r"file too short|no disk"):
        kmeans(X, 3, kernel=name)
    assert state_of(name)[0] == "broken"
    assert {it: state_of(it) for it in others} == others


def test_the_start_is_the_same_without_the_flagship(tear):
    before = kmeans(X, 3, kernel="numpy", random_state=0)
    tear("kmeans_lab.tuned.simd")
    with pytest.warns(RuntimeWarning, match="until then another kernel computes"):
        after = kmeans(X, 3, kernel="numpy", random_state=0)
    assert (after.labels == before.labels).all()


COMMANDS = {
    "fit": ["points.csv", "-k", "2", "--kernel", "cython", "--quiet"],
    "compress": ["a.png", "-k", "2", "-o", "b.png", "--kernel", "cython", "--quiet"],
    "check": ["cython"],
    "profile": ["cython", "--preset", "smoke", "--json"],
    "explain": ["cython", "--preset", "smoke", "--json"],
    "scaling": ["cython", "--preset", "smoke", "--json"],
    "bench": ["--kernel", "cython", "--preset", "smoke", "--json"],
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("points.csv").write_text("1,2\n3,4\n9,9\n")
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.arange(48, dtype="u1").reshape(4, 4, 3)).save("a.png")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_torn_kernel_that_is_asked_for_is_one_sentence(command, tear, files, capsys):
    tear("kmeans_lab._cy_kernel")
    assert cli.main([command, *COMMANDS[command]]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "kernel 'cython' is broken: ImportError: libtorn.so: file too short; pip" in said.err


@pytest.mark.filterwarnings("default")
def test_fit_says_once_why_it_is_not_the_flagship(tear, files, capsys):
    tear("kmeans_lab.tuned.simd")
    assert cli.main(["fit", "points.csv", "-k", "2", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["kernel"] == "cython-tiled"
    assert said.err.count("\n") == 1
    assert said.err.startswith("kmeans-lab: warning: kernel 'cpp-simd' is broken: ImportError: lib")


@pytest.mark.filterwarnings("default")
def test_kernels_lists_all_and_bench_measures_the_others(tear, files, capsys):
    tear("kmeans_lab.tuned.simd")
    assert cli.main(["kernels", "--json"]) == 0
    states = {it["name"]: it["state"] for it in json.loads(capsys.readouterr().out)}
    assert states["cpp-simd"] == "broken"
    assert states["numpy"] == states["cpp"] == "ready"
    status = cli.main(
        ["bench", "--preset", "smoke", "--rounds", "1", "--kernel", "numpy", "--json"]
    )
    measured = json.loads(capsys.readouterr().out)["runs"][0]["contestants"]
    assert (status, {it["state"] for it in measured}) == (0, {"valid"})


def test_a_wrong_isa_is_the_business_of_those_who_read_it(monkeypatch, files, capsys):
    monkeypatch.setenv("KMEANS_LAB_ISA", "sse9")
    words = "KMEANS_LAB_ISA=sse9 is not known; choose one of baseline, avx2, avx512"
    for name in ("cpp-simd", "cython-tiled"):
        assert state_of(name) == ("unavailable", f"kernel {name!r} is not available: {words}")
        with pytest.raises(ValueError, match=words):
            kmeans(X, 3, kernel=name, init="random")
        assert cli.main(["fit", "points.csv", "-k", "2", "--kernel", name]) == 2
        assert words in capsys.readouterr().err
    with pytest.warns(RuntimeWarning, match=words) as said:
        ran = [kmeans(X, 3, kernel="numpy").kernel, kmeans(X, 3).kernel, pixels()]
    assert (ran, len(said)) == (["numpy", "numba-tiled", None], 2)  # of both that read it
    assert cli.main(["kernels", "--json"]) == 0
    states = {it["name"]: it["state"] for it in json.loads(capsys.readouterr().out)}
    assert {name for name, it in states.items() if it == "unavailable"} >= {
        "cpp-simd",
        "cython-tiled",
    }


def test_a_flagship_that_is_not_built_is_passed_over_without_a_word(monkeypatch):
    monkeypatch.setitem(sys.modules, "kmeans_lab.tuned.simd", None)
    assert kmeans(X, 3).kernel == "cython-tiled"  # warnings are errors here


def test_a_torn_file_in_an_installed_copy(tmp_path):
    shutil.copytree(Path(kmeans_lab.__file__).parent, tmp_path / "kmeans_lab")
    torn = tmp_path / "kmeans_lab" / "tuned" / f"simd{EXTENSION_SUFFIXES[0]}"
    torn.unlink()  # the copy alone: the original may be mapped
    torn.write_text("torn\n")
    code = (
        "import kmeans_lab as k; print(k.kmeans([[0.0], [1.0], [9.0]], 2, kernel='numpy').n_iter)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().isdigit()
    assert run.stderr.count("RuntimeWarning: kernel 'cpp-simd' is broken") == 1


def test_loading_half_a_module_is_not_kept(tear):
    tear("kmeans_lab._cy_kernel")
    for _ in range(2):
        with pytest.raises(ImportError, match="too short"):
            load_kernel("cython")
