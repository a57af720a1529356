"""Counts that describe a kernel: lines of code, memory of a fit, instructions per pair."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_lab.measure.machinecode import CannotTell, scratch_folder
from kmeans_lab.registry import load_for, load_kernel, place_of, spec_for

_PATIENCE = 1200.0  # seconds: valgrind slows plain Python down a hundred times
_REPOSITORY = Path(__file__).parents[2]
#: What lies outside the package in a checkout is copied here in a wheel: see setup.py.
_CARRIED = _REPOSITORY / "kmeans_lab" / "_sources"


def sources_of(name: str, file: str | None = None, *, sparse: bool = False) -> dict[str, Path]:
    """Return the source files of a kernel, for arrays or sparse rows, by their names in a checkout.

    A kernel that is not ours is looked for where its module was imported from: ``file``, or by
    default where this process imports it.
    """
    spec = spec_for(name, sparse=sparse)
    if spec.sources:
        found = {
            place.relative_to(root).as_posix(): place
            for root in (_REPOSITORY, _CARRIED)
            for it in spec.sources
            for place in root.glob(it)
        }
        if not found and file:  # of another package that is not a checkout: beside its module
            beside = [Path(file).with_name(it.rpartition("/")[2]) for it in spec.sources]
            found = {place.name: place for place in beside if place.is_file()}
        return dict(sorted(found.items()))
    if file is None:
        file = getattr(load_for(name, sparse=sparse)[0], "__file__", None)
    module = Path(file or "")
    if module.suffix != ".py":
        return {}
    ours = module.is_relative_to(_REPOSITORY)
    return {module.relative_to(_REPOSITORY).as_posix() if ours else module.name: module}


def digest_of(name: str, file: str | None = None, *, sparse: bool = False) -> str | None:
    """Return a digest of a kernel's sources; None where there are none."""
    places = sources_of(name, file, sparse=sparse)
    found = sha256()
    for shown, place in places.items():
        found.update(shown.encode() + place.read_bytes())
    return found.hexdigest()[:16] if places else None


def lines_of_code(name: str, file: str | None = None) -> int:
    """Count the lines of a kernel's sources that are neither blank nor comment."""
    places = sources_of(name, file).values()
    if not places:
        raise CannotTell("its sources are not installed; run from a checkout")
    return sum(map(_count_lines, places))


def _count_lines(path: Path) -> int:
    text = path.read_text(encoding="utf-8", errors="replace")
    like_c = path.suffix in (".c", ".cpp", ".h", ".rs")
    comment = ("//", "/*", "* ") if like_c else "#"
    if not like_c:  # docstrings say something to people, not to the machine
        text = "".join(text.split('"""')[::2])
    lines = (line.strip() for line in text.splitlines())
    return sum(bool(line) and not line.startswith(comment) for line in lines)


_FIT = """
import ctypes
import sys
import numpy as np
from kmeans_lab import kmeans, load_kernel
from kmeans_lab.presets import find_preset
from kmeans_lab.registry import known_as

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

kernel, preset = known_as(sys.argv[1]), sys.argv[2]
workload = find_preset(preset).load()
X, k = workload.X, workload.preset.n_clusters
load_kernel(kernel)
kmeans(X[: max(64, k)], k, kernel=kernel, init="first", max_iter=1)  # compiles, where it does
if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
    libc.malloc_trim(0)  # what is freed and kept would be taken again without a trace
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak so far does not count
before = status("VmRSS")
kmeans(X, k, kernel=kernel, init=workload.centers, max_iter=2, stop="max-iter")
print(status("VmHWM") - before)
"""


def memory_of_a_fit(name: str, preset: str) -> int:
    """Return the bytes that a fit of two iterations takes beyond X, in a process of its own.

    To within a megabyte or so: Linux counts pages by processor and adds up only now and then.
    """
    if not sys.platform.startswith("linux"):
        raise CannotTell("only Linux tells the peak of a part of a process's life")
    return int(_child([sys.executable, "-c", _FIT, place_of(name), preset], {}))


_CALLS_ONLY = """
import sys
import numpy as np
from kmeans_lab.registry import known_as, load_kernel

kernel, data, times = load_kernel(known_as(sys.argv[1])), np.load(sys.argv[2]), int(sys.argv[3])
rows, centers, labels = data["rows"], data["centers"], np.empty(len(data["rows"]), np.int32)
if hasattr(kernel, "prepare"):
    rows = kernel.prepare(rows, len(centers), 1)
for _ in range(times):
    kernel.assign(rows, centers, labels)
"""


def instructions_per_pair(name: str, rows: Any, centers: Any, isa: str | None = None) -> float:
    """Return callgrind's count for each pair of row and center: five calls less one, by four.

    valgrind knows no AVX-512, so that kernels which would choose it take AVX2: ``isa`` is what this
    one chooses, and is asked of it in this process by default.
    """
    chosen = getattr(load_kernel(name), "isa", str)() if isa is None else isa
    environment = {"KMEANS_LAB_ISA": "avx2"} if chosen == "avx512" else {}
    with scratch_folder() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, rows=rows, centers=centers)
        counts = []
        for times in (1, 5):
            out = Path(folder) / f"callgrind.{times}"
            command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
            script = [sys.executable, "-c", _CALLS_ONLY, place_of(name), str(data), str(times)]
            try:
                _child([*command, *script], environment)
            except FileNotFoundError:
                raise CannotTell("there is no valgrind; install it") from None
            (total,) = [
                line for line in out.read_text().splitlines() if line.startswith("summary:")
            ] or [""]
            if not total:
                raise CannotTell("callgrind wrote no summary")
            counts.append(int(total.split()[1]))
    return (counts[1] - counts[0]) / 4 / (len(rows) * len(centers))


def _child(command: list[str], environment: dict[str, str]) -> str:
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | environment,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise CannotTell(f"the process that measures it took longer than {_PATIENCE:g} s") from None
    if run.returncode != 0:
        last = run.stderr.strip().splitlines()[-1:] or [f"exit status {run.returncode}"]
        raise CannotTell(f"the process that measures it failed: {last[0]}")
    return (run.stdout.splitlines() or [""])[-1]  # a kernel may print, too
