"""The order of cells: landmarks, then borders; the budget; the same order after a stop."""

from itertools import product

import pytest

from kmeans_lab.measure import machine
from kmeans_lab.winners import plan, record, survey
from kmeans_lab.winners.grid import Cell, Grid
from kmeans_lab.winners.record import cell_of
from kmeans_lab.winners.survey import GRACE, Survey
from kmeans_lab.winners.verdict import Verdict, judge
from tests.support.maps.made_up import GRID, ROUNDS, made_up_cell, model

LINE = Grid(tuple(1000 * 2**i for i in range(9)), (2,), (4,))


def empty(grid):
    kernels = ["cpp-simd", "cython-tiled"]
    return record.start(grid, kernels, "cpp-simd", machine.card(), seed=0, n_rounds=ROUNDS)


class Machine:
    """Measures by a model, on a clock of its own."""

    def __init__(self, seconds=lambda cell: 10.0, stop_after=None):
        self.now, self.seconds, self.order, self.stop_after = 0.0, seconds, [], stop_after

    def clock(self):
        return self.now

    def measure(self, cell, watch):
        if len(self.order) == self.stop_after:
            raise KeyboardInterrupt
        for _ in range(10):
            watch(None)
            self.now += self.seconds(cell) / 10
        self.order.append(cell)
        return made_up_cell(cell)


def surveyed(data, it, minutes=1e6, **more):
    found = Survey(data, it.measure, it.clock)
    found.run(60 * minutes, **more)
    return found


def test_the_middle_and_the_corners_come_first_and_every_cell_once():
    it = Machine()
    surveyed(empty(GRID), it)
    corners = {Cell(n, d, k, 1) for n, d, k in product((1000, 100_000), (2, 16), (4, 256))}
    assert it.order[0] in {Cell(10_000, 2, 32, 1), Cell(10_000, 16, 32, 1)}
    assert set(it.order[1:9]) == corners
    assert sorted(it.order) == sorted(GRID.cells())


def test_each_thread_count_has_a_middle_of_its_own():
    grid = Grid((1000, 2000, 4000), (2, 4, 8), (4, 8, 16), (1, 2))
    assert {cell.threads for cell in plan.landmarks(grid)[:2]} == {1, 2}
    assert {cell[:3] for cell in plan.landmarks(grid)[:2]} == {(2000, 4, 8)}


def test_a_border_between_two_winners_is_bisected():
    kinds = [Verdict("won", ("a" if i < 3 else "b",)) for i in range(9)]
    cells = sorted(LINE.cells())
    known = {cells[i]: kinds[i] for i in (0, 4, 8)}
    assert plan.ranked(LINE, known)[0] == cells[2]  # halfway between the first and the fifth
    known[cells[2]] = kinds[2]
    assert plan.ranked(LINE, known)[0] == cells[3]  # where the border is


def test_beside_a_cell_that_is_not_resolved_more_is_measured_than_beside_one_that_is():
    cells = sorted(LINE.cells())
    known = {cells[i]: Verdict("won", ("a",)) for i in (0, 4)}
    known[cells[8]] = Verdict("not resolved", ("a", "b"))
    assert plan.ranked(LINE, known)[0] == cells[6]


@pytest.mark.parametrize("after", range(0, 18, 3))
def test_a_survey_that_was_stopped_goes_on_as_if_it_had_not_been(after):
    whole = Machine()
    surveyed(empty(GRID), whole)
    data, first = empty(GRID), Machine(stop_after=after)
    assert surveyed(data, first).interrupted
    assert len(data["cells"]) == after
    second = Machine()
    assert not surveyed(data, second).interrupted
    assert first.order + second.order == whole.order


def costs(cell):
    """Seconds of a cell as they were measured: processes, then certificates."""
    return 8 + 4e-7 * cell.n * cell.d * cell.k


@pytest.mark.parametrize("minutes", [0.5, 1, 2, 5, 10])
def test_the_budget_is_kept(minutes):
    grid = Grid((1_000, 10_000, 100_000, 1_000_000), (2, 8, 32), (4, 16, 64, 256))
    it = Machine(costs)
    found = surveyed(empty(grid), it, minutes)
    assert it.order
    assert it.now <= 60 * minutes
    assert it.now >= 30 * minutes or len(it.order) == len(list(grid.cells()))
    blank = [cell for cell in grid.cells() if cell not in it.order]
    assert sorted(found.missing) == sorted(blank)
    assert all("the time was up" in why for why in found.missing.values())


def test_the_first_cell_is_measured_whatever_the_budget():
    it = Machine()
    surveyed(empty(GRID), it, 0.01)
    assert len(it.order) == 1


def test_a_cell_that_takes_far_longer_than_foreseen_is_given_up():
    slow = max(GRID.cells())
    it = Machine(lambda cell: 1e5 if cell == slow else 10.0)
    found = surveyed(empty(GRID), it, 10)
    assert slow not in it.order
    assert it.now <= 600 + GRACE + 1e4  # a look at the clock before each of its ten fits
    assert found.missing[slow].startswith("it took longer than foreseen")
    assert not found.interrupted


def test_ctrl_c_keeps_what_was_measured_and_saves_after_each_cell():
    saved, data = [], empty(GRID)
    found = surveyed(data, Machine(stop_after=5), saved=lambda it: saved.append(len(it["cells"])))
    assert found.interrupted
    assert saved == [1, 2, 3, 4, 5]


def test_void_cells_are_measured_again_after_all_others_and_when_a_map_goes_on():
    data = empty(LINE)
    cells = sorted(LINE.cells())
    data["cells"] = [made_up_cell(cells[0], void="another machine"), made_up_cell(cells[3])]
    it = Machine()
    surveyed(data, it)
    assert it.order[-1] == cells[0]
    assert cells[3] not in it.order
    assert sorted(cell_of(it) for it in data["cells"]) == cells
    assert all(not it["run"]["void"] for it in data["cells"])


def test_a_cell_that_is_void_twice_is_left_so():
    it, data = Machine(), empty(LINE)
    cells = sorted(LINE.cells())
    right = it.measure

    def measure(cell, watch):
        right(cell, watch)
        return made_up_cell(cell, void="the machine changed" * (cell == cells[2]))

    found = Survey(data, measure, it.clock)
    found.run(1e6)
    assert [*it.order].count(cells[2]) == 2
    assert len(it.order) == len(cells) + 1
    assert [cell_of(it) for it in data["cells"] if it["run"]["void"]] == [cells[2]]


def test_a_cell_that_needs_more_memory_than_there_is_is_left_out(monkeypatch):
    monkeypatch.setattr(survey, "free_bytes", lambda: 4 * 4 * 8 * 50_000 * 2)
    it = Machine()
    found = surveyed(empty(GRID), it)
    assert {cell.n for cell in found.missing} == {10_000, 100_000}
    assert all("GiB are free" in why for why in found.missing.values())
    assert {cell.n for cell in it.order} <= {1_000, 10_000, 100_000}


def test_the_plan_finds_the_border_of_the_model_before_the_rest():
    it = Machine()
    surveyed(empty(LINE), it)
    winners = [min(model(cell), key=model(cell).get) for cell in sorted(LINE.cells())]
    border = winners.index("cpp-simd")
    first = sorted(LINE.cells())[border - 1 : border + 1]
    assert set(first) <= set(it.order[:6])
    assert {judge(made_up_cell(cell)["run"]).winner for cell in first} == set(winners)
