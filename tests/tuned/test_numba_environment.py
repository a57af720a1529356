"""Numba as other people's machines have it: switched off, without a cache, with a damaged one."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kmeans_lab
from kmeans_lab import KernelUnavailable, kmeans, load_kernel
from kmeans_lab.cli.main import main
from kmeans_lab.isolation.availability import state_of
from tests.support.helpers import require_ready

numba = pytest.importorskip("numba", reason="pip install numba")

from numba.core import caching  # noqa: E402

from kmeans_lab.tuned import numba_jit  # noqa: E402

NAMES = ("numba", "numba-tiled")
REMEDY = "set NUMBA_CACHE_DIR to a folder that can be written to"


@pytest.fixture
def switched_off(monkeypatch):
    """Let Numba compile nothing, and forget what was imported before."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    names = ("kmeans_lab._numba", "kmeans_lab.tuned.numba")
    for module in [it for it in sys.modules if it.startswith(names)]:
        if module != numba_jit.__name__:
            monkeypatch.delitem(sys.modules, module)


@pytest.mark.parametrize("name", NAMES)
def test_without_its_compiler_a_kernel_is_unavailable_with_the_reason(switched_off, name):
    sentence = (
        f"kernel {name!r} is not available: NUMBA_DISABLE_JIT=1 tells Numba to compile nothing; "
        "unset the variable"
    )
    assert state_of(name) == ("unavailable", sentence)
    with pytest.raises(KernelUnavailable, match="NUMBA_DISABLE_JIT=1"):
        kmeans(np.zeros((9, 2)), 2, kernel=name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["fit", "check", "explain", "profile", "scaling"])
def test_commands_refuse_it_in_a_sentence(switched_off, tmp_path, capsys, command, name):
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,4\n")
    arguments = [str(path), "-k", "1", "--kernel", name] if command == "fit" else [name]
    assert main([command, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kmeans-lab: error: kernel {name!r} is not available: NUMBA_DISABLE")


def test_the_table_of_kernels_shows_it(switched_off, capsys):
    assert main(["kernels", "--json"]) == 0
    assert capsys.readouterr().out.count("tells Numba to compile nothing; unset") == len(NAMES)


@pytest.mark.parametrize("variable", [None, "", "0"])
def test_a_program_that_switches_it_off_is_told_so(switched_off, monkeypatch, variable):
    if variable is None:
        monkeypatch.delenv("NUMBA_DISABLE_JIT")
    else:
        monkeypatch.setenv("NUMBA_DISABLE_JIT", variable)
    assert "not available: numba.config.DISABLE_JIT or disable_jit in" in state_of("numba")[1]


@pytest.mark.kernels("numba-tiled")
def test_switched_off_after_the_import_no_pass_is_interpreted(kernel, monkeypatch):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    with pytest.raises(KernelUnavailable, match="DISABLE_JIT"):
        kernel.loops.compiled.__wrapped__(3, False, 64, np.float64)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Return an empty folder for Numba's cache; nothing was said in this process yet."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(numba_jit, "_said", False)
    return tmp_path


def double(x):
    return x * 2


def triple(x):
    return x * 3


def compiled_anew():
    return [numba_jit.jit()(function) for function in (double, triple)]


def test_a_cache_that_works_is_used_without_a_word(cache):
    assert [function(7) for function in compiled_anew()] == [14, 21]
    again = compiled_anew()
    assert [function(7) for function in again] == [14, 21]
    assert all(sum(function.stats.cache_hits.values()) == 1 for function in again)
    assert not again[0].stats.cache_misses


CALLED = "from kmeans_lab.tuned.numba_jit import jit\n@jit()\ndef called(x):\n    return x * {}\n"
CALLER = """
from kmeans_lab.tuned.numba_jit import jit
from numba_called import called
@jit()
def calls(x):
    return called(x)
print(calls(7))
"""


def test_code_of_another_file_of_the_kernel_is_not_taken_from_before(tmp_path):
    """What a function calls is compiled into it: the cache must notice when that has changed."""
    caller, called = tmp_path / "numba_caller.py", tmp_path / "numba_called.py"
    caller.write_text(CALLER)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for factor in (2, 3, 2):
        called.write_text(CALLED.format(factor))
        run = [sys.executable, "-B", str(caller)]
        said = subprocess.run(run, capture_output=True, text=True, timeout=120, env=environment)
        assert (said.stdout, said.stderr) == (f"{7 * factor}\n", "")


def test_without_a_folder_for_the_cache_kernels_run_and_say_so_once(cache, monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.warns(RuntimeWarning) as told:
        assert [function(7) for function in compiled_anew()] == [14, 21]
    (warning,) = told
    assert str(warning.message) == (
        "Numba cannot keep compiled code (neither the folder of kmeans_lab nor the home directory "
        f"can be written to), so that its kernels are compiled anew; {REMEDY}"
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_cache_that_takes_nothing_costs_time_alone(cache, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_index", refuse)
    with pytest.warns(RuntimeWarning, match=f"{os.strerror(code)}.*{REMEDY}") as told:
        assert [function(7) for function in compiled_anew()] == [14, 21]
    assert len(told) == 1


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", [b"", b"no pickle", None])
def test_a_damaged_cache_is_written_anew(cache, ending, damage):
    assert compiled_anew()[0](7) == 14
    (path,) = cache.rglob(f"*double*{ending}")
    path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    with pytest.warns(RuntimeWarning, match=f"cannot read .*; remove .*, or {REMEDY}") as told:
        assert compiled_anew()[0](7) == 14
    assert len(told) == 1
    again = compiled_anew()[0]
    assert again(7) == 14
    assert sum(again.stats.cache_hits.values()) == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="takes rights away as Linux does")
@pytest.mark.parametrize("mode", ["threads", "processes"])
def test_an_installation_that_cannot_be_written_to_and_no_home(tmp_path, mode):
    require_ready("numba")
    here = tmp_path / "lib"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(kmeans_lab.__file__).parent, here / "kmeans_lab", ignore=ignore)
    data = tmp_path / "x.csv"
    data.write_text("1,2\n3,4\n9,9\n8,8\n")
    places = [*here.rglob("*"), here]
    for place in places:
        place.chmod(place.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    drop = "-dac_override,-dac_read_search,-fowner"
    rights = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}"]
    nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = os.environ | nowhere | {"PYTHONPATH": str(here)}
    environment.pop("NUMBA_CACHE_DIR", None)
    fit = ["-m", "kmeans_lab", "fit", data, "-k", "2", "--kernel", "numba", "--mode", mode]
    run = subprocess.run(
        [*(rights if os.getuid() == 0 else []), sys.executable, *fit, "--threads", "2", "--json"],
        capture_output=True, text=True, env=environment, cwd="/", timeout=120, check=False,
    )  # fmt: skip
    for place in places:  # pytest removes them
        place.chmod(place.stat().st_mode | stat.S_IWUSR)
    assert (run.returncode, run.stderr.count(REMEDY)) == (0, 1), run.stderr
    assert '"kernel": "numba"' in run.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_kernels_themselves_are_compiled_this_way(name):
    require_ready(name)
    of = load_kernel(name).__name__
    modules = [it for module, it in sys.modules.items() if module.startswith(of)]
    cached = [it for holder in modules for it in vars(holder).values() if hasattr(it, "stats")]
    kinds = {type(it._cache) for it in cached if "inline" not in it.targetoptions}
    assert cached
    assert kinds <= {numba_jit._Cache, numba_jit._NoCache}
