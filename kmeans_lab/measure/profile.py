"""Profiles of a fit: the driver's phases, and for Python-level kernels their functions.

The phases are measured without a profiler and add up to the whole fit. cProfile slows what it
watches, function by function, so its seconds are shown as shares only; it sees nothing inside
compiled code, and such kernels are not run under it.
"""

import cProfile
import pstats
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from random import Random
from typing import Any

from kmeans_lab.driver import kmeans
from kmeans_lab.isolation.children import PATIENCE
from kmeans_lab.measure.timed import LATE, TimedChild, Trial, exponents
from kmeans_lab.presets import FitSettings, Workload
from kmeans_lab.registry import find_spec, load_kernel

MOST = 8  # functions that are shown


@dataclass(frozen=True, slots=True)
class Function:
    """A function as cProfile saw it; shares are of the whole fit.

    Attributes
    ----------
    name, where : str
        What it is called, and its file and line.
    calls : int
    own, whole : float
        Share of the time spent in it, without and with what it called.
    """

    name: str
    where: str
    calls: int
    own: float
    whole: float


@dataclass(frozen=True, slots=True)
class Profile:
    """One fit.

    Attributes
    ----------
    kernel, preset : str
    n_iter : int
    seconds : float
        Wall time of the fit without a profiler.
    phases : dict of str to float
        The driver's seconds; they add up to the whole, but for the microseconds of the call.
    functions : list of Function
        Those with the most time of their own; empty for compiled kernels.
    reason : str
        Why there are none.
    """

    kernel: str
    preset: str
    n_iter: int
    seconds: float
    phases: dict[str, float]
    functions: list[Function]
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Return it as plain JSON types."""
        return asdict(self)


def profile(name: str, workload: Workload, preset: str) -> Profile:
    """Fit once under the judge, once against the clock and, where it helps, once under cProfile.

    All that is run in a process of its own.

    Raises
    ------
    CertificateError
        The fit gives a wrong result.
    ChildError
        The kernel raises, or ends its process.
    """
    X, k = workload.X, workload.preset.n_clusters
    settings = workload.settings()
    with TimedChild(name) as child:
        file = child.describe(sparse=workload.preset.sparse)["file"]
        child.patience = max(PATIENCE, LATE * child.seconds_of_assign(workload))
        trial = Trial(child, X, k, settings)
        trial.prove()
        result, seconds, _ = trial.fit(*exponents(1, X.dtype.name, Random()))
        functions, reason = [], ""
        if is_python(name, file):
            child.patience *= LATE  # cProfile slows it down
            told = child.ask(_watched, name, X, k, settings)
            functions = child.checked(lambda: [Function(*map(_plain, it)) for it in told])
        else:
            reason = (
                "compiled code: cProfile would see one call of it per step; explain looks inside"
            )
    return Profile(name, preset, result.n_iter, seconds, result.seconds, functions, reason)


def is_python(name: str, file: str | None = None) -> bool:
    """Whether a kernel is a Python file that is interpreted as it stands."""
    spec = find_spec(name)
    if file is None:
        file = str(getattr(load_kernel(name), "__file__", "") or "")
    return file.endswith(".py") and not spec.compiles_on_first_call and spec.threading != "own"


def _plain(value: Any) -> Any:
    if type(value) not in (str, int, float):
        raise TypeError(f"{value!r} is neither text nor a number")
    return value


def _watched(name: str, X: Any, n_clusters: int, settings: FitSettings) -> list[Any]:
    """Fit under cProfile, in the child."""
    watcher = cProfile.Profile()
    watcher.runcall(kmeans, X, n_clusters, kernel=name, **settings)
    return [astuple(it) for it in _functions(watcher)]


def _functions(watcher: cProfile.Profile) -> list[Function]:
    stats: dict[Any, Any] = pstats.Stats(watcher).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    found = [
        Function(name, _where(file, line), calls, own / total, whole / total)
        for (file, line, name), (_, calls, own, whole, _) in stats.items()
    ]
    return sorted(found, key=lambda it: -it.own)[:MOST]


def _where(file: str, line: int) -> str:
    return "" if file == "~" else f"{Path(file).name}:{line}"
