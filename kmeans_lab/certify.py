"""The certificate: no number is published for a kernel whose result was not proved right.

Two checks belong together. ``certify_fit`` watches one whole fit, outside any clock: at every
iteration each label is judged against a direct computation of the distances, each center against
the mean of its rows, the inertia against a direct sum; the input's bytes are compared and the
kernel is caught if another one's code computes. Fits are bit-identical from run to run, so every
*timed* round is then compared with the certified result bit for bit: ``Certificate.recheck``.

A differing label counts as a tie only where the two distances differ by less than the rounding
bound of the dtype; ties are counted, never hidden. All comparisons are written as "within", so
that NaN fails them.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.centering import middle_and_variance
from kmeans_lab.driver import kmeans
from kmeans_lab.empty import fill_empty
from kmeans_lab.foreign import find_foreign_code
from kmeans_lab.kernel import Labels
from kmeans_lab.registry import find_spec, load_kernel
from kmeans_lab.result import Iteration, KMeansResult

Array = NDArray[np.floating[Any]]

_BLOCK_VALUES = 2**18
_SMALL_ROWS = 256  # enough to see whose code runs


class CertificateError(AssertionError):
    """A result that must not be given a number; the message says what is wrong with it."""


def fingerprint(*arrays: Array) -> str:
    """Return a hash of the arrays' bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Elsewhere(Protocol):
    """A process that runs fits of one kernel: see ``kmeans_lab.kernel_child``."""

    def fit(self, X: Array, n_clusters: int, **settings: Any) -> KMeansResult:
        """Run ``kmeans`` there; a callback among the settings is called here."""

    def foreign_code(self, X: Array) -> str | None:
        """Return whose code runs in the kernel's steps in place of its own, or None."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A fit that was proved right, and what later fits are compared with.

    Attributes
    ----------
    result : KMeansResult
        The certified fit.
    ties : int
        Labels, over all iterations, that differ from the direct computation within rounding.
    inputs : str
        Hash of X.
    """

    result: KMeansResult
    ties: int
    inputs: str

    def recheck(self, result: KMeansResult, X: Array) -> None:
        """Raise ``CertificateError`` unless this result equals the certified one bit for bit."""
        certified = self.result
        _require(
            result.kernel == certified.kernel,
            f"kernel {result.kernel!r} ran in place of {certified.kernel!r}",
        )
        _require(
            result.n_iter == certified.n_iter,
            f"{result.n_iter} iterations in place of {certified.n_iter}",
        )
        _require(
            np.array_equal(result.labels, certified.labels),
            "the labels differ from the certified fit's in "
            f"{_differing(result.labels, certified.labels)} rows",
        )
        _require(
            np.array_equal(result.centers, certified.centers),
            "the centers differ from the certified fit's in "
            f"{_differing(result.centers, certified.centers)} coordinates",
        )
        _require(
            result.inertia == certified.inertia,
            f"the inertia differs from the certified fit's: {result.inertia!r} in place of "
            f"{certified.inertia!r}",
        )
        _require(fingerprint(X) == self.inputs, "X was modified")


def _differing(found: NDArray[Any], certified: NDArray[Any]) -> int:
    return int(np.count_nonzero(found != certified))


def in_words(ties: int) -> str:
    """Return what tables say of something that was proved right."""
    return f"valid, {ties} tie{'s' * (ties != 1)}" if ties else "valid"


def certify_fit(
    X: Array,
    n_clusters: int,
    settings: dict[str, Any],
    name: str,
    *,
    n_iter: int | None = None,
    child: Elsewhere | None = None,
) -> Certificate:
    """Run one watched fit and return its certificate.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
    n_clusters : int
    settings : dict
        Keyword arguments of ``kmeans``.
    name : str
        A kernel of the registry.
    n_iter : int, optional
        How many iterations the fit must take.
    child : KernelChild, optional
        A process that runs the fit; by default this one does.

    Raises
    ------
    CertificateError
        Something is wrong; the message says at which iteration and what.
    """
    if child is None:
        fit: Callable[..., KMeansResult] = partial(kmeans, kernel=name)
        foreign = find_foreign_code(load_kernel(name), find_spec(name), X[:_SMALL_ROWS])
    else:
        fit, foreign = child.fit, child.foreign_code(X[:_SMALL_ROWS])
    _require(foreign is None, f"code of {foreign} ran in place of {find_spec(name).module}")
    judge = _Judge(X, settings.get("empty", "relocate"))
    result = fit(X, n_clusters, callback=judge, **settings)
    if n_iter is not None:
        _require(result.n_iter == n_iter, f"{result.n_iter} iterations in place of {n_iter}")
    judge.check_end(result)
    return Certificate(result, judge.ties, judge.inputs)


def certify_assign(X: Array, centers: Array, labels: Labels, inertia: float) -> int:
    """Judge the labels and inertia of one assignment of X; return the number of ties."""
    ties = _check_labels(X, centers, labels, 0.0)
    _check_inertia(X, centers, labels, inertia, "assign")
    return ties


def certify_some(X: Array, result: KMeansResult, rows: NDArray[np.intp]) -> int:
    """Judge the labels that a fit gave some rows of X; return the number of ties."""
    middle = middle_and_variance(X)[0]
    moved = float(np.finfo(X.dtype).eps * np.abs(result.centers).max())
    return _check_labels(X[rows] - middle, result.centers - middle, result.labels[rows], moved)


def certify_update(X: Array, labels: Labels, sums: Array, counts: NDArray[np.int64]) -> None:
    """Judge the sums and counts that one update of X added to zero."""
    expected, sizes, weight = _direct_sums(X, labels, len(counts))
    for j in np.flatnonzero(counts != sizes)[:1]:
        raise CertificateError(
            f"the counts are not the sizes of the clusters: that of cluster {j} is {counts[j]} and "
            f"it owns {sizes[j]} rows"
        )
    bound = (sizes[:, None] + 8) * np.finfo(np.float64).eps * weight
    for j, f in _beyond(sums - expected, bound):
        raise CertificateError(
            f"the sums are not those of the clusters: that of cluster {j}, feature {f}, is "
            f"{sums[j, f]:.17g} and its {sizes[j]} rows sum to {expected[j, f]:.17g}, which is "
            f"{abs(sums[j, f] - expected[j, f]):.2g} apart where rounding in float64 explains "
            f"{bound[j, f]:.2g}: add in float64"
        )


@dataclass(eq=False)
class _Judge:
    """A callback that judges every iteration of a fit."""

    X: Array
    empty: str
    ties: int = 0
    repetitions: int = 0
    expected: Array | None = None
    tolerance: Array | float = 0.0
    inputs: str = field(init=False)
    middle: Array = field(init=False)
    rows: Array = field(init=False)

    def __post_init__(self) -> None:
        self.inputs = fingerprint(self.X)
        self.middle = middle_and_variance(self.X)[0]
        self.rows = self.X - self.middle

    def __call__(self, step: Iteration) -> bool:
        """Judge the labels, the inertia and where the centers came from."""
        assert step.labels is not None  # a callback is always given the labels
        try:
            if step.n_iter == 1:  # a repetition starts anew
                self.repetitions += 1
                self.expected = None
            self._judge(step.centers, step.labels, step.inertia)
            self._expect_next(step.centers, step.labels)
        except CertificateError as error:
            raise CertificateError(f"iteration {step.n_iter}: {error}") from None
        return False

    def check_end(self, result: KMeansResult) -> None:
        """Judge what was returned; of several repetitions it need not be the last."""
        if self.repetitions > 1:
            self.expected = None
        try:
            self._judge(result.centers, result.labels, result.inertia)
        except CertificateError as error:
            raise CertificateError(f"result: {error}") from None

    def _judge(self, centers: Array, labels: Labels, inertia: float) -> None:
        _require(fingerprint(self.X) == self.inputs, "X was modified")
        shifted = centers - self.middle
        if self.expected is not None:
            tolerance = np.broadcast_to(self.tolerance, shifted.shape)
            for j, f in _beyond(shifted - self.expected, tolerance):
                raise CertificateError(
                    f"the centers are not the means of their rows: center {j}, feature {f}, is "
                    f"{centers[j, f]:.9g} and the mean of its rows lies "
                    f"{abs(shifted[j, f] - self.expected[j, f]):.2g} from it where rounding "
                    f"explains {tolerance[j, f]:.2g}"
                )
        moved = float(np.finfo(self.X.dtype).eps * np.abs(centers).max())
        self.ties += _check_labels(self.rows, shifted, labels, moved)
        _check_inertia(self.rows, shifted, labels, inertia, "the fit")

    def _expect_next(self, centers: Array, labels: Labels) -> None:
        sums, counts, weight = _direct_sums(self.rows, labels, len(centers))
        sizes = counts.copy()
        if not counts.all():
            if self.empty == "random":
                self.expected = None
                return
            rng = np.random.default_rng(0)  # no other policy draws
            fill_empty(self.empty, sums, counts, self.rows, labels, centers - self.middle, rng)
        self.expected = sums / counts[:, None]
        eps = np.finfo(self.X.dtype).eps
        # Adding n numbers in any order, dividing, rounding to the dtype, adding the middle.
        self.tolerance = (sizes[:, None] + 8) * np.finfo(np.float64).eps * (
            weight / counts[:, None]
        ) + 4 * eps * (np.abs(self.expected) + np.abs(self.middle))


def _check_labels(rows: Array, centers: Array, labels: Labels, moved: float) -> int:
    """Return how many labels are ties; raise when one is farther than rounding explains."""
    n_clusters = len(centers)
    outside = np.flatnonzero((labels < 0) | (labels >= n_clusters))
    _require(
        len(outside) == 0,
        f"{len(outside)} labels are outside 0 … {n_clusters - 1}, the first in row "
        f"{outside[0] if len(outside) else 0}",
    )
    eps = float(np.finfo(rows.dtype).eps)
    wide = centers.astype(np.float64)
    squares = np.einsum("jf,jf->j", wide, wide)
    block = max(1, _BLOCK_VALUES // max(n_clusters, rows.shape[1]))
    ties = 0
    for first in range(0, len(rows), block):
        points = rows[first : first + block].astype(np.float64)
        chosen = labels[first : first + block]
        nearest = (squares - 2.0 * (points @ wide.T)).argmin(axis=1)
        differs = np.flatnonzero(nearest != chosen)
        x = points[differs]
        excess = _distances(x, wide[chosen[differs]]) - _distances(x, wide[nearest[differs]])
        reach = np.sqrt(_distances(x, np.zeros_like(x))) + np.sqrt(squares.max())
        bound = (rows.shape[1] + 8) * eps * reach**2 + 4 * moved * reach * rows.shape[1] ** 0.5
        wrong = np.flatnonzero(~(excess <= bound))
        for i in wrong[:1]:
            raise CertificateError(
                f"row {first + differs[i]} is not given its nearest center: {chosen[differs[i]]} "
                f"is farther than {nearest[differs[i]]} by {excess[i]:.3g}, squared, where "
                f"rounding explains {bound[i]:.2g} ({len(wrong)} rows of this block)"
            )
        ties += len(differs)
    return ties


def _check_inertia(rows: Array, centers: Array, labels: Labels, inertia: float, who: str) -> None:
    wide = centers.astype(np.float64)
    block = max(1, _BLOCK_VALUES // rows.shape[1])
    direct = scale = 0.0
    for first in range(0, len(rows), block):
        points = rows[first : first + block].astype(np.float64)
        chosen = wide[labels[first : first + block]]
        direct += float(_distances(points, chosen).sum())
        scale += float(np.vdot(points, points) + np.vdot(chosen, chosen))
    bound = (rows.shape[1] + 8) * float(np.finfo(rows.dtype).eps) * scale
    _require(
        abs(inertia - direct) <= bound,
        f"{who} returned the inertia {inertia!r} and the direct sum is {direct!r}",
    )


def _beyond(errors: Array, bound: Array) -> list[list[int]]:
    """Return the place of the first entry that is not within its bound, if there is one."""
    places: list[list[int]] = np.argwhere(~(np.abs(errors) <= bound))[:1].tolist()
    return places


def _distances(a: Array, b: Array) -> NDArray[np.float64]:
    diff = a - b
    squares: NDArray[np.float64] = np.einsum("if,if->i", diff, diff)
    return squares


def _direct_sums(
    rows: Array, labels: Labels, n_clusters: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return sums, counts and sums of absolute values by bincount: no kernel's way."""
    sums, weight = np.empty((2, n_clusters, rows.shape[1]))
    for f in range(rows.shape[1]):
        column = rows[:, f].astype(np.float64)
        sums[:, f] = np.bincount(labels, weights=column, minlength=n_clusters)
        weight[:, f] = np.bincount(labels, weights=np.abs(column), minlength=n_clusters)
    return sums, np.bincount(labels, minlength=n_clusters), weight


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise CertificateError(sentence)
