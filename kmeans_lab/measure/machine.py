"""The machine card: a description of the machine and software behind a measurement."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy

from kmeans_lab.crews.lock import may_run_without
from kmeans_lab.formatting import plural
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.isolation.hardware import hardware as hardware
from kmeans_lab.isolation.pools import pools
from kmeans_lab.kernel import CompiledAhead, Kernel, PicksInstructions
from kmeans_lab.measure.schema import Card, InterpreterRecord
from kmeans_lab.registry import KERNELS, load_kernel


def builds() -> dict[str, str]:
    """Return compiler and flags of each kernel that was compiled ahead of time."""
    return {name: it.BUILD for name, it in _ready().items() if isinstance(it, CompiledAhead)}


def instruction_sets() -> dict[str, str]:
    """Return what each kernel that picks an instruction set has picked."""
    return {name: it.isa() for name, it in _ready().items() if isinstance(it, PicksInstructions)}


def _ready() -> dict[str, Kernel]:
    return {name: load_kernel(name) for name in KERNELS if state_of(name)[0] == "ready"}


def numba_target() -> str | None:
    """Return the processor that Numba compiles for; None where it is not loaded."""
    if "numba" not in sys.modules:
        return None
    from llvmlite import binding
    from numba import config

    here = str(binding.get_host_cpu_name())
    name, features = (getattr(config, it, None) for it in ("CPU_NAME", "CPU_FEATURES"))
    if features is None:  # then those of this processor, whatever the name
        features = f"the features of {here}" if name not in (None, here) else ""
    return f"{name or here}{f' with {features}' if features else ''}"


def card() -> Card:
    """Return the whole card as plain JSON types."""
    return {
        **hardware(),
        "load_average": list(os.getloadavg()),
        "python": platform.python_version() + " free-threaded" * may_run_without(),
        "numpy": numpy.__version__,
        "numba": _version("numba"),
        "builds": builds(),
        "instruction_sets": instruction_sets(),
        "numba_target": numba_target(),
        "pools": pools(),
        "commit": commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the checkout's commit, with "-dirty" where files differ; None outside a checkout."""
    here = Path(__file__).parent.parent.parent
    if not (here / ".git").exists():  # installed, if inside somebody else's repository
        return None
    git = ("git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12")
    try:
        run = subprocess.run(git, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git here
        return None
    return run.stdout.strip() or None


def lines(it: Card | None = None) -> list[str]:
    """Return a card, by default this machine's, as the few lines that every table carries."""
    it = card() if it is None else it
    blas = ", ".join(
        f"{p['internal_api']} {p.get('version', '')} ({p.get('architecture', '?')}, "
        f"{plural(p['num_threads'], 'thread')})"
        for p in it["pools"]
    )
    target = f" for {it['numba_target']}" if it.get("numba_target") else ""
    return [
        f"{it['cpu']}, {it['affinity'] or it['cores']} cores, {it['system']}, "
        f"load {it['load_average'][0]:.2f}",
        *([f"kmeans_lab {it['commit']}"] if it.get("commit") else []),
        f"Python {it['python']}, NumPy {it['numpy']} with {blas or 'no thread pool'}, "
        f"Numba {it['numba'] or 'not installed'}{target}",
        *instruction_set_lines(it.get("instruction_sets", {})),
        "; ".join(f"{name}: {build}" for name, build in it["builds"].items()),
    ]


def instruction_set_lines(chosen: dict[str, str]) -> list[str]:
    """Return one line with the instruction sets that kernels picked; none where none picks."""
    kernels: dict[str, list[str]] = {}
    for name, isa in chosen.items():
        kernels.setdefault(isa, []).append(name)
    told = ", ".join(f"{isa} ({', '.join(names)})" for isa, names in kernels.items())
    return [f"instruction set: {told}"] if told else []


def interpreter_lines(found: Sequence[InterpreterRecord]) -> list[str]:
    """Return a line about each interpreter of a run, where there are several."""
    if len(found) < 2:
        return []
    return [f"{place_of(it['name'])}: {_interpreter(it)}" for it in found]


def place_of(interpreter: str | None) -> str:
    """Return how tables call an interpreter: the command's own is "here"."""
    return f"@{interpreter}" if interpreter else "here"


def _interpreter(it: InterpreterRecord) -> str:
    version = f"Python {it['version']}, NumPy {it['numpy']}, the same sources of kmeans_lab"
    if not it["free_threaded"]:
        return f"{version}, with the lock"
    if not it["locked"]:
        return f"{version}, without the lock" if it["free"] else version
    return f"{version}; the lock was turned on in the processes of {', '.join(it['locked'])}"
