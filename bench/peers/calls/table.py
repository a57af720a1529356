"""The one table of whole calls that are compared, and of the targets that they are held to.

A target is a ratio: the base's time over ours, and at least the target is wanted; of weighted fits,
our time over that of our own fit without weights, and at most the target. Kinds and their order
are those of the report.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log
from typing import Literal

from bench.peers.cells import Cell, Embedded, drawn
from kmeans_lab.kernel import Array

Call = Literal[
    "fit", "weighted", "predict", "score", "transform", "n_init", "plusplus", "partial_fit"
]

#: Seeds of the calls that draw their own start, each a round.
SEEDS = 11
#: Of the ratio with one thread, which a fit with two must reach.
SHARE_OF_ONE_THREAD = 0.85
#: Of the nearest target, which drawn cells must reach; and how many of them.
SHARE_OF_NEAREST, DRAWN_THAT_REACH = 0.8, 10

#: Fits with one thread: shape and iterations, target.
FITS = (
    (Cell(16_250, 10, 25, 35), 7.0),
    (Cell(20_011, 7, 100, 20), 7.5),
    (Cell(200_003, 12, 33, 10), 5.5),
    (Cell(8_191, 33, 25, 20), 7.5),
    (Cell(60_000, 64, 200, 20), 12.0),
    (Cell(100_000, 16, 64, 20), 9.0),
    (Cell(20_000, 128, 1000, 15), 5.0),
)
FEW_FEATURES = (
    (Cell(50_003, 3, 11, 20), 9.0),
    (Cell(30_000, 2, 500, 10), 9.0),
    (Cell(1_000_000, 2, 40, 5), 12.0),
)
FOUR_ITERATIONS = (Cell(60_000, 64, 200, 4), 2.0)
#: Clusters, rows (None: those of the file), targets in float64 and float32.
EMBEDDINGS: tuple[tuple[int, int | None, float, float], ...] = (
    (100, None, 3.0, 1.8),
    (1_000, None, 5.0, 2.7),
    (4_000, None, 5.0, 3.0),
    (4_000, 200_000, 4.0, 2.5),
)
#: The shapes of all calls but plain fits.
THREE = (
    Cell(16_250, 10, 25, 10),
    Cell(100_000, 16, 64, 10),
    Cell(30_000, 64, 200, 10),
)
#: Two threads: targets on the three shapes.
OTHER_CALLS: dict[Call, tuple[float, float, float]] = {
    "weighted": (1.15, 1.15, 1.15),
    "predict": (3.2, 2.7, 2.2),
    "score": (3.2, 2.8, 2.4),
    "transform": (3.3, 2.5, 1.6),
    "n_init": (4.0, 4.0, 4.0),
    "plusplus": (4.0, 4.0, 4.0),
    "partial_fit": (3.0, 3.0, 3.0),
}
_TITLES: dict[Call, str] = {
    "weighted": "weighted fit, relative to ours without weights",
    "predict": "predict",
    "score": "score",
    "transform": "transform",
    "n_init": "fit, n_init=5, random starts",
    "plusplus": "fit, own k-means++",
    "partial_fit": "partial_fit by 1000 rows",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One call on one data set.

    Attributes
    ----------
    kind, title : str
        What ``--rows`` chooses by, and the heading above the row.
    call : str
        A call of ``sides.Side``.
    target : float
        See the top of this module.
    of : Row or None
        With it, the target is that share of what this other row reaches.
    """

    kind: str
    title: str
    call: Call
    cell: Cell | Embedded
    target: float
    n_threads: int = 1
    dtype: str = "float64"
    of: "Row | None" = None

    @property
    def name(self) -> str:
        """Return the row's heading and shape."""
        return f"{self.title}: {self.cell}"

    @property
    def at_most(self) -> bool:
        """Whether less is better: the row compares two calls of ours."""
        return self.call == "weighted"

    @property
    def draws(self) -> bool:
        """Whether each round draws a start of its own."""
        return self.call in ("n_init", "plusplus", "partial_fit")

    def held_to(self, reached: "Callable[[Row], float | None]") -> float:
        """Return the target, which may depend on what another row reached in this run."""
        if self.of is None:
            return self.target
        ratio = reached(self.of)
        return self.target * (self.of.target if ratio is None else ratio)

    def reaches(self, ratio: float, target: float) -> bool:
        """Tell whether a ratio reaches a target; what is not a number does not."""
        return ratio <= target if self.at_most else ratio >= target


def rows(embeddings: Array | None = None) -> list[Row]:
    """Return all rows; those with real embeddings where there are some."""
    one = [Row("fit", "fit, 1 thread", "fit", *pair) for pair in FITS]
    two = [
        replace(row, title="fit, 2 threads", n_threads=2, target=SHARE_OF_ONE_THREAD, of=row)
        for row in one
    ]
    few = [Row("few", "fit, few features, 1 thread", "fit", *pair) for pair in FEW_FEATURES]
    title = "fit, four iterations, 1 and 2 threads"
    four = [Row("four", title, "fit", *FOUR_ITERATIONS, n_threads=n) for n in (1, 2)]
    real = [] if embeddings is None else _embedded(embeddings)
    others = [
        Row(call.replace("plusplus", "k-means++"), f"{_TITLES[call]}, 2 threads", call, *pair, 2)
        for call, targets in OTHER_CALLS.items()
        for pair in zip(THREE, targets, strict=True)
    ]
    title = f"drawn cells, 1 thread; {SHARE_OF_NEAREST} of the nearest target"
    drawn_cells = [
        Row("drawn", title, "fit", cell, SHARE_OF_NEAREST * nearest(cell)[1]) for cell in drawn()
    ]
    return one + two + few + four + real + others + drawn_cells


def _embedded(embeddings: Array) -> list[Row]:
    found = []
    for dtype in ("float64", "float32"):
        title = f"fit, real embeddings, {dtype}, 1 thread"
        for k, n, wide, narrow in EMBEDDINGS:
            if k <= len(embeddings):
                cell = Embedded(embeddings, n or len(embeddings), k)
                target = wide if dtype == "float64" else narrow
                found.append(Row("embeddings", title, "fit", cell, target, dtype=dtype))
    return found


def nearest(cell: Cell) -> tuple[Cell, float]:
    """Return the listed fit that is nearest to a cell, and its target.

    Nearest is by the straight distance in (log n, log d, log k), among the fits of blobs with one
    thread and more than four iterations.
    """

    def distance(pair: tuple[Cell, float]) -> float:
        here, there = _sizes(cell), _sizes(pair[0])
        return sum((log(a) - log(b)) ** 2 for a, b in zip(here, there, strict=True))

    return min(FITS + FEW_FEATURES, key=distance)


def _sizes(cell: Cell) -> tuple[int, int, int]:
    return cell.n_samples, cell.n_features, cell.n_clusters


def choose(wanted: str, everything: list[Row]) -> list[Row]:
    """Return the rows that a list names: kinds, or words that all stand in heading and shape."""
    kinds = list(dict.fromkeys(row.kind for row in everything))
    chosen: set[int] = set()
    for word in filter(None, (part.strip() for part in wanted.split(","))):
        found = {
            i
            for i, row in enumerate(everything)
            if (row.kind == word if word in kinds else _words(word) <= _words(row.name))
        }
        if not found:
            raise ValueError(
                f"--rows {word} is in no row; name one of {', '.join(kinds)}, or words of a "
                "heading and shape (embeddings need --data)"
            )
        chosen |= found
    return [row for i, row in enumerate(everything) if i in chosen]


def _words(text: str) -> set[str]:
    return set(re.split(r"[ ,:×]+", text))


def tiny(row: Row) -> Row:
    """Return a row with a few hundred rows of data, which shows that it works and nothing else."""
    cell = row.cell
    n, k = min(cell.n_samples, 400), min(cell.n_clusters, 8)
    if isinstance(cell, Embedded):
        small: Cell | Embedded = Embedded(cell.rows[:n], min(n, len(cell.rows)), k, 3)
    else:
        small = Cell(n, min(cell.n_features, 8), k, 3, cell.spread)
    return replace(row, cell=small, of=None if row.of is None else tiny(row.of))
