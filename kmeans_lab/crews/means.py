"""Centers of a loop: those of the last two steps, and how each follows from sums and counts.

``Arrays`` is the plain way. Where prepared rows keep their sums (``kernel.KeepsSums``), and nothing
looks at the centers, ``Kept`` leaves the means with them: arrays are made when somebody asks. Both
ways have the same results.
"""

from __future__ import annotations  # NumPy imports numpy.random when it is asked for

from math import inf
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.checks import Draws
from kmeans_lab.crews.base import Crew, Pass
from kmeans_lab.empty import fill_empty
from kmeans_lab.kernel import Array, read_only
from kmeans_lab.metric import Directions
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.stopping import Step


class Centers(Protocol):
    """What the loop asks of its centers."""

    @property
    def old(self) -> Array:
        """The centers that the rows were last assigned to."""

    def assign(self) -> Pass:
        """Assign the rows to the newest centers, and add them up: one pass."""

    def update(self, changed: int) -> Step:
        """Make the centers that follow; return the step, in which so many labels changed."""

    def finish(self) -> Array:
        """Return the newest centers, after labels match them."""


class MeansOfClusters:
    """Turns the sums and counts of a pass into centers; with directions, of length 1."""

    def __init__(
        self,
        crew: Crew,
        policy: str,
        middle: Array,
        draws: Draws,
        directions: Directions | None = None,
    ) -> None:
        self._crew, self._policy, self._draws = crew, policy, draws
        self._middle = middle if middle.any() else None
        self._rows_per_center = crew.counts[:, None]
        # Broadcast first: NumPy takes longer to divide by one number per center than to do both.
        # But where rows are sparse, one array more costs more than that.
        plain = directions is None and isinstance(crew.rows, SparseRows)
        self._divisors = self._rows_per_center if plain else np.empty_like(crew.sums)
        self._directions = directions

    def __call__(self, old: Array, new: Array) -> None:
        """Overwrite new with the means; the policy says where empty clusters go."""
        crew = self._crew
        if np.count_nonzero(crew.counts) < len(crew.counts):
            found = crew.sums, crew.counts, crew.rows, crew.labels
            fill_empty(self._policy, *found, old, self._draws(), crew.weights)
        if self._divisors is not self._rows_per_center:
            self._divisors[:] = self._rows_per_center
        if self._directions is not None:
            means = np.divide(crew.sums, self._divisors, out=self._divisors)
            self._directions.scale(means, old, new)
            return
        self.divide(crew.sums, self._divisors, new)

    def divide(self, sums: Array, counts: NDArray[Any], new: Array) -> None:
        """Overwrite new with the quotients, as they are rounded everywhere."""
        np.divide(sums, counts, out=new, casting="same_kind")
        if self._middle is not None:
            # Round to what the dtype holds in the coordinates of X, so that labels and inertia are
            # those of the centers returned: rounded only at the end, ties could fall differently.
            new += self._middle
            new -= self._middle


class Arrays:
    """Two arrays, which change places after each step."""

    def __init__(self, crew: Crew, start: Array, means: MeansOfClusters, variance: float) -> None:
        self._crew, self._means, self._variance = crew, means, variance
        self._n_samples = len(crew.rows)
        self.old, self._new = np.empty_like(start), start
        self._shown_old, self._shown = read_only(self.old), read_only(start)

    def assign(self) -> Pass:
        """Assign the rows to the newest centers, and add them up: one pass."""
        return self._crew.assign_update(self._shown)

    def update(self, changed: int) -> Step:
        """Overwrite the centers before the last with those that follow."""
        self.old, self._new = self._new, self.old
        self._shown_old, self._shown = self._shown, self._shown_old
        self._means(self.old, self._new)  # empty clusters are handled here and nowhere else
        return Step(self._shown_old, self._shown, self._variance, changed, self._n_samples)

    def go_on(self, new: Array) -> None:
        """Go on after the step from the centers so far, which rows are assigned to again."""
        self.assign()
        self.old, self._new = self._new, new
        self._shown_old, self._shown = read_only(self.old), read_only(new)

    def both(self) -> tuple[Array, Array]:
        """Return the centers of the last step, and those that follow."""
        return self.old, self._new

    def finish(self) -> Array:
        """Return the newest centers, after labels match them."""
        if not (self.old == self._new).all():
            self._crew.settle(self._shown)
        return self._new


class Kept:
    """Means that prepared rows keep: an array only where it was given, or a cluster is empty."""

    def __init__(self, crew: Crew, start: Array, means: MeansOfClusters, variance: float) -> None:
        self._crew, self._means, self._variance = crew, means, variance
        self._keeper: Any = crew.keeper
        self._n_samples, self._n_clusters = len(crew.rows), len(crew.counts)
        self._old: Array | None = None
        self._new: Array | None = start
        self._shape, self._dtype = start.shape, crew.rows.dtype
        self._counts = crew.counts.copy()
        self._free: list[Array] = []  # new pages of large arrays take longer than what fills them
        limits = np.finfo(self._dtype)
        self._unit = 64 * float(limits.eps)  # a sum by halves rounds a value once for each
        self._lost = crew.sums.size * float(limits.smallest_subnormal)  # squares that vanish
        self._most = float(limits.max)

    @property
    def old(self) -> Array:
        """The centers that the rows were last assigned to."""
        if self._old is None:
            self._old = self._array(self._counts, before=True)
        return self._old

    @property
    def new(self) -> Array:
        """The centers that follow."""
        return self._array(self._crew.counts, before=False) if self._new is None else self._new

    def _array(self, counts: NDArray[Any], *, before: bool) -> Array:
        made = self._room()
        sums = made if self._dtype == np.float64 else self._crew.sums
        self._keeper.sums(sums, before)
        self._means.divide(sums, counts[:, None], made)
        return made

    def _room(self) -> Array:
        return self._free.pop() if self._free else np.empty(self._shape, self._dtype)

    def assign(self) -> Pass:
        """Assign the rows to the newest centers, and add them up: one pass."""
        crew, given = self._crew, self._new
        self._counts[:] = crew.counts
        found = crew.step(None if given is None else read_only(given))
        if self._old is not None:
            self._free.append(self._old)
        self._old, self._new = given, None
        return found

    def update(self, changed: int) -> Step:
        """Leave the means where they are, unless a cluster is empty."""
        crew = self._crew
        if np.count_nonzero(crew.counts) == self._n_clusters:
            return KeptStep(self, self._variance, changed, self._n_samples)
        old = self.old
        self._keeper.sums(crew.sums, False)
        self._new = self._room()
        self._means(old, self._new)
        return Step(read_only(old), read_only(self._new), self._variance, changed, self._n_samples)

    def bounds(self) -> tuple[float, float]:
        """Return bounds of the squared movement that NumPy's sum of it lies between."""
        low, high = self._keeper.shift()
        if high == 0:
            return 0.0, 0.0
        low, high = low * (1 - self._unit) - self._lost, high * (1 + self._unit) + self._lost
        return (max(low, 0.0), high) if high < self._most else (0.0, inf)  # NumPy warns of it

    def finish(self) -> Array:
        """Return the newest centers, after labels match them."""
        newest, kept = self.new, self._new is None
        low, high = self.bounds() if kept else (0.0, 1.0)
        if low > 0 or (high > 0 and not (self.old == newest).all()):
            self._crew.step(None if kept else read_only(newest))
        return newest


class KeptStep(Step):
    """A step whose arrays are made when somebody looks at them."""

    __slots__ = ("_kept",)

    def __init__(self, kept: Kept, variance: float, changed: int, n_samples: int) -> None:
        self.variance, self.changed, self.n_samples = variance, changed, n_samples
        self._kept = kept

    def __getattr__(self, name: str) -> Array:  # called for what has not been set yet
        if name not in ("old", "new"):
            raise AttributeError(f"a step has no attribute {name!r}")
        self.old, self.new = read_only(self._kept.old), read_only(self._kept.new)
        return self.old if name == "old" else self.new

    def moved_within(self, limit: float) -> bool:
        """Return whether the squared movement of all centers together is no more than a limit."""
        low, high = self._kept.bounds()
        if low > limit or high <= limit:
            return high <= limit
        return super().moved_within(limit)
