"""Worker processes started from anywhere: in pools, from standard input, without a folder."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from kmeans_lab.crews import processes
from kmeans_lab.crews.spawning import refuse_where_workers_cannot_start
from tests.support.helpers import assert_same_fit
from tests.support.process_fits import HEAD, fit, is_gone

DAEMONIC = "inside a daemonic process, for instance in a multiprocessing.Pool; use mode='threads'"

POOLS = """
from concurrent.futures import ProcessPoolExecutor
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

def one(_):
    try:
        return fit(max_iter=2).inertia, blocks
    except Exception as error:
        return f"{type(error).__name__}: {error}", blocks

if __name__ == "__main__":
    found = {"here": one(0)}
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(1) as pool:
        found["pool"] = pool.map(one, [0])[0]
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found["executor"] = next(pool.map(one, [0]))
    found["joblib"] = Parallel(2)(delayed(one)(i) for i in range(2))[0]
    get_reusable_executor().shutdown(wait=True)
    print(json.dumps(found))
"""

UNGUARDED = """
print("read")
try:
    print(fit(max_iter=2).n_iter)
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, **options
    )


def test_in_pools_it_computes_or_says_what_to_use(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(HEAD + POOLS)
    done = run(script)
    assert done.stderr == ""
    found = {name: answer for name, (answer, _) in json.loads(done.stdout).items()}
    assert found["executor"] == found["here"] > 0
    why = "RuntimeError: mode='processes' cannot start workers"
    assert found["pool"] == f"{why} {DAEMONIC} or mode='serial' there"
    assert found["joblib"] == (
        f"{why} inside a process that was started by 'loky', for instance by joblib; "
        "use mode='threads' or mode='serial' there"
    )
    # Those that refuse have made no block; those that computed have removed theirs. joblib sends
    # the function with what it knows of the first fit.
    blocks = {name: made for name, (_, made) in json.loads(done.stdout).items()}
    assert (len(blocks["pool"]), len(blocks["executor"])) == (0, 1)
    assert blocks["joblib"] == blocks["here"]
    assert all(is_gone(name) for made in blocks.values() for name in made)


def test_a_script_that_calls_without_a_guard_is_told_so_and_nothing_else_is_printed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(HEAD + UNGUARDED)
    done = run(script)
    assert done.stderr == ""
    *read, said = done.stdout.splitlines()
    assert set("".join(read).split("read")) == {""}  # two workers write at once
    assert said == (
        "WorkerDiedError: mode='processes' reads the main module again in each worker, and there "
        "it called kmeans again; call kmeans(mode='processes') below "
        "\"if __name__ == '__main__':\", or use mode='threads'"
    )


def test_a_script_on_standard_input_is_told_to_become_a_file():
    done = run("-", input=HEAD + UNGUARDED)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "read",
        "RuntimeError: mode='processes' reads the program again in each worker, and there is no "
        "file <stdin>; run it from a file, or use mode='threads'",
    ]


def test_code_on_the_command_line_needs_no_guard():
    done = run("-I", "-c", HEAD + UNGUARDED)
    assert (done.stdout, done.stderr) == ("read\n2\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that is in use")
def test_a_folder_that_is_gone_is_named_before_a_process_is_started(tmp_path, monkeypatch):
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    with pytest.raises(RuntimeError, match="in the current folder, which has been deleted; change"):
        fit()
    monkeypatch.chdir(tmp_path)
    assert fit(max_iter=1).n_iter == 1


def main_module(**attributes):
    return SimpleNamespace(**({"__spec__": None} | attributes))


@pytest.mark.parametrize("kind", ["none", "named", "frozen", "a file", "relative", "missing"])
def test_whether_the_main_module_can_be_read_again(kind, tmp_path, monkeypatch):
    missing = str(tmp_path / "missing.py")
    main = {
        "none": main_module(),
        "named": main_module(__file__=missing, __spec__=SimpleNamespace(name="script")),
        "frozen": main_module(__file__=missing),
        "a file": main_module(__file__=__file__),
        "relative": main_module(__file__=os.path.relpath(__file__)),
        "missing": main_module(__file__=missing),
    }[kind]
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(multiprocessing.process, "ORIGINAL_DIR", os.getcwd())
    if kind == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    if kind != "missing":
        refuse_where_workers_cannot_start()
        return
    with pytest.raises(RuntimeError, match=r"there is no file .*missing\.py; run it from a file"):
        refuse_where_workers_cannot_start()


def test_a_daemonic_process_starts_none_and_computes_otherwise(monkeypatch):
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    monkeypatch.setattr(processes, "ProcessCrew", None)  # nothing is begun
    with pytest.raises(RuntimeError, match=DAEMONIC):
        fit()
    assert_same_fit(fit(mode="threads"), fit(mode="serial", n_threads=None))


def test_a_child_that_still_reads_the_main_module_is_told_to_guard_it(monkeypatch):
    me = multiprocessing.current_process()
    monkeypatch.setattr(me, "_inheriting", True, raising=False)
    with pytest.raises(RuntimeError, match="reads the main module again; call kmeans"):
        fit()
    monkeypatch.setattr(me, "_name", "kmeans_lab worker 1")
    with pytest.raises(SystemExit, match="77"):
        fit()


def test_fits_in_threads_and_in_callbacks_start_workers_of_their_own(left_behind):
    expected, found = fit(mode="serial", n_threads=None), []

    def callback(seen):
        if seen.n_iter == 1:
            found.append(fit())

    thread = threading.Thread(target=lambda: found.append(fit(callback=callback)))
    thread.start()
    thread.join()
    assert len(found) == 2
    for it in found:
        assert_same_fit(it, expected)
    assert len(left_behind) == 2
