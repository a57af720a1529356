"""Maps as JSON: grid, machine card, and each cell's run with raw samples; read, checked, written.

``map.json`` beside this file is the schema; a cell's run is one of ``kmeans-lab bench`` on the
preset of the same name. A map that is not finished is a map: it goes on where it ended.
"""

import json
from pathlib import Path
from typing import TypedDict

import kmeans_lab
from kmeans_lab.io.errors import Refused
from kmeans_lab.measure.record import hold_to_machine, read_as, schema_of
from kmeans_lab.measure.schema import Card, RunRecord
from kmeans_lab.winners.grid import Cell, Grid
from kmeans_lab.winners.verdict import Verdict, judge

FORMAT, VERSION = "kmeans-lab map", 1
_MOST_BYTES = 256 << 20  # a cell has some tens of KiB


class GridRecord(TypedDict):
    """The fields of a ``Grid``."""

    n: list[int]
    d: list[int]
    k: list[int]
    threads: list[int]
    dtype: str


class CellRecord(TypedDict):
    """A cell that was measured.

    ``spent`` is the seconds that it took, and ``behind`` the kernels that were left out because
    a fit takes far longer than the baseline's.
    """

    n: int
    d: int
    k: int
    threads: int
    spent: float
    behind: list[str]
    run: RunRecord


class MapRecord(TypedDict):
    """What ``kmeans-lab map`` writes."""

    format: str
    version: int
    kmeans_lab: str
    machine: Card
    grid: GridRecord
    kernels: list[str]
    baseline: str
    seed: int
    n_rounds: int
    cells: list[CellRecord]


def start(
    grid: Grid, kernels: list[str], baseline: str, card: Card, *, seed: int, n_rounds: int
) -> MapRecord:
    """Return a map without cells."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "kmeans_lab": kmeans_lab.__version__,
        "machine": card,
        "grid": {
            "n": list(grid.n),
            "d": list(grid.d),
            "k": list(grid.k),
            "threads": list(grid.threads),
            "dtype": grid.dtype,
        },
        "kernels": kernels,
        "baseline": baseline,
        "seed": seed,
        "n_rounds": n_rounds,
        "cells": [],
    }


def grid_of(data: MapRecord) -> Grid:
    """Return the grid of a map."""
    it = data["grid"]
    n, d, k, threads = (
        tuple(sorted(sizes)) for sizes in (it["n"], it["d"], it["k"], it["threads"])
    )
    return Grid(n, d, k, threads, it["dtype"])


def cell_of(it: CellRecord) -> Cell:
    """Return which cell was measured."""
    return Cell(it["n"], it["d"], it["k"], it["threads"])


def verdicts_of(data: MapRecord) -> dict[Cell, Verdict]:
    """Return the verdict on each cell that was measured."""
    return {cell_of(it): judge(it["run"]) for it in data["cells"]}


def read(path: Path) -> MapRecord:
    """Return a map that was written before; ``Refused`` says what is wrong with the file."""
    wrote = "kmeans-lab map"
    found: MapRecord = read_as(path, _schema(), FORMAT, "a map", wrote, _MOST_BYTES)
    if fault := _fault(found):
        raise Refused(f"{path.name}{fault}; the file is damaged: make it anew with {wrote}")
    return found


def _schema() -> dict[str, object]:
    bench = schema_of("bench")
    text = (Path(__file__).parent / "map.json").read_text(encoding="utf-8")
    own: dict[str, dict[str, object]] = json.loads(text)
    own["$defs"] = bench["$defs"] | {"machine": bench["properties"]["machine"]} | own["$defs"]
    return dict(own)


def _fault(data: MapRecord) -> str:
    """Say which parts of a map that keeps the schema do not belong together, or nothing."""
    grid, seen = set(grid_of(data).cells()), set()
    for it in data["cells"]:
        cell, run = cell_of(it), it["run"]
        shape = run["n_samples"], run["n_features"], run["n_clusters"], run["n_threads"]
        if cell not in grid:
            return f", cells: {_shape(cell)} is not in the grid"
        if cell in seen:
            return f", cells: {_shape(cell)} is there twice"
        if shape != cell or run["dtype"] != data["grid"]["dtype"]:
            return f", cells, {_shape(cell)}: its run is of another shape"
        seen.add(cell)
    return ""


def _shape(cell: Cell) -> str:
    return f"n = {cell.n}, d = {cell.d}, k = {cell.k}, threads = {cell.threads}"


def hold_to_here(path: Path, data: MapRecord, card: Card) -> None:
    """Raise ``Refused`` where a map is from another machine or another version of the package."""
    if data["kmeans_lab"] != kmeans_lab.__version__:
        raise Refused(
            f"{path} was measured with kmeans_lab {data['kmeans_lab']} and this is "
            f"{kmeans_lab.__version__}, whose kernels may be faster or slower; measure a new map"
        )
    hold_to_machine(str(path), data["machine"], card)
