"""A machine without a compiler gets one sentence, and no half of a package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TELLS = "import sys, sysconfig; sysconfig.get_path = lambda name: '/no/headers'; "
RUNS = "sys.argv = ['setup.py', *sys.argv[1:]]; exec(open('setup.py').read())"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Microsoft's compiler has its own words")


def build(tmp_path, code, **environment):
    """Try to build all modules into a folder of the test; return the run and what was built."""
    folders = ["--build-lib", tmp_path / "lib", "--build-temp", tmp_path / "temp"]
    command = [sys.executable, "-c", code, "-q", "build_ext", *map(str, folders)]
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, timeout=60
    )
    assert run.returncode != 0
    return run.stderr, [*tmp_path.rglob("*.so"), *tmp_path.rglob("_built.json")]


@pytest.mark.parametrize("names", [("CC",), ("CC", "CXX"), ("CXX",)])
def test_without_a_compiler(tmp_path, names):
    environment = dict.fromkeys(names, "no-such-compiler")
    errors, built = build(tmp_path, "import sys; " + RUNS, **environment)
    assert "compiles C and C++ and there is no 'no-such-compiler' here; install a" in errors
    assert errors.rstrip().endswith("pip install --only-binary kmeans-lab kmeans-lab")
    assert built == []


def test_without_the_headers_of_python(tmp_path):
    errors, built = build(tmp_path, TELLS + RUNS)
    assert "there is no /no/headers/Python.h; install them (Debian: apt install" in errors
    assert built == []


def test_wide_instructions_are_for_loops_alone(tmp_path):
    # A Cython that writes other names would leave them to code that runs on every processor.
    written = tmp_path / "written.c"
    mark = RUNS.replace("*sys.argv[1:]", "'--name'") + "; mark_loops(Path(path))"
    command = [sys.executable, "-c", f"import sys; path = sys.argv[1]; {mark}", str(written)]
    other = "static int __pyx_f_3lab_start(void) {\n"
    for loop, marked in ("static void __pyx_fuse_0__pyx_f_3lab_run(int *", True), ("", False):
        written.write_text(other + loop)
        run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert (run.returncode == 0) == marked
        assert written.read_text() == other + loop.replace("static", "static KMEANS_LAB_LOOP")
    assert run.stderr.startswith(f"{written} holds no loop of the form that Cython 3 gives them")
    assert run.stderr.count("\n") == 1
