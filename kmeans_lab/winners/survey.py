"""Measure a map cell by cell, within a time budget, and keep what is measured after each cell."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from time import perf_counter
from typing import Any

from kmeans_lab.measure.record import run_dict
from kmeans_lab.measure.rounds import PairedRun, Progress, Watcher
from kmeans_lab.measure.schema import RunRecord
from kmeans_lab.rows.memory import free_bytes
from kmeans_lab.winners.grid import Cell, Grid
from kmeans_lab.winners.plan import next_cell, predict, ranked, work_of
from kmeans_lab.winners.record import CellRecord, MapRecord, cell_of, grid_of
from kmeans_lab.winners.verdict import Verdict, judge

#: Rounds of a cell; slow kernels join every other one: nine are the fewest that hold for eight
#: comparisons together.
ROUNDS, FEWEST = 24, 12
#: A kernel whose fit takes so many times as long as the baseline's gets no rounds: it cannot win.
BEHIND = 10.0
#: A kernel that would need so many seconds for a fit of a cell is left out: three times what nested
#: compiled loops need for a unit of work, and half a second.
PATIENCE, PER_WORK = 0.5, 3e-9
#: The calibration loop may take so many times as long at the end of a cell. A map is about ratios,
#: whose two times are of the same round; a run of ``bench`` also tells milliseconds.
DRIFT = 2.0
ITERATIONS = 20  # of the presets of a grid
#: How much longer than the budget a cell may take before it is given up.
GRACE = 15.0
TIME_WAS_UP = "time was up"

Measure = Callable[[Cell, Watcher], CellRecord]
Saved = Callable[[MapRecord], Any]


@dataclass
class Survey:
    """A map that is being measured.

    Attributes
    ----------
    data : MapRecord
        Grows by a cell at a time.
    measure : callable
        Returns the record of a cell; raises ``KeyboardInterrupt`` where it was interrupted.
    clock : callable
        Returns seconds.
    interrupted : bool
        Ctrl-C was pressed.
    missing : dict of Cell to str
        Why a cell was not measured, where it was tried.
    """

    data: MapRecord
    measure: Measure | None = None
    clock: Callable[[], float] = perf_counter
    interrupted: bool = field(init=False, default=False)
    missing: dict[Cell, str] = field(init=False, default_factory=dict)
    _tried: set[Cell] = field(init=False, default_factory=set)  # again, after they were void

    def run(
        self,
        seconds: float,
        saved: Saved = lambda data: None,
        watch: Callable[[Cell, Progress], Any] = lambda cell, progress: None,
    ) -> None:
        """Measure cells until none is left or none fits into the time; the first always does.

        Parameters
        ----------
        seconds : float
            The budget.
        saved : callable
            Is given the map after each cell.
        watch : callable
            Is given the cell and the progress of its run before each fit.
        """
        grid, begun, done = grid_of(self.data), self.clock(), 0
        while not self.interrupted:
            cell = self._next(seconds - (self.clock() - begun) if done else inf)
            if cell is None:
                break
            found = self._measured(cell, begun + seconds + GRACE if done else inf, watch)
            if found is not None:
                cells = self.data["cells"]
                cells[:] = [it for it in cells if cell_of(it) != cell]
                cells.append(found)
                saved(self.data)
                done += 1
        if not self.interrupted:
            verdicts, spent = self._known()
            for cell in ranked(grid, verdicts, frozenset(self.missing)):
                wanted = predict(cell, spent)
                self.missing[cell] = f"it may take {wanted:.0f} s, and the {TIME_WAS_UP}"

    def _next(self, left: float) -> Cell | None:
        """Return the cell to measure next; None where none is left that the time allows.

        Void cells come last: once again in the same survey, and in each that goes on.
        """
        grid, skipped = grid_of(self.data), frozenset(self.missing)
        verdicts, spent = self._known()
        if (cell := next_cell(grid, verdicts, spent, left, skipped)) is not None:
            return cell
        void = {cell for cell, it in verdicts.items() if it.kind == "void"} - self._tried
        known = {cell: it for cell, it in verdicts.items() if cell not in void}
        if (cell := next_cell(grid, known, spent, left, skipped)) is not None and cell in void:
            self._tried.add(cell)
            return cell
        return None

    def _known(self) -> tuple[dict[Cell, Verdict], dict[Cell, float]]:
        cells = self.data["cells"]
        verdicts = {cell_of(it): judge(it["run"]) for it in cells}
        return verdicts, {cell_of(it): it["spent"] for it in cells}

    def _measured(
        self, cell: Cell, deadline: float, watch: Callable[[Cell, Progress], Any]
    ) -> CellRecord | None:
        """Return the record of a cell; None where it cannot be measured, or not in time."""
        grid, late = grid_of(self.data), False
        if lacking := lacks_memory(grid, cell, len(self.data["kernels"])):
            self.missing[cell] = lacking
            return None

        def watched(progress: Progress) -> None:
            nonlocal late
            if self.clock() > deadline:
                late = True
                raise KeyboardInterrupt  # ends the run as Ctrl-C does
            watch(cell, progress)

        begun = self.clock()
        try:
            found = (self.measure or self._run_cell)(cell, watched)
        except KeyboardInterrupt:
            self.interrupted = not late
            if late:
                self.missing[cell] = "it took longer than foreseen and was given up"
            return None
        found["spent"] = self.clock() - begun
        return found

    def _run_cell(self, cell: Cell, watch: Watcher) -> CellRecord:
        grid, data = grid_of(self.data), self.data
        name = grid.preset_name(cell)
        run = PairedRun(
            grid.preset(cell).load(),
            name,
            data["kernels"],
            data["baseline"],
            cell.threads,
            data["n_rounds"],
            data["seed"],
            patience=PATIENCE + PER_WORK * ITERATIONS * work_of(cell),
            behind=BEHIND,
            fewest=min(FEWEST, data["n_rounds"]),
            most_drift=DRIFT,
            rounds_alone=True,
        )
        run.run(watch)
        if run.partial:
            raise KeyboardInterrupt
        behind = [it.kernel for it in run.contestants if it.behind]
        return record_of(cell, behind, run_dict(run))


def record_of(cell: Cell, behind: list[str], run: RunRecord, spent: float = 0.0) -> CellRecord:
    """Return the record of a cell."""
    n, d, k, threads = cell
    return {
        "n": n,
        "d": d,
        "k": k,
        "threads": threads,
        "spent": spent,
        "behind": behind,
        "run": run,
    }


def lacks_memory(grid: Grid, cell: Cell, n_kernels: int) -> str:
    """Say that the rows of a cell do not fit into memory once for each kernel, or nothing."""
    size = 4 if grid.dtype == "float32" else 8
    # Each process has the rows, prepared rows, and those of the next round on their way.
    needed = 4 * (n_kernels + 2) * size * cell.n * cell.d
    free = 0
    with suppress(OSError):
        free = free_bytes()
    if not free or needed <= free:
        return ""
    return f"it needs {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free"
