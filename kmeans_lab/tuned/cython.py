"""The best that Cython can do by itself: lanes are rows, and the C compiler vectorises.

The code is ``cython.pxi``, compiled three times: for every processor, for AVX2 and for AVX-512.
This module picks the best one that the processor runs, or the one that ``KMEANS_LAB_ISA`` names;
``rows.py`` lets threads share the passes.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kmeans_lab.tuned.rows import (
    Team,
    TiledRows,
    assign_tiled,
    assign_update,
    check_inertia,
    checked_counts,
    update,
)

if TYPE_CHECKING:
    from kmeans_lab.kernel import Labels, Rows

__all__ = ["assign", "assign_update", "binary", "inertia", "isa", "prepare", "update"]

_NAMES = ("baseline", "avx2", "avx512")


def _load(name: str) -> Any:
    """Import the code compiled for an instruction set; ``None`` where it was not built."""
    module = f"{__name__}_{name}"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None


def _load_all() -> dict[str, Any]:
    """Import what the processor runs; the others refuse to be used."""
    baseline = _load("baseline")
    if baseline is None:
        raise ModuleNotFoundError("the tiled kernel was not compiled", name=__name__)
    modules = {"baseline": baseline} | {n: _load(n) for n in _NAMES[1 : baseline.LEVEL + 1]}
    return {name: module for name, module in modules.items() if module is not None}


_MODULES = _load_all()
_BEST = list(_MODULES)[-1]

#: Compiler and flags of the best instruction set.
BUILD: str = _MODULES[_BEST].BUILD


def isa() -> str:
    """Return the instruction set that the next fit will use."""
    forced = os.environ.get("KMEANS_LAB_ISA", "")
    if not forced:
        return _BEST
    if forced not in _NAMES:
        raise ValueError(
            f"KMEANS_LAB_ISA={forced} is not known; choose one of baseline, avx2, avx512"
        )
    if forced not in _MODULES:
        raise ValueError(
            f"KMEANS_LAB_ISA={forced} is not supported here; the most that this machine and build "
            f"run is {_BEST}: unset the variable or name that"
        )
    return forced


def binary() -> str:
    """Return the file that holds the compiled code of that instruction set."""
    return str(_MODULES[isa()].__file__)


class _Rows(TiledRows):
    def __init__(self, X: Rows, n_clusters: int, n_threads: int, again: bool) -> None:
        n_clusters, n_threads = checked_counts(X, n_clusters, n_threads)
        self.isa = isa()
        self._module = _MODULES[self.isa]
        super().__init__(self._module.Tiles(X, n_clusters, again), X, n_threads)

    def _make_team(self) -> Team:
        return Team(self, self._module.Bell())


# As in numba.py, where rows are of its kind; there, ``assign`` also says that it is compiled late.
def prepare(X: Rows, n_clusters: int, n_threads: int) -> TiledRows:
    """Look X through once; helpers start with the first pass that needs them."""
    return _Rows(X, n_clusters, n_threads, again=True)


def assign(rows: TiledRows | Rows, centers: Rows, labels: Labels) -> float:
    """Overwrite labels with each row's nearest center; return the inertia."""
    if not isinstance(rows, TiledRows):  # a single look needs neither sums nor balls
        rows = _Rows(rows, max(1, len(centers)), 1, again=False)
    return assign_tiled(rows, centers, labels)


def inertia(X: Rows, centers: Rows, labels: Labels) -> float:
    """Return the sum of squared distances to the chosen centers, exact until it is rounded."""
    check_inertia(X, centers, labels)
    return float(_MODULES[isa()].inertia(X, centers, labels))
