"""Certificates: no number is published for a kernel whose result was not proved correct.

Two checks belong together. ``certify_fit`` watches one whole fit, outside any clock: at every
iteration each label is judged against a direct computation of the distances, each center against
the mean of its rows, the inertia against a direct sum; changed labels are counted, and the rows
that k-means++ begins with are chosen once more; the input's bytes are compared and the kernel is
caught if another one's code computes. Fits are bit-identical from run to run, so every
*timed* round is then compared with the certified result bit for bit: ``Certificate.recheck``.

A differing label counts as a tie only where the two distances differ by less than the rounding
bound of the dtype; ties are counted, never hidden. All comparisons are written as "within", so
that NaN fails them.
"""

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import checks
from kmeans_lab.centering import Centered, Samples, middle_and_variance
from kmeans_lab.driver import kmeans
from kmeans_lab.empty import fill_empty
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.measure import judging, sparse_judging
from kmeans_lab.measure.judging import CertificateError as CertificateError
from kmeans_lab.measure.judging import beyond, require
from kmeans_lab.measure.provenance import find_foreign_code
from kmeans_lab.metric import exponent_of, indistinct, rounding, unit_rows
from kmeans_lab.numerics.double_double import Doubles
from kmeans_lab.presets import FitSettings
from kmeans_lab.registry import load_for, spec_for
from kmeans_lab.result import Iteration, KMeansResult
from kmeans_lab.seeding import greedy_draws, greedy_rows
from kmeans_lab.sparse.reading import is_sparse
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.stopping import LabelsChanged, Step, make_rule
from kmeans_lab.weights import relative

_SMALL_ROWS = 256  # enough to see whose code runs


def fingerprint(*arrays: NDArray[Any] | SparseRows) -> str:
    """Return a hash of the arrays' bytes; those of sparse rows are three."""
    digest = hashlib.blake2b(digest_size=16)
    for it in arrays:
        parts = (it.data, it.indices, it.indptr) if isinstance(it, SparseRows) else (it,)
        for array in parts:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


class Elsewhere(Protocol):
    """A process that runs fits of one kernel: see ``kmeans_lab.isolation.kernel_child``."""

    def fit(
        self,
        X: Any,
        n_clusters: int,
        *,
        callback: Callable[[Iteration], Any] | None = None,
        **settings: Unpack[FitSettings],
    ) -> KMeansResult:
        """Run ``kmeans`` there; the callback is called here."""

    def foreign_code(self, X: Any) -> str | None:
        """Return the module whose code runs in the kernel's steps in place of its own, or None."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A fit that was proved correct, which later fits are compared with.

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

    def recheck(self, result: KMeansResult, X: Any) -> None:
        """Raise ``CertificateError`` unless this result equals the certified one bit for bit."""
        certified = self.result
        require(
            result.kernel == certified.kernel,
            f"kernel {result.kernel!r} ran in place of {certified.kernel!r}",
        )
        require(
            result.n_iter == certified.n_iter,
            f"{result.n_iter} iterations in place of {certified.n_iter}",
        )
        require(
            np.array_equal(result.labels, certified.labels),
            "the labels differ from the certified fit's in "
            f"{_differing(result.labels, certified.labels)} rows",
        )
        require(
            np.array_equal(result.centers, certified.centers),
            "the centers differ from the certified fit's in "
            f"{_differing(result.centers, certified.centers)} coordinates",
        )
        require(
            result.inertia == certified.inertia,
            f"the inertia differs from the certified fit's: {result.inertia!r} in place of "
            f"{certified.inertia!r}",
        )
        require(fingerprint(X) == self.inputs, "X was modified")


def _differing(found: NDArray[Any], certified: NDArray[Any]) -> int:
    return int(np.count_nonzero(found != certified))


def in_words(ties: int) -> str:
    """Return the entry of tables for something that was proved correct."""
    return f"valid, {ties} tie{'s' * (ties != 1)}" if ties else "valid"


def certify_fit(
    X: Array | SparseRows,
    n_clusters: int,
    settings: FitSettings,
    name: str,
    *,
    n_iter: int | None = None,
    child: Elsewhere | None = None,
) -> Certificate:
    """Run one watched fit and return its certificate.

    Parameters
    ----------
    X : ndarray or SparseRows of shape (n_samples, n_features), float32 or float64
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
        foreign = find_foreign_code(*load_for(name, sparse=is_sparse(X)), X[:_SMALL_ROWS])
    else:
        fit, foreign = child.fit, child.foreign_code(X[:_SMALL_ROWS])
    own = spec_for(name, sparse=is_sparse(X)).module
    require(foreign is None, f"code of {foreign} ran in place of {own}")
    metric = settings.get("metric", "euclidean")
    judge = _Judge(X, settings.get("empty", "relocate"), metric=metric)
    weights = checks.weights(settings.get("sample_weight"), judge.X)
    if weights is not None:
        judge.weights, judge.exponent = relative(weights)
    judge.rng = _rng_of(settings)
    result = fit(X, n_clusters, callback=judge, **settings)
    if n_iter is not None:
        require(result.n_iter == n_iter, f"{result.n_iter} iterations in place of {n_iter}")
    judge.check_end(result)
    judge.check_stop(result, settings)
    return Certificate(result, judge.ties, judge.inputs)


def _law(X: Array | SparseRows) -> Any:
    """Return the module that judges results for rows of this kind."""
    return sparse_judging if isinstance(X, SparseRows) else judging


def _rng_of(settings: FitSettings) -> np.random.Generator | None:
    """Return a generator that draws once more what a k-means++ start draws, where that is known."""
    init, state = settings.get("init", "k-means++"), settings.get("random_state")
    known = isinstance(init, str) and init == "k-means++" and state is not None
    return checks.generator(deepcopy(state)) if known else None


def certify_assign(X: Any, centers: Array, labels: Labels, inertia: float) -> int:
    """Judge the labels and inertia of one assignment of X; return the number of ties."""
    nowhere, law = np.zeros(X.shape[1], X.dtype), _law(X)
    ties = law.check_labels(X, nowhere, centers, labels)
    law.check_inertia(X, nowhere, centers, labels, inertia, "assign", expanded=True)
    return int(ties)


def certify_some(X: Any, result: KMeansResult, rows: NDArray[np.intp]) -> int:
    """Judge the labels that a fit gave some rows of X; return the number of ties."""
    middle, some = middle_and_variance(X)[0], X.take(rows) if is_sparse(X) else X[rows]
    return int(_law(X).check_labels(some, middle, result.centers, result.labels[rows], len(X)))


def certify_update(X: Any, labels: Labels, sums: Array, counts: NDArray[np.int64]) -> None:
    """Judge the sums and counts that one update of X added to zero."""
    nowhere = np.zeros(X.shape[1], X.dtype)
    expected, lost, sizes, magnitudes = _law(X).direct_sums(X, nowhere, labels, len(counts))
    for j in np.flatnonzero(counts != sizes)[:1]:
        raise CertificateError(
            f"the counts are not the sizes of the clusters: that of cluster {j} is {counts[j]} and "
            f"it owns {sizes[j]:.0f} rows"
        )
    bound = (sizes[:, None] + 8) * (np.finfo(np.float64).eps / 2) * magnitudes
    errors = sums - expected - lost
    for j, f in beyond(errors, bound):
        raise CertificateError(
            f"the sums are not those of the clusters: that of cluster {j}, feature {f}, is "
            f"{sums[j, f]:.17g} and its {sizes[j]:.0f} rows sum to {expected[j, f]:.17g}, which is "
            f"{abs(errors[j, f]):.2g} apart where rounding in float64 explains "
            f"{bound[j, f]:.2g}: add in float64"
        )


@dataclass(eq=False)
class _Judge:
    """A callback that judges every iteration of a fit."""

    X: Any  # rows as they are compared: with cosine, of length 1
    empty: str
    weights: NDArray[np.float64] | None = None  # relative to a power of two
    exponent: int = 0  # of that
    metric: str = "euclidean"
    ties: int = 0
    repetitions: int = 0
    rng: np.random.Generator | None = None  # draws the starts once more
    expected: tuple[Array, Array] | None = None  # means relative to the middle, and tolerances
    before: Labels | None = None  # of the iteration before
    changed: int = -1
    given: Array = field(init=False)
    inputs: str = field(init=False)
    middle: Array = field(init=False)

    def __post_init__(self) -> None:
        self.given, self.inputs = self.X, fingerprint(self.X)
        if self.metric == "cosine":
            self.X = unit_rows(self.X)
        self.middle = middle_and_variance(self.X)[0]

    def __call__(self, step: Iteration) -> bool:
        """Judge the labels, the inertia and where the centers came from."""
        assert step.labels is not None  # a callback is always given the labels
        try:
            if step.n_iter == 1:  # a repetition starts anew
                self.repetitions += 1
                self.expected = self.before = None
                self._check_start(step.centers)
            self._judge(step.centers, step.labels, step.inertia, expanded=self.weights is None)
            self._check_changed(step.changed, step.labels)
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

    def check_stop(self, result: KMeansResult, settings: FitSettings) -> None:
        """Judge whether as few labels changed as the stop rule of the fit claims."""
        rule = make_rule(settings.get("stop", "shift"), settings.get("tol"))
        if self.repetitions > 1 or not isinstance(rule, LabelsChanged):
            return
        none = np.empty(0)
        fired = rule.fired(Step(none, none, 0.0, self.changed, len(self.X)))
        require(
            result.converged == fired,
            f"result: it says converged={result.converged} by stop='labels' and the last iteration "
            f"changed {self.changed} labels",
        )

    def _check_start(self, centers: Array) -> None:
        """Judge the start of a repetition by k-means++."""
        if self.rng is None:
            return
        weights = self.weights
        if weights is not None and (weights == weights[0]).all():
            weights = None  # as the driver draws
        drawn = greedy_draws(len(self.X), len(centers), self.rng, weights)
        chosen = greedy_rows(self._rows(), *drawn, weights)
        for j in np.flatnonzero((centers != self.X[chosen]).any(axis=1))[:1]:
            raise CertificateError(
                f"the start is not the one that k-means++ draws: center {j} is not row {chosen[j]}"
            )
        if self.empty == "random":  # what the loop draws, later repetitions do not
            self.rng = None

    def _check_changed(self, changed: int, labels: Labels) -> None:
        """Judge the number of labels that an iteration has changed."""
        found = len(labels) if self.before is None else _differing(labels, self.before)
        self.before, self.changed = labels.copy(), found
        require(changed == found, f"{changed} labels are said to have changed, and {found} did")

    def _judge(
        self, centers: Array, labels: Labels, inertia: float, *, expanded: bool = False
    ) -> None:
        require(fingerprint(self.given) == self.inputs, "X was modified")
        if self.expected is not None:
            self._check_means(centers, *self.expected)
        law = _law(self.X)
        self.ties += law.check_labels(self.X, self.middle, centers, labels)
        given = self.X, self.middle, centers, labels, inertia, "the fit"
        exponent = self.exponent + exponent_of(self.metric)
        law.check_inertia(*given, weights=self.weights, exponent=exponent, expanded=expanded)

    def _check_means(self, centers: Array, means: Array, tolerance: Array) -> None:
        around = (centers - self.middle).astype(np.float64)
        # The quotient, the center relative to the middle, and the center: each is rounded.
        u = np.finfo(self.X.dtype).eps / 2
        moved = np.abs(centers) * (self.middle != 0)
        tolerance = tolerance + 2 * u * (np.abs(around) + moved)
        for j, f in beyond(around - means, tolerance):
            raise CertificateError(
                f"the centers are not the means of their rows: center {j}, feature {f}, is "
                f"{centers[j, f]:.9g} and the mean of its rows lies "
                f"{abs(around[j, f] - means[j, f]):.2g} from it where rounding explains "
                f"{tolerance[j, f]:.2g}"
            )

    def _rows(self) -> Samples:
        """Return the rows as the driver has them."""
        return Centered(self.X, self.middle) if self.middle.any() else self.X

    def _expect_next(self, centers: Array, labels: Labels) -> None:
        given = self.X, self.middle, labels, len(centers)
        sums, lost, counts, magnitudes = _law(self.X).direct_sums(*given, self.weights)
        added = np.bincount(labels, minlength=len(centers))
        if not counts.all():
            if self.empty == "random":
                self.expected = None
                return
            rng = np.random.default_rng(0)  # no other policy draws
            before, rows = counts.copy(), self._rows()
            sums, lost = sums + lost, np.zeros_like(lost)
            found = sums, counts, rows, labels, centers - self.middle
            fill_empty(self.empty, *found, rng, self.weights)
            added += added * (counts != before)  # rows that left were subtracted
        # Adding n numbers in any order and dividing; with weights, multiplying and adding those.
        u = np.finfo(np.float64).eps / 2
        roundings = (added if self.weights is None else 2 * added)[:, None] + 8
        means = (sums + lost) / counts[:, None]
        vanishing = 4 * float(np.finfo(self.X.dtype).smallest_subnormal)
        tolerance = roundings * u * (magnitudes / counts[:, None]) + vanishing
        if self.metric == "cosine":
            means, tolerance = self._scaled(means, tolerance, centers)
        self.expected = means, tolerance

    def _scaled(self, means: Doubles, tolerance: Doubles, before: Array) -> tuple[Doubles, Doubles]:
        """Return means at length 1, or the centers before where they have none, and tolerances."""
        wide = means + self.middle
        length = np.linalg.norm(wide, axis=1, keepdims=True)
        least = indistinct(self.X.dtype, len(self.X))
        lost = length <= least / 2
        units = np.where(lost, before, wide / np.where(lost, 1, length))
        off = tolerance + np.finfo(np.float64).eps * np.abs(wide)
        off += np.abs(units) * np.linalg.norm(off, axis=1, keepdims=True)  # and their length
        within = off / np.maximum(length, least / 2)
        within += 2 * rounding(means.shape[1], self.X.dtype) * np.abs(units)
        # Whether a mean has a direction is not known where rounding may decide it.
        within[((length > least / 2) & (length <= 2 * least))[:, 0]] = np.inf
        return units - self.middle, np.where(lost, 0, within)
