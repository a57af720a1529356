"""Results of a fit: what it found, its history, and the seconds of each phase."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.kernel import Array

PHASES = ("prepare", "init", "assign", "update", "finish")

_TABLE = "border-collapse: collapse; font-size: 0.9em; color: inherit; background: transparent"
_ROW = "background: transparent"
_CELL = "text-align: left; padding: 0.15em 1.2em 0.15em 0; color: inherit"
_NAME = f"{_CELL}; font-weight: normal; opacity: 0.7"


#: Names and values, a mapping for each line.
Lines = Sequence[Mapping[str, object]]


class Shown(ABC):
    """A result that shows what matters, instead of its arrays; a subclass says what that is."""

    __slots__ = ()

    @abstractmethod
    def _lines(self) -> Lines:
        """Return what is shown."""

    def __repr__(self) -> str:
        start = f"{type(self).__name__}("
        lines = [
            ", ".join(f"{k}={_text(v, repr)}" for k, v in line.items()) for line in self._lines()
        ]
        return start + f",\n{' ' * len(start)}".join(lines) + ")"

    def _repr_html_(self) -> str:
        """Return the same as a table, in the colours of the page around it."""
        from html import escape  # 3 ms, for notebooks alone

        rows = "".join(
            f'<tr style="{_ROW}"><th scope="row" style="{_NAME}">{escape(name)}</th>'
            f'<td style="{_CELL}">{escape(_text(value, str))}</td></tr>'
            for line in self._lines()
            for name, value in line.items()
        )
        title = (
            f'<caption style="{_CELL}; caption-side: top"><b>{type(self).__name__}</b></caption>'
        )
        return f'<table style="{_TABLE}">{title}<tbody>{rows}</tbody></table>'


def _text(value: Any, write: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(write(value))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Iteration(Shown):
    """One iteration, as the callback and the history see it.

    Instances are compared by identity; the repr has one line.

    Attributes
    ----------
    n_iter : int
        1 for the first.
    centers : ndarray of shape (n_clusters, n_features)
        The centers that the rows were assigned to.
    labels : ndarray of shape (n_samples,), int32, or None
        The assignment to these centers; None in the history, which would keep them all.
    inertia : float
        Sum of squared distances of the rows to these centers, or of 1 − cos, as the kernel
        returned it.
    changed : int
        Labels that differ from the previous iteration's; n_samples in the first.
    """

    n_iter: int
    centers: Array
    labels: NDArray[np.int32] | None
    inertia: float
    changed: int

    def _lines(self) -> Lines:
        n_clusters, n_features = self.centers.shape
        shape = {"n_clusters": n_clusters, "n_features": n_features}
        return [{"n_iter": self.n_iter, "inertia": self.inertia, "changed": self.changed} | shape]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class KMeansResult(Shown):
    """What a fit found and what it cost.

    Instances are compared by identity, not by their arrays; the repr has three lines.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        In the coordinates and dtype of X; with metric="cosine", of length 1.
    labels : ndarray of shape (n_samples,), int32
        Each row's nearest one of ``centers``.
    inertia : float
        Sum of squared distances of the rows to their centers, from direct differences; with
        metric="cosine", of 1 − cos.
    n_iter : int
        Iterations, each one assignment and one update. Where the loop ends before the centers stop
        moving, one more assignment makes the labels match; it counts in ``seconds["finish"]`` only.
    converged : bool
        The stop rule fired; False when max_iter or the callback ended the loop.
    stop : str
        What ended the loop: the rule's name, "max-iter" or "callback".
    seconds : dict of str to float
        Wall seconds in "prepare" (checks, centering, the kernel's prepare, starting workers),
        "init", "assign" (with "update" in it for fused kernels), "update" (means and the stop rule
        included), "finish". They add up to the whole call, all n_init repetitions included.
    kernel, mode : str
        The kernel and the mode that ran.
    n_threads : int
        Threads or processes that were allowed.
    rescored : int
        Near-ties that the kernel decided by direct differences, all repetitions included; 0 for
        kernels that compute nothing else.
    history : tuple of Iteration
        Of the best repetition; empty unless asked for.

    Examples
    --------
    >>> from kmeans_lab import kmeans
    >>> X = [[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]]
    >>> fits = [kmeans(X, k, kernel="numpy", random_state=0) for k in (1, 2, 3)]
    >>> fits[1]  # doctest: +ELLIPSIS
    KMeansResult(n_samples=4, n_features=2, n_clusters=2, dtype='float64',
                 kernel='numpy', mode='serial', n_threads=1, seconds=...,
                 n_iter=2, inertia=1, stop='shift', converged=True)
    >>> fits.index(min(fits, key=lambda fit: fit.inertia))
    2
    """

    centers: Array
    labels: NDArray[np.int32]
    inertia: float
    n_iter: int
    converged: bool
    stop: str
    seconds: dict[str, float]
    kernel: str
    mode: str
    n_threads: int
    rescored: int = 0
    history: tuple[Iteration, ...] = ()

    def _lines(self) -> Lines:
        n_clusters, n_features = self.centers.shape
        shape = {"n_samples": len(self.labels), "n_features": n_features, "n_clusters": n_clusters}
        ran = {"kernel": self.kernel, "mode": self.mode, "n_threads": self.n_threads}
        found = {"n_iter": self.n_iter, "inertia": self.inertia, "stop": self.stop}
        return [
            shape | {"dtype": str(self.centers.dtype)},
            ran | {"seconds": sum(self.seconds.values())},
            found | {"converged": self.converged},
        ]


class Stopwatch:
    """Wall seconds per phase; whatever passes between two laps belongs to one of them."""

    def __init__(self, phases: tuple[str, ...] = PHASES) -> None:
        self.seconds = dict.fromkeys(phases, 0.0)
        self._last = perf_counter()

    def lap(self, phase: str) -> None:
        """Add the time since the last lap to a phase."""
        now = perf_counter()
        self.seconds[phase] += now - self._last
        self._last = now

    def lap_step(self, assign: float, update: float) -> None:
        """Share the time since the last lap between assign and update as the workers spent it."""
        now = perf_counter()
        wall, self._last = now - self._last, now
        spent = assign + update
        part = wall * (assign / spent) if spent > 0 else wall
        self.seconds["assign"] += part
        self.seconds["update"] += wall - part
