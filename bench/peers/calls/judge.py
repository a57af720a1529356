"""Certificates of whole calls: no ratio without one.

Our labels are judged row by row against direct distances, our inertia against a direct sum. The
other library's result needs the same number of iterations and, within its rounding, the same
inertia: that is equal work. Where a start is drawn anew the two end apart; then the median over
the seeds is judged.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.calls.table import Row
from bench.peers.process import Refused
from bench.peers.referee import WITHIN, inertia_of
from kmeans_lab.centering import middle_and_variance
from kmeans_lab.kernel import Array, Labels
from kmeans_lab.measure.certify import in_words
from kmeans_lab.measure.judging import CertificateError, check_inertia, check_labels
from kmeans_lab.measure.statistics import sign_interval
from kmeans_lab.numerics.blocks import row_blocks

#: How far the median inertia may surely be above the other library's where starts are drawn.
WITHIN_OWN_START = 0.05
#: Rows whose distances are computed directly, and how far ours and theirs may be from that.
_SOME_ROWS, _OURS_WITHIN, _THEIRS_WITHIN = 256, 1e-12, 1e-6

Result = dict[str, Any]


class Rested(Refused):
    """A fit from a start of its own rested before its last iteration: another seed may do."""


class Judge:
    """Judges the results of one row; ``given`` are the arrays that both libraries were handed."""

    def __init__(self, row: Row, given: dict[str, Array]) -> None:
        self.row, self.X, self.given = row, given["X"], given
        self.middle = middle_and_variance(self.X)[0]
        # Where starts are drawn: of our inertia beside theirs, and seeds that do not count.
        self.excesses: list[float] = []
        self.rested = 0

    def certify(self, ours: Result, theirs: Result) -> str:
        """Return the certificate's words; ``Refused`` says why there is none."""
        calls: dict[str, Callable[[Result, Result], str]] = {
            "predict": self._labels,
            "score": self._score,
            "transform": self._distances,
            "partial_fit": self._centers,
        }
        try:
            return calls.get(self.row.call, self._fit)(ours, theirs)
        except CertificateError as error:
            raise Refused(f"no number: {error}") from None

    def close(self, within: float = WITHIN_OWN_START) -> str:
        """Judge what only all seeds together tell."""
        excess = sign_interval(self.excesses)
        words = f"inertia {excess.middle:+.1%} (median of {len(self.excesses)} seeds)"
        require(excess.low <= within, f"{words} of theirs")
        early = f"; {self.rested} seeds that rested early left out" if self.rested else ""
        return f"valid; {words}{early}"

    def _fit(self, ours: Result, theirs: Result) -> str:
        self._count_iterations(int(ours["n_iter"]), int(theirs["n_iter"]))
        weights: Any = self.given["weights"] if self.row.call == "weighted" else None
        ties = self._judge_labels(ours["centers"], ours["labels"])
        check_inertia(
            self.X, self.middle, ours["centers"], ours["labels"], float(ours["inertia"]), "the fit",
            weights=weights,
        )  # fmt: skip
        expected = float(ours["inertia"])
        found = self._inertia(theirs, weights)
        excess = (expected - found) / found
        if self.row.draws:
            self.excesses.append(excess)
            return in_words(ties)
        words = f"inertia {expected:.8g} where theirs is {found:.8g}"
        require(abs(excess) <= WITHIN[self.row.dtype], words)
        done = int(ours["n_iter"])
        rests = f"; both rest after {done} iterations" if done < self.row.cell.max_iter else ""
        words = self._compared(ours["labels"], theirs["labels"], ties, f", inertia {excess:+.0e}")
        return words + rests

    def _count_iterations(self, ours: int, theirs: int) -> None:
        """Equal work is as many iterations in both: those asked for, or fewer if both rest."""
        asked = self.row.cell.max_iter
        words = f"{ours} iterations beside theirs, {theirs}, of {asked}"
        if self.row.draws and min(ours, theirs) < asked:
            self.rested += 1
            raise Rested(f"no number: {words}: its starts rest early")
        require(ours == theirs <= asked, words)

    def _inertia(self, result: Result, weights: Array | None) -> float:
        """Return a result's inertia from its centers and labels alone."""
        if weights is None:
            return inertia_of(self.X, result["centers"], result["labels"])
        centers, total = result["centers"], 0.0
        for some in row_blocks(len(self.X), self.X.shape[1], 2**20):
            apart = self.X[some] - centers[result["labels"][some]]
            total += float(weights[some] @ np.einsum("if,if->i", apart, apart))
        return total

    def _judge_labels(self, centers: Array, labels: Labels) -> int:
        require(labels.shape == (len(self.X),), f"labels of shape {labels.shape}")
        return check_labels(self.X, self.middle, centers, labels)

    def _compared(self, ours: Array, theirs: Array, ties: int, more: str = "") -> str:
        differ = int(np.count_nonzero(ours != theirs))
        words = in_words(ties)
        return f"{words}; {differ} labels unlike theirs{more}" if differ else words

    def _labels(self, ours: Result, theirs: Result) -> str:
        centers = self.given["centers"]
        ties = self._judge_labels(centers, ours["labels"])
        found, expected = (inertia_of(self.X, centers, it["labels"]) for it in (theirs, ours))
        require(abs(found - expected) <= WITHIN[self.row.dtype] * expected, "their labels differ")
        return self._compared(ours["labels"], theirs["labels"], ties)

    def _score(self, ours: Result, theirs: Result) -> str:
        expected = inertia_of(self.X, self.given["centers"])
        for who, found, within in (("ours", ours, 1e-9), ("theirs", theirs, 1e-6)):
            score = float(found["inertia"])
            words = f"{who}: minus {score!r} where the direct sum is {expected!r}"
            require(abs(score - expected) <= within * expected, words)
        return "valid"

    def _distances(self, ours: Result, theirs: Result) -> str:
        rows = np.random.default_rng(0).choice(len(self.X), min(len(self.X), _SOME_ROWS), False)
        apart = self.X[rows, None].astype(np.float64) - self.given["centers"]
        expected = np.sqrt(np.einsum("ijf,ijf->ij", apart, apart))
        sides = ("ours", ours, _OURS_WITHIN), ("theirs", theirs, _THEIRS_WITHIN)
        for who, found, within in sides:
            distances = found["distances"]
            right = distances.shape == (len(self.X), expected.shape[1])
            require(right, f"{who}: distances of shape {distances.shape}")
            off = np.abs(distances[rows] - expected).max()
            require(off <= within * expected.max(), f"{who}: distances off by {off:.2g}")
        off = np.abs(ours["distances"] - theirs["distances"]).max()
        require(off <= _THEIRS_WITHIN * expected.max(), f"distances {off:.2g} from theirs")
        return "valid"

    def _centers(self, ours: Result, theirs: Result) -> str:
        found, expected = (inertia_of(self.X, it["centers"]) for it in (ours, theirs))
        self.excesses.append((found - expected) / expected)
        return "valid"


def read(path: Path) -> Result:
    """Return what a call has found."""
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def require(holds: bool, sentence: str) -> None:
    """Refuse a number unless it holds."""
    if not holds:
        raise Refused(f"no number: {sentence}")
