"""The contract of a kernel: everything that the rest of the package may ask of one.

A kernel is a *module* with two functions (PEP 544 lets a module satisfy a Protocol; there is
no base class). Kernels decide how the two steps of Lloyd's algorithm are computed; the driver
decides what is computed. Copy ``_py_kernel.py``, write your own loops, add a row to
``registry.py``: every test, benchmark and table picks it up.

Arrays, as the driver hands them over:

========  =========================  ===============================================
rows      (n_samples, n_features)    float32 or float64, C-contiguous, read-only
centers   (n_clusters, n_features)   dtype of rows, C-contiguous, read-only
labels    (n_samples,)               int32, each in 0 … n_clusters−1 once assigned
sums      (n_clusters, n_features)   float64
counts    (n_clusters,)              int64
========  =========================  ===============================================

The caller owns every array. Sums are added up in float64, whatever the dtype of the rows, and they
*add*: ``update(A); update(B)`` equals ``update(A ∪ B)``, so blocks, threads and processes all use
the same two functions. ``assign`` doubles as predict.

``Kernel`` is required. All other Protocols are optional, one for each further feature of a kernel
or of the rows that its ``prepare`` returns; each is there because a published benchmark shows that
it pays.

The driver moves the origin into the data. Where ``KernelSpec.centers`` says so, ``prepare`` and
``inertia`` are given X as it is and, where that is not zero, its ``middle`` (n_features,) as a last
argument, and subtract it in the dtype of X; for other kernels the driver subtracts it.
"""

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int32]
Sums: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]


class Kernel(Protocol):
    """The two functions that every kernel module has."""

    def assign(self, rows: Any, centers: Any, labels: Labels, /) -> float:
        """Overwrite labels with each row's nearest center (lowest index on a tie).

        Returns the sum of squared distances to the chosen centers.
        """

    def update(self, rows: Any, labels: Labels, sums: Sums, counts: Counts, /) -> None:
        """Add each row to the sum of its cluster and one to its count. Adds; never clears.

        The driver passes valid labels only. Compiled code, which could write out of bounds, raises
        ValueError for a label outside 0 … n_clusters−1, and adds nothing.
        """


# Optional features of a kernel module.


@runtime_checkable
class Prepares(Protocol):
    """Prepares rows in a form of its own: a transposed copy, row norms, bounds, a thread team."""

    def prepare(
        self, X: Any, n_clusters: int, n_threads: int, /, *middle: Any, **weights: Any
    ) -> Any:
        """Return what the other functions are given in place of X; once per chunk and fit.

        With ``KernelSpec.balls`` it also takes ``balls=False``: the rows are used once, and
        whatever pays only over several passes is left out. With ``KernelSpec.weights`` it takes
        ``weights``, (n_samples,) in float64: ``assign_update`` then adds w·x, each rounded once,
        and fills masses in float64 in place of counts.
        """


@runtime_checkable
class Fused(Protocol):
    """Both steps in one pass."""

    def assign_update(
        self, rows: Any, centers: Any, labels: Labels, sums: Sums, counts: Counts, /
    ) -> float:
        """Assign and update; ``labels`` holds the previous labels on entry (−1: none)."""


@runtime_checkable
class TellsInertia(Protocol):
    """Computes the final inertia of a fit: 10⁶ rows of two features in 1.1 ms, NumPy in 8.7."""

    def inertia(
        self, X: Any, centers: Any, labels: Labels, /, *middle: Any, **weights: Any
    ) -> float:
        """Sum squared distances to the chosen centers, from differences; X is not prepared.

        With ``KernelSpec.weights`` it takes ``weights``, (n_samples,) in float64 or None, each of
        which a distance is multiplied by, and ``n_threads``.
        """


@runtime_checkable
class LooksOnce(Protocol):
    """Labels rows that are not prepared, by threads of its own: 16 250 × 10 to 25 in 0.1 ms.

    Its ``assign`` takes such rows with ``n_threads`` as one more argument, and returns the inertia
    that ``TellsInertia.inertia`` gives.
    """

    def label_rows(
        self, X: Any, centers: Any, labels: Labels, n_threads: int, middle: Any = None, /
    ) -> int:
        """Overwrite labels; return how many near-ties direct differences have decided."""


@runtime_checkable
class CompiledAhead(Protocol):
    """Compiled when the package was built."""

    BUILD: str  # compiler and flags


@runtime_checkable
class PicksInstructions(Protocol):
    """Chooses among code for several instruction sets."""

    def isa(self) -> str:
        """Return the choice for the next fit; ValueError where KMEANS_LAB_ISA is not available."""


@runtime_checkable
class KeepsBinaries(Protocol):
    """Its compiled code is not the file of its module."""

    def binary(self) -> str:
        """Return the file that holds the code of the instruction set chosen."""


@runtime_checkable
class Seeds(Protocol):
    """Greedy k-means++ for every kernel: ``"seeding"`` in ``KernelSpec.provides``."""

    def greedy(
        self, X: Any, first: int, draws: Any, n_threads: int, middle: Any = None, /
    ) -> NDArray[np.int64]:
        """Return the rows that ``kmeans_lab.seeding.greedy_rows`` chooses."""


@runtime_checkable
class MeasuresRows(Protocol):
    """What is measured for all others: ``"measuring"`` in ``KernelSpec.provides``."""

    def distances(self, X: Any, centers: Any, out: Any, n_threads: int, /) -> None:
        """Overwrite out (n_samples, n_clusters), of the dtype of both, as ``transform`` says."""

    def divide_by_lengths(
        self, X: Any, within: float, lengths: Any, out: Any, n_threads: int, /
    ) -> None:
        """Overwrite lengths (n_samples,) and, unless it is None, out with rows of length 1.

        A length that differs from a power of two by no more than the share ``within`` is that
        power. Where squares leave the range of float64 it is 0, and the row is copied.
        """

    def largest(self, values: Any, n_threads: int, /) -> float:
        """Return the largest magnitude of an array; NaN where a value is not finite."""

    def moments(self, X: Any, n_threads: int, pivot: Any = None, /) -> NDArray[np.float64]:
        """Return (5, n_features), as ``kmeans_lab.numerics.moments.Moments`` says.

        Around ``pivot`` (n_features,), where there is one.
        """


class SumsOfBlocks(Protocol):
    """Exact sums and counts of rows that come in blocks, over and over."""

    def move(self, X: Any, middle: Any, weights: Any, before: Labels, after: Labels, /) -> int:
        """Move rows of X − middle whose labels differ from sum to sum; return how many do.

        Labels are −1 before a row has been to any cluster.
        """

    def read(self, sums: Sums, counts: Any, /) -> None:
        """Overwrite sums, each rounded once, and counts or, with weights, masses."""


class SumsThatJoin(SumsOfBlocks, Protocol):
    """Sums that add up with those of other blocks, in other processes and on other machines."""

    def parts(self) -> NDArray[np.int64]:
        """Return sums and counts as whole numbers: added, those of all blocks are all rows'."""

    def add(self, parts: NDArray[np.int64], /) -> None:
        """Add the parts of other blocks, of which the same most, least and n_samples are known."""


@runtime_checkable
class AddsBlocks(Protocol):
    """What is added up of rows that are read block by block: "blocks" in ``KernelSpec.provides``.

    Sums are those that the tuned kernels find in memory, whatever the blocks are.
    """

    def sums_of_blocks(
        self,
        wide: bool,
        most: Any,
        least: Any,
        n_samples: int,
        n_clusters: int,
        weighted: bool,
        n_threads: int,
        /,
    ) -> SumsThatJoin:
        """Return empty sums of rows of float64, where ``wide``, or float32.

        No magnitude of a column lies above ``most``, and none, zeros aside, below ``least``; with
        weights, those of their products, and of the weights as the last column.
        """

    def least(self, X: Any, n_threads: int, /) -> NDArray[np.float64]:
        """Return the smallest magnitude of each column, zeros aside; infinity if there is none."""

    def inertia_parts(
        self, X: Any, centers: Any, labels: Labels, middle: Any, weights: Any, n_threads: int, /
    ) -> NDArray[np.float64]:
        """Return numbers whose exact sum is what ``TellsInertia.inertia`` rounds."""


class SparseSumsThatJoin(Protocol):
    """``SumsThatJoin`` of sparse rows, which have neither a middle nor weights."""

    def move(self, rows: Any, before: Labels, after: Labels, /) -> int:
        """Move rows whose labels differ from sum to sum; return how many do."""

    def read(self, sums: Sums, counts: Counts, /) -> None:
        """Overwrite sums, each rounded once, and counts."""

    def parts(self) -> NDArray[np.int64]:
        """Return sums and counts as whole numbers: added, those of all blocks are all rows'."""

    def add(self, parts: NDArray[np.int64], /) -> None:
        """Add the parts of other blocks."""


@runtime_checkable
class AddsSparseBlocks(Protocol):
    """``AddsBlocks`` of a module for sparse rows: "sparse-blocks" in ``KernelSpec.provides``."""

    def sums_of_blocks(
        self,
        wide: bool,
        most: float,
        least: float,
        n_samples: int,
        n_features: int,
        n_clusters: int,
        /,
    ) -> SparseSumsThatJoin:
        """Return empty sums of rows of float64, where ``wide``, or float32.

        No magnitude lies above ``most``, and none, zeros aside, below ``least``.
        """

    def inertia_parts(self, X: Any, centers: Any, labels: Labels, /) -> NDArray[np.float64]:
        """Return numbers whose exact sum is what ``TellsInertia.inertia`` rounds."""


@runtime_checkable
class MeetsBatches(Protocol):
    """Sparse rows that are seen once: ``"batches"`` in ``KernelSpec.provides``.

    Centers (n_features, n_clusters) lie column by column, and their squared lengths beside them:
    added up in the order of the features, as all sums here are, one value after the other.
    """

    def assign_batch(self, rows: Any, centers: Any, squares: Any, labels: Any, /) -> float:
        """Overwrite labels with each row's nearest center; return the inertia."""

    def add_batch(self, rows: Any, labels: Any, sums: Any, mass: Any, /) -> None:
        """Add each row to its cluster's sum, and one to its mass.

        sums (n_features, n_clusters) and mass (n_clusters,) float64. Ctrl-C comes before or after.
        """

    def settle_columns(
        self, sums: Any, mass: Any, centers: Any, squares: Any, lengths: Any = None, /
    ) -> None:
        """Overwrite squares (n_clusters,) with those of the centers.

        Where there are sums, first overwrite the centers that have any mass with their means,
        divided by lengths.
        """

    def square_means(self, sums: Any, mass: Any, squares: Any, /) -> None:
        """Overwrite squares (n_clusters,) with those of means, as ``divide_by_lengths`` does."""

    def measure_own(self, rows: Any, centers: Any, squares: Any, labels: Any, out: Any, /) -> None:
        """Overwrite out (n_samples,) with the squared distance of each row to its own center."""

    def measure_batch(self, rows: Any, numbers: Any, out: Any, /) -> None:
        """Overwrite out (n_numbers, n_samples) with squared distances to rows of these numbers."""


@runtime_checkable
class MeasuresLimits(Protocol):
    """Loops that reach the machine's limits: ``"limits"`` in ``KernelSpec.provides``."""

    def multiply_add_float64(self, rounds: int, factor: float, /) -> float:
        """Do nothing but multiply-adds; return how many operations these were."""

    def multiply_add_float32(self, rounds: int, factor: float, /) -> float:
        """Do the same in float32."""

    def read_all(self, values: Any, /) -> float:
        """Read an array once, as fast as it can be; return the sum."""


# Optional features of the rows that ``prepare`` returns.


@runtime_checkable
class CountsChanged(Protocol):
    """Counts changed labels, so that a stop rule needs no copy of them."""

    @property
    def changed(self) -> int:
        """How many labels the last pass changed."""


@runtime_checkable
class CountsRescored(Protocol):
    """Decides near-ties again, by direct differences."""

    @property
    def rescored(self) -> int:
        """How many rows direct differences have decided since the rows were prepared."""


@runtime_checkable
class CountsMet(Protocol):
    """Skips centers that cannot be the nearest."""

    @property
    def met(self) -> float:
        """The share of all pairs of row and center that the last pass looked at."""


@runtime_checkable
class KeepsSums(CountsChanged, Protocol):
    """Keeps its sums and means from pass to pass, where nothing looks at the centers.

    Where rows are sparse, centers are much larger than what a late step changes of them, and a step
    costs what has changed. Where centers are small, arrays made in Python take 5 µs a step, and the
    whole pass of a small fit no more than that.
    """

    def follow(self, centers: Any, labels: Labels, counts: Counts, /) -> None:
        """Assign rows to centers or, where these are None, to the means of the last step.

        Overwrites labels and counts, which are masses where rows have weights. None may follow a
        step that left no cluster empty. Means are sums by counts, rounded to the dtype of the rows;
        where these were prepared with a middle, also to what the dtype holds of mean + middle.
        """

    def shift(self) -> tuple[float, float]:
        """Return bounds of the squared distance from the last step's centers to its means.

        Both are 0 only where no mean has changed.
        """

    def sums(self, out: Sums, before: bool, /) -> None:
        """Overwrite out with the sums of the last step, or of the step before it."""


@runtime_checkable
class SeedsRows(Protocol):
    """Greedy k-means++ on prepared rows, which saves a fifth of the time of a small fit."""

    def greedy(self, X: Any, first: int, draws: Any, /) -> NDArray[np.int64]:
        """Return the rows that ``kmeans_lab.seeding.greedy_rows`` chooses."""


@runtime_checkable
class Closes(Protocol):
    """Holds threads."""

    def close(self) -> None:
        """End the threads and wait for them. Called when a fit ends, however it ends."""


def read_only(array: Array) -> Array:
    """Return a view that cannot be written to: kernels never modify what they are given."""
    view = array.view()
    view.flags.writeable = False
    return view
