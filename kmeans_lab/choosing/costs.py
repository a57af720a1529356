"""Everything about a kernel that is not its speed: what ``kmeans-lab overhead`` measures."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kmeans_lab.choosing import calls
from kmeans_lab.choosing.footprint import binary_bytes, installed_bytes
from kmeans_lab.isolation.children import ChildError
from kmeans_lab.isolation.kernel_child import KernelChild
from kmeans_lab.measure.calibration import start_costs
from kmeans_lab.measure.counts import lines_of_code
from kmeans_lab.measure.machinecode import CannotTell
from kmeans_lab.measure.statistics import CONFIDENCE, Interval, corrected
from kmeans_lab.registry import find_spec

#: Features of the rows of a first fit.
_N_FEATURES = 10


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of one kernel; None where something does not apply or cannot be told.

    Attributes
    ----------
    kernel : str
    state : {"ready", "unavailable", "broken"}
        Only "ready" has costs.
    why : str
        What is wrong, where something is.
    threading : {"gil", "nogil", "own"}
        See ``KernelSpec``.
    debugging, wheels : str
        What a debugger shows of it, and for which platforms a user gets it without a compiler.
    call : Interval or None
        Seconds of one call that does nothing.
    times_empty : Interval or None
        The same, in calls of a Python function that does nothing.
    imports : float or None
        Seconds of importing its module and what that needs beyond kmeans_lab.
    compiles : float or None
        Seconds of compiling on the first call, where nothing is cached.
    builds : float or None
        Seconds of the compiler when it was installed.
    lines : int or None
        Lines of source that are neither blank nor comment.
    binary : int or None
        Bytes of its compiled files.
    packages : int or None
        Bytes of the packages that it needs beyond NumPy and kmeans_lab.
    """

    kernel: str
    state: str
    why: str
    threading: str
    debugging: str
    wheels: str
    call: Interval | None = None
    times_empty: Interval | None = None
    imports: float | None = None
    compiles: float | None = None
    builds: float | None = None
    lines: int | None = None
    binary: int | None = None
    packages: int | None = None


def measure(
    kernels: Sequence[str],
    n_rounds: int = calls.ROUNDS,
    seed: int = 0,
    watch: Callable[[str, int, int], Any] = lambda name, done, total: None,
) -> list[Costs]:
    """Measure what each kernel costs beside its speed; parameters as ``calls.measure``."""
    found = calls.measure(kernels, n_rounds, seed, watch)
    confidence = corrected(CONFIDENCE, sum(it.state == "ready" for it in found))
    return [_of(it, confidence) for it in found]


def _of(it: calls.Calls, confidence: float) -> Costs:
    spec = find_spec(it.kernel)
    stated = (spec.threading, spec.debugging, spec.wheels)
    if it.state != "ready":
        return Costs(it.kernel, it.state, it.why, *stated)
    start = start_costs(it.kernel, "float64", _N_FEATURES)
    binary = lines = packages = None
    with suppress(ChildError), KernelChild(it.kernel) as child:
        child.describe()
        told = child.ask(_counted, child.name)
        binary, lines, packages = child.checked(_three, told)
    return Costs(
        it.kernel,
        it.state,
        it.why,
        *stated,
        call=it.interval(confidence),
        times_empty=it.times_empty(confidence),
        imports=start and start["import"],
        compiles=start and start["compile"],
        builds=start and start["build"],
        lines=lines,
        binary=binary,
        packages=packages,
    )


def _three(answer: Any) -> tuple[int | None, int | None, int | None]:
    binary, lines, packages = (None if it is None else int(it) for it in answer)
    return binary, lines, packages


def _counted(name: str) -> tuple[int | None, int | None, int | None]:
    """Count bytes and lines in the kernel's own process, which has imported it."""
    spec = find_spec(name)
    lines = packages = None
    with suppress(CannotTell):
        lines = lines_of_code(name)
    with suppress(CannotTell):
        packages = installed_bytes(spec.requires)
    return binary_bytes(name, spec), lines, packages
