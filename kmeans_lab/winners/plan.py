"""The order in which cells are measured: the most informative one that the time left allows.

First come the middle of the grid and its corners. Then, again and again, the cell that lies
farthest from what is measured; a distance counts more where the cells on both sides of it have
different winners, or one that is not resolved: borders between winners are bisected. The choice
depends on the verdicts alone, and on the seconds only where they do not allow a cell: a survey
that was interrupted goes on as if it had not been.
"""

from collections.abc import Mapping
from itertools import product

from kmeans_lab.winners.grid import Cell, Grid
from kmeans_lab.winners.verdict import Verdict

#: Seconds that a cell takes beside its fits, before any is measured: a process for each kernel.
OVERHEAD = 12.0
#: Seconds of a cell for each row, feature and cluster: some kernels are certified, which takes far
#: longer than a fit. Measured on two cores, 35 s for 100 000 × 8, k = 64.
RATE = 5e-7
#: How much longer than foreseen a cell may take before the plan would be wrong.
MARGIN = 1.3
#: Weights of a distance between cells whose winners differ, or are not resolved.
BORDER, UNSURE = 4.0, 2.0

Verdicts = Mapping[Cell, Verdict]


def work_of(cell: Cell) -> float:
    """Return what the time of a cell grows with: pairs of rows and clusters, times features."""
    return float(cell.n) * cell.d * cell.k


def predict(cell: Cell, spent: Mapping[Cell, float]) -> float:
    """Return how many seconds a cell may take, from those that others took.

    Small cells say what comes on top of the fits, large ones what a unit of work takes.
    """
    if not spent:
        return OVERHEAD + RATE * work_of(cell)
    overhead = min(OVERHEAD, *spent.values())
    large = [it for it in spent if RATE * work_of(it) > 0.25 * overhead]
    rate = RATE
    if large:
        above = sum((spent[it] - overhead) * work_of(it) for it in large)
        rate = max(RATE / 20, above / sum(work_of(it) ** 2 for it in large))
    return MARGIN * (overhead + rate * work_of(cell))


def next_cell(
    grid: Grid,
    verdicts: Verdicts,
    spent: Mapping[Cell, float],
    left: float,
    skipped: frozenset[Cell] = frozenset(),
) -> Cell | None:
    """Return the cell to measure next; None where none is left that the time allows.

    Parameters
    ----------
    grid : Grid
    verdicts : mapping of Cell to Verdict
        Of the cells that are measured.
    spent : mapping of Cell to float
        Seconds that these took.
    left : float
        Seconds that are left.
    skipped : set of Cell
        Cells that cannot be measured.
    """
    for cell in ranked(grid, verdicts, skipped):
        if predict(cell, spent) <= left:
            return cell
    return None


def ranked(grid: Grid, verdicts: Verdicts, skipped: frozenset[Cell] = frozenset()) -> list[Cell]:
    """Return the cells that are not measured, the most informative first."""
    left = {cell for cell in grid.cells() if cell not in verdicts and cell not in skipped}
    first = [cell for cell in landmarks(grid) if cell in left]
    rest = left.difference(first)
    worth = {cell: _worth(grid, cell, verdicts) for cell in rest}
    return first + sorted(rest, key=lambda cell: (-worth[cell], work_of(cell), cell))


def landmarks(grid: Grid) -> list[Cell]:
    """Return the middle of the grid, then its corners, those with the least work first."""
    cells = list(grid.cells())
    if not cells:
        return []
    places = {cell: grid.place(cell) for cell in cells}
    # The nearest cell stands for a corner, or a middle, that has too few rows for its clusters.
    ends = [(0.0, 1.0) if len(axis) > 1 else (0.0,) for axis in grid.axes]
    corners = [_nearest(places, corner) for corner in product(*ends)]
    middles = [_nearest(places, (0.5, 0.5, 0.5, end)) for end in ends[3]]
    corners.sort(key=lambda cell: (work_of(cell), cell))
    return list(dict.fromkeys([*middles, *corners]))


def _nearest(places: Mapping[Cell, tuple[float, ...]], wanted: tuple[float, ...]) -> Cell:
    return min(places, key=lambda cell: (_distance(places[cell], wanted), work_of(cell), cell))


def _distance(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return sum(abs(x - y) for x, y in zip(a, b, strict=True))


def _worth(grid: Grid, cell: Cell, verdicts: Verdicts) -> float:
    """Return how much a cell may tell: its distance from the nearest one, weighted."""
    here = grid.place(cell)
    far = {it: _distance(here, grid.place(it)) for it in verdicts}
    weight = 1.0
    for axis in range(len(cell)):
        both = _beside(cell, axis, verdicts)
        if any(verdicts[it].kind == "not resolved" for it in both):
            weight = max(weight, UNSURE)
        if len({verdicts[it].leaders[:1] for it in both if verdicts[it].winner}) == 2:
            weight = max(weight, BORDER)
    return weight * min(far.values(), default=1.0)


def _beside(cell: Cell, axis: int, verdicts: Verdicts) -> list[Cell]:
    """Return the nearest measured cells before and after a cell along one axis."""
    line = [
        it
        for it in verdicts
        if all(it[a] == cell[a] for a in range(len(cell)) if a != axis) and it[axis] != cell[axis]
    ]
    before = [it for it in line if it[axis] < cell[axis]]
    after = [it for it in line if it[axis] > cell[axis]]
    return [*sorted(before)[-1:], *sorted(after)[:1]]
