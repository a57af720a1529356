"""A lane's certificate: as much of the lab's proof as fits into two seconds.

Three iterations, or fewer, are judged whole by ``certify_fit``. Where one of them would take too
long, and for what the timed fits return, rows are held against directly computed distances.
"""

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from kmeans_lab.kernel import Array
from kmeans_lab.measure.certify import certify_fit, certify_some, fingerprint
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.presets import FitSettings
from kmeans_lab.result import KMeansResult

_BUDGET = 2.0  # seconds
_ROWS = 2000


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the lane's kernel was right, how that was found out, and ties on the way."""

    valid: bool
    sentence: str
    ties: int

    def with_result(self, X: Array, result: KMeansResult, wrong: str) -> "Proof":
        """Hold rows of the result against direct distances, too; ``CertificateError`` if wrong.

        ``wrong`` is what is already known to be.
        """
        if wrong:
            raise CertificateError(wrong)
        rows = np.unique(np.linspace(0, len(X) - 1, min(_ROWS, len(X))).astype(np.intp))
        ties = certify_some(X, result, rows)
        every = f"{len(rows):,} rows" if len(rows) < len(X) else "every row"
        sentence = f"{self.sentence}{every} of the result held against direct distances"
        return replace(self, sentence=sentence, ties=self.ties + ties)


def prove(X: Array, n_clusters: int, settings: FitSettings, name: str, seconds: float) -> Proof:
    """Judge some iterations of a fit, where ``seconds`` for an assignment leave time for that.

    Raises
    ------
    CertificateError
        The kernel is wrong.
    """
    judging = _seconds_of_a_judgement(X, n_clusters)
    whole = int((_BUDGET - seconds - 2 * judging) / (seconds + judging))
    n_iter = min(3, whole, settings["max_iter"])
    if n_iter < 1:
        return Proof(True, "", 0)
    found = certify_fit(X, n_clusters, settings | {"max_iter": n_iter}, name)
    if not np.isfinite(found.result.inertia):
        raise CertificateError(f"the inertia is {found.result.inertia}")
    done = found.result.n_iter
    what = f"{done} iterations" if done > 1 else "one iteration"
    return Proof(True, f"{what} judged row by row, ", found.ties)


def refuse_other_bytes(X: Array, inputs: str) -> None:
    """Raise ``CertificateError`` unless X is what all lanes were given."""
    if fingerprint(X) != inputs:
        raise CertificateError("X was modified")


def _seconds_of_a_judgement(X: Array, n_clusters: int) -> float:
    """Extrapolate what judging one iteration takes from the work that is most of it."""
    some = X[: max(1, min(len(X), 262_144 // max(n_clusters, X.shape[1])))].astype(np.float64)
    centers = np.resize(some, (n_clusters, X.shape[1]))
    start = perf_counter()
    for _ in range(2):  # the labels, and what sums, bincounts and hashes take beside them
        (some @ centers.T).argmin(axis=1)
    return (perf_counter() - start) * len(X) / len(some)
