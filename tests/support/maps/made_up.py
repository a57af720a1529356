"""Runs and maps with made-up times, for tests that look at no clock."""

from typing import Any

from kmeans_lab.measure import machine
from kmeans_lab.result import PHASES
from kmeans_lab.winners import record
from kmeans_lab.winners.grid import Cell, Grid
from kmeans_lab.winners.survey import record_of

GRID = Grid((1_000, 10_000, 100_000), (2, 16), (4, 32, 256))
ROUNDS = 12
#: By how much rounds differ; each kernel has the same in the same round, unless it is noisy.
_NOISE = (1.0, 1.3, 0.9, 1.1, 2.0, 0.95)


def contestant(name: str, kernel: str, seconds: list[float], **more: Any) -> dict[str, Any]:
    """Return the record of a kernel in a run."""
    state = "valid" if seconds else "left out"
    phases = {phase: [s / len(PHASES) for s in seconds] for phase in PHASES}
    told: dict[str, Any] = {
        "name": name,
        "kernel": kernel,
        "state": state,
        "why": "",
        "source": None,
    }
    told |= {"arithmetic": "direct", "every": 1, "start": None, "n_iter": 20, "ties": 0}
    told |= {"rescored": 0, "seconds": seconds, "rounds": list(range(len(seconds)))}
    return told | {"phases": phases, "ratio": None} | more


def made_up_run(
    cell: Cell,
    times: dict[str, float],
    *,
    noisy: tuple[str, ...] = (),
    twin: float = 1.001,
    rounds: int = ROUNDS,
    **more: Any,
) -> dict[str, Any]:
    """Return a run in which each kernel takes so many seconds, times what its round takes.

    The first kernel is the baseline, and its twin takes ``twin`` times as long. Times of noisy
    kernels jump up and down by half from round to round; a kernel of no seconds has no number.
    """
    base = next(iter(times))
    found = []
    for name, each in {**times, f"{base} again": times[base] * twin}.items():
        seconds = [each * _NOISE[r % len(_NOISE)] for r in range(rounds)]
        if name in noisy:
            seconds = [s * (1.5 if r % 2 else 1 / 1.5) for r, s in enumerate(seconds)]
        seconds = seconds if each else []
        found.append(contestant(name, name.removesuffix(" again"), seconds))
    told: dict[str, Any] = {"preset": GRID.preset_name(cell), "n_samples": cell.n}
    told |= {"n_features": cell.d, "n_clusters": cell.k, "dtype": "float64", "n_init": 1}
    told |= {"n_threads": cell.threads, "baseline": base, "seed": 0, "confidence": 0.95}
    told |= {"n_rounds": rounds, "partial": False, "void": "", "floor": max(twin, 1 / twin)}
    told |= {"calibration": {"opening": [0.001], "closing": [0.001], "drift": 1.0}, "roof": None}
    return told | {"orders": [], "contestants": found} | more


def model(cell: Cell) -> dict[str, float]:
    """Return seconds of a fit by a model: the tuned kernel wins where there is much to do."""
    work = cell.n * cell.d * cell.k
    return {"cpp-simd": 4e-4 + 1e-10 * work, "cython-tiled": 3e-4 + 4e-10 * work}


def made_up_cell(cell: Cell, spent: float = 10.0, **more: Any) -> Any:
    """Return the record of a cell by the model."""
    run: Any = made_up_run(cell, model(cell), **more)
    return record_of(cell, [], run, spent)


def made_up_map(grid: Grid = GRID) -> record.MapRecord:
    """Return a map of all cells of a grid; some are not resolved, void, alone or missing."""
    data = record.start(
        grid, ["cpp-simd", "cython-tiled"], "cpp-simd", machine.card(), seed=0, n_rounds=ROUNDS
    )
    cells = list(grid.cells())
    data["cells"] = [made_up_cell(cell) for cell in cells[:-1]]
    data["cells"][4] = made_up_cell(cells[4], noisy=("cython-tiled",))
    data["cells"][5] = made_up_cell(cells[5], void="the machine changed")
    only: Any = made_up_run(cells[6], {"cpp-simd": 0.1, "cython-tiled": 0.0})
    data["cells"][6] = record_of(cells[6], ["cython-tiled"], only, 5.0)
    return data
