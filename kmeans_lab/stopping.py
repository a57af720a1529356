"""When to stop: five rules, and ``max_iter`` on its own as the sixth.

A rule is a small object. The driver shows it every iteration's ``Step`` and asks ``fired``; when
no rule fires, ``max_iter`` ends the loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kmeans_lab import checks
from kmeans_lab.kernel import Array

_PIECE = 2**15  # values


@dataclass(slots=True, eq=False)  # not frozen: that would take twice as long to make, each time
class Step:
    """One iteration, as a stop rule sees it.

    Its arrays are read-only, and the loop overwrites them later: copy what you keep.
    """

    old: Array  # centers that the rows were assigned to
    new: Array  # centers that follow from that assignment
    variance: float  # mean over the features of the variance of X
    changed: int  # labels that differ from the previous pass; −1 unless needs_changed
    n_samples: int

    def squared_shift(self) -> float:
        """Sum over all centers of their squared movement."""
        return float(_squared_distance(self.new.ravel(), self.old.ravel()))

    def moved_within(self, limit: float) -> bool:
        """Return whether the squared movement of all centers together is no more than a limit."""
        return self.squared_shift() <= limit


def _squared_distance(a: Array, b: Array) -> np.floating[Any]:
    """Return Σ(a − b)², added up as NumPy adds up the whole array: half by half.

    In pieces that stay in the cache, since centers of sparse rows are large. No dot product: BLAS
    adds in an order that depends on the processor.
    """
    if len(a) > _PIECE:
        half = len(a) // 2 - len(a) // 2 % 8
        return _squared_distance(a[:half], b[:half]) + _squared_distance(a[half:], b[half:])
    moved = a - b
    total: np.floating[Any] = np.add.reduce(np.multiply(moved, moved, out=moved))
    return total


class StopRule(Protocol):
    """The interface of a rule: its name, whether it needs ``Step.changed``, and its decision.

    A rule with an attribute ``needs_centers`` that is False seldom looks at the centers of a step
    but through ``moved_within``: arrays of them are made when it does.
    """

    @property
    def name(self) -> str:
        """The value of ``KMeansResult.stop`` when the rule has fired."""

    @property
    def needs_changed(self) -> bool:
        """Whether the driver has to count changed labels for this rule."""

    def fired(self, step: Step) -> bool:
        """Return True when the loop should end after this step."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Squared shift ≤ tol · mean variance: scikit-learn's scale. tol = 0: no center moved."""

    tol: float = 1e-4
    name: str = "shift"
    needs_changed: bool = False
    needs_centers: bool = False

    def fired(self, step: Step) -> bool:
        """Return True when the centers moved little against the spread of the data."""
        return step.moved_within(float(self.tol) * step.variance)


@dataclass(frozen=True, slots=True)
class ShiftNorm:
    """Frobenius norm of the shift ≤ tol, in the units of X."""

    tol: float = 1e-4
    name: str = "shift-norm"
    needs_changed: bool = False
    needs_centers: bool = False

    def fired(self, step: Step) -> bool:
        """Return True when the centers moved little in absolute terms."""
        return step.moved_within(float(self.tol) ** 2)


@dataclass(frozen=True, slots=True)
class AllClose:
    """``numpy.allclose(old, new, rtol=tol, atol=1e-8)``, on centers relative to X's own middle."""

    tol: float = 1e-5
    name: str = "allclose"
    needs_changed: bool = False

    def fired(self, step: Step) -> bool:
        """Return True when every coordinate is close."""
        return bool(np.allclose(step.old, step.new, rtol=float(self.tol), atol=1e-8))


@dataclass(frozen=True, slots=True)
class Equal:
    """Exactly equal centers."""

    name: str = "equal"
    needs_changed: bool = False

    def fired(self, step: Step) -> bool:
        """Return True when no coordinate changed."""
        return bool(np.array_equal(step.old, step.new))


@dataclass(frozen=True, slots=True)
class LabelsChanged:
    """At most ``tol`` labels changed: a number of rows, or below 1 a fraction of them."""

    tol: float = 0.01
    name: str = "labels"
    needs_changed: bool = True
    needs_centers: bool = False

    def fired(self, step: Step) -> bool:
        """Return True when few rows changed cluster."""
        if self.tol >= 1:
            return step.changed <= self.tol
        from fractions import Fraction  # imported here, as it imports decimal and random

        # As written: in binary 0.29 · 100 is 28.999999999999996, and 29 rows are meant.
        return step.changed <= int(Fraction(str(float(self.tol))) * step.n_samples)


@dataclass(frozen=True, slots=True)
class MaxIterOnly:
    """Never: run ``max_iter`` iterations, a fixed point or not."""

    name: str = "max-iter"
    needs_changed: bool = False
    needs_centers: bool = False

    def fired(self, step: Step) -> bool:
        """Return False."""
        return False


STOP_RULES: dict[str, Callable[..., StopRule]] = {
    "shift": Shift,
    "shift-norm": ShiftNorm,
    "allclose": AllClose,
    "equal": Equal,
    "labels": LabelsChanged,
    "max-iter": MaxIterOnly,
}
_WITHOUT_TOL = ("equal", "max-iter")


def make_rule(stop: str | StopRule, tol: float | None) -> StopRule:
    """Turn ``kmeans``'s stop and tol into a rule; ``ValueError`` when they do not go together."""
    if not isinstance(stop, str):
        if not callable(getattr(stop, "fired", None)):
            raise TypeError(f"stop={stop!r} must be a name or an object with a method fired(step)")
        if tol is not None:
            raise ValueError(f"tol={tol} has no meaning beside a stop object; set it on the object")
        return stop
    if stop not in STOP_RULES:
        raise ValueError(f"stop={stop!r} is not known; choose one of {', '.join(STOP_RULES)}")
    if tol is None:
        return STOP_RULES[stop]()
    number = checks.real(tol)  # a product with a float16 would round differently
    if number is None or not 0 <= number < float("inf"):
        raise ValueError(f"tol={tol!r} must be a number ≥ 0; use tol=0 for 'did not move'")
    if stop in _WITHOUT_TOL:
        raise ValueError(f"tol={tol} has no meaning with stop={stop!r}; leave tol out")
    return STOP_RULES[stop](tol=number)
