"""Equal work or no number: the same iterations from the same centers, judged in float64.

The judge's own iterations are those of the kernel "numpy" on the very values that the peer was
given. A peer that takes no starting centers is judged from where its fit of few iterations ended:
as many of ours from there as the peer's longer fit did more must lead to the same inertia.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.answers import Saved
from bench.peers.process import Refused, Unequal
from kmeans_lab import kmeans
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.sparse.nearest import nearest
from kmeans_lab.sparse.numerics import own_squares
from kmeans_lab.sparse.reading import is_sparse, read_sparse
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.spec import FLOATS

Rows = Array | SparseRows

#: How far an exact peer's inertia may be from ours, relative to it.
WITHIN = {"float64": 1e-6, "float32": 2e-4}
#: The same for a peer that is approximate and says so.
WITHIN_APPROXIMATE = 0.05

_BLOCK_VALUES = 2**20


def follow(X: Rows, start: Array, n_iter: int) -> list[Array]:
    """Return the centers after 0, 1, … n_iter of our iterations."""
    result = kmeans(
        as_type(X, "float64"),
        len(start),
        kernel="numpy",
        init=start.astype(np.float64),
        max_iter=n_iter,
        stop="max-iter",
        history=True,
    )
    return [iteration.centers for iteration in result.history] + [result.centers]


def as_type(X: Rows, dtype: str) -> Rows:
    """Return rows in a dtype, as they are where it is theirs."""
    if isinstance(X, SparseRows):
        return X.astype(np.dtype(dtype))
    return X.astype(dtype, copy=False)


def rests_after(path: list[Array], dtype: str) -> int:
    """Return after how many iterations the centers no longer move, or the length of the path."""
    eps = 4 * np.finfo(dtype).eps
    for n_iter, (old, new) in enumerate(pairwise(path)):
        if np.abs(new - old).max() <= eps * np.abs(new).max():
            return n_iter
    return len(path) - 1


def choose_counts(X: Rows, start: Array, max_iter: int, most: int | None = None) -> tuple[int, int]:
    """Return how many iterations the short and the long fit take, both away from rest.

    ``most`` replaces the limit that follows from the time of an iteration. (1, 1) where the centers
    rest too early to compare anything.
    """
    size = X.n_values if isinstance(X, SparseRows) else X.size
    cap = most or max(3, min(max_iter, 35, int(5e9 / (size * len(start)))))
    many = min(cap, rests_after(follow(X, start, cap + 2), "float32"))
    return max(1, many // 5), max(1, many)


def inertia_of(X: Any, centers: Array, labels: Any = None) -> float:
    """Sum the squared distances to the labelled, or to the nearest, centers in float64."""
    if is_sparse(X):
        rows = read_sparse("X", X, FLOATS)
        if labels is None:
            labels = nearest("numpy", rows, np.asarray(centers, dtype=np.float64))
        return sum(float(squares.sum()) for *_, squares in own_squares(rows, centers, labels))
    middle = X.mean(axis=0, dtype=np.float64)
    wide = np.asarray(centers, dtype=np.float64) - middle
    squares = np.einsum("jf,jf->j", wide, wide)
    total = 0.0
    for some in row_blocks(len(X), max(wide.shape), _BLOCK_VALUES):
        points = X[some] - middle
        if labels is None:
            chosen = (squares - 2.0 * (points @ wide.T)).argmin(axis=1)
        else:
            chosen = labels[some]
        diff = points - wide[chosen]
        total += float(np.vdot(diff, diff))
    return total


class Referee:
    """Judges saved results against our trajectory on the same values."""

    def __init__(self, X: Rows, start: Array, folder: Path) -> None:
        self.sparse = isinstance(X, SparseRows)
        self._data = {"float64": (X, start)}
        self._folder = folder
        self._paths: dict[tuple[str, int], list[Array]] = {}

    def given(self, dtype: str) -> tuple[Rows, Array]:
        """Return X and the starting centers as a peer of that dtype gets them."""
        X, start = self._data["float64"]
        return as_type(X, dtype), start.astype(dtype, copy=False)

    def judge(self, answer: Saved, save: str, dtype: str, n_iter: int) -> str:
        """Judge a result from the common start; return the certificate's text."""
        path = self._path(dtype, n_iter)
        centers = self._check(answer, save, dtype, n_iter)
        if answer["n_iter"] is None:
            away = [float(np.abs(centers - there).max()) for there in path]
            found = int(np.argmin(away))
            _require(found == n_iter, f"{found} iterations, by its centers, in place of {n_iter}")
        self._compare(answer, save, dtype, path[n_iter], centers, WITHIN[dtype])
        return "valid"

    def judge_own_start(
        self, answer: Saved, saves: tuple[str, str], dtype: str, few: int, many: int,
        exact: bool,
    ) -> str:  # fmt: skip
        """Judge a result by what our iterations make of the peer's own shorter fit."""
        between = np.load(self._folder / f"{saves[0]}-centers.npy")
        centers = self._check(answer, saves[1], dtype, many)
        path = follow(self.given(dtype)[0], between, many - few + 1)
        rest = few + rests_after(path, dtype)
        _require(rest > many, f"rests after {rest} of {many} iterations from its own start")
        within = WITHIN[dtype] if exact else WITHIN_APPROXIMATE
        more = self._compare(answer, saves[1], dtype, path[many - few], centers, within)
        return (
            "valid" if exact else f"approximate: inertia {more:+.0e} relative to exact iterations"
        )

    def excess(self, save: str, dtype: str, n_iter: int) -> float:
        """Return by how much a result's inertia is above that of our n_iter iterations."""
        X, path = self.given(dtype)[0], self._path(dtype, n_iter)
        expected = inertia_of(X, path[n_iter])
        return (inertia_of(X, np.load(self._folder / f"{save}-centers.npy")) - expected) / expected

    def _path(self, dtype: str, n_iter: int) -> list[Array]:
        if (dtype, n_iter) not in self._paths:
            self._paths[dtype, n_iter] = follow(*self.given(dtype), n_iter + 1)
        return self._paths[dtype, n_iter]

    def _check(self, answer: Saved, save: str, dtype: str, n_iter: int) -> Array:
        _require(not answer["modified"], "X was modified")
        done = answer["n_iter"]
        if answer["refused"]:
            raise Unequal(f"no number: {answer['refused']}")
        if done not in (None, n_iter):
            raise Unequal(f"no number: {done} iterations in place of {n_iter}")
        centers = np.load(self._folder / f"{save}-centers.npy")
        expected = self.given(dtype)[1].shape
        _require(centers.shape == expected, f"centers of shape {centers.shape}, not {expected}")
        return np.asarray(centers, dtype=np.float64)

    def _compare(
        self, answer: Saved, save: str, dtype: str, ours: Array, centers: Array,
        within: float,
    ) -> float:  # fmt: skip
        """Compare inertias; return the peer's relative excess over ours."""
        X = self.given(dtype)[0]
        expected, found = inertia_of(X, ours), inertia_of(X, centers)
        excess = (found - expected) / expected
        _require(abs(excess) <= within, f"inertia {found:.8g} where ours is {expected:.8g}")
        if answer["inertia"] is not None:
            claimed = abs(answer["inertia"] - found) / found
            _require(
                claimed <= max(within, 1e-3),
                f"it reports the inertia {answer['inertia']:.8g}, its centers give {found:.8g}",
            )
        if answer["labels"]:
            labels = np.load(self._folder / f"{save}-labels.npy").astype(np.intp)
            _require(labels.shape == (len(X),), f"labels of shape {labels.shape}")
            _require(bool(((labels >= 0) & (labels < len(centers))).all()), "labels out of range")
            labelled = inertia_of(X, centers, labels)
            # Labels of the last assignment may be one iteration behind the centers.
            _require(
                (labelled - found) / found <= max(within, 1e-3),
                f"its labels give the inertia {labelled:.8g}, its centers {found:.8g}",
            )
        return excess


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise Refused(f"no number: {sentence}")
