"""Turn a map into a calibration: what ``kernel="auto"`` is for which fits on this machine.

Only kernels whose results have the same bits are compared, and only those that need not be compiled
in each process: the map does not count the first fit. Where none of them is faster than what
``kernel="auto"`` is without a calibration, for certain, that remains.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmeans_lab.io.errors import Refused
from kmeans_lab.io.outputs import write_file
from kmeans_lab.isolation.availability import choose_kernel, state_of
from kmeans_lab.registry import ALIKE, KERNELS
from kmeans_lab.winners import choice
from kmeans_lab.winners.grid import Cell
from kmeans_lab.winners.record import MapRecord, cell_of
from kmeans_lab.winners.verdict import Verdict, judge


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a map says about ``kernel="auto"``.

    Attributes
    ----------
    usual : str
        What "auto" is without a calibration.
    choices : dict of Cell to str
        The kernel for each cell that has a verdict.
    dtype : {"float64", "float32"}
    """

    usual: str
    choices: dict[Cell, str]
    dtype: str

    @property
    def changed(self) -> dict[Cell, str]:
        """The cells in which another kernel is chosen."""
        return {cell: name for cell, name in self.choices.items() if name != self.usual}


def eligible() -> list[str]:
    """Return the kernels that a calibration chooses among."""
    return [
        name
        for name in ALIKE
        if not KERNELS[name].compiles_on_first_call and state_of(name)[0] == "ready"
    ]


def calibrate(data: MapRecord) -> Calibration:
    """Return the calibration that follows from a map.

    Raises
    ------
    Refused
        The map compares fewer than two kernels whose bits are the same.
    """
    usual, names = choose_kernel(), eligible()
    compared = [name for name in names if name in data["kernels"]]
    if usual not in compared or len(compared) < 2:
        among = " and ".join(names)
        raise Refused(
            f"the map has {', '.join(compared) or 'none'} of the kernels whose results have the "
            f"same bits, and must have two, {usual} among them; measure one with {among}"
        )
    choices = {}
    for it in data["cells"]:
        verdict = judge(it["run"], compared)
        if usual in _measured(it["run"]) and verdict.leaders:
            choices[cell_of(it)] = _choose(verdict, usual)
    return Calibration(usual, choices, data["grid"]["dtype"])


def _measured(run: Any) -> Sequence[str]:
    return [it["name"] for it in run["contestants"] if it["seconds"]]


def _choose(verdict: Verdict, usual: str) -> str:
    """Return the kernel for a cell: another than the usual one only if it wins for certain."""
    return usual if verdict.winner is None else verdict.winner


def store(found: Calibration) -> Path:
    """Write a calibration where fits on this machine look for it; return where.

    Those of the other dtype stay.
    """
    path = place()
    kept = []
    if path.exists():
        kept = [it for it in _written(path) if it.get("dtype") != found.dtype]
    own = [
        {**cell._asdict(), "dtype": found.dtype, "kernel": name}
        for cell, name in sorted(found.choices.items())
    ]
    data = {
        "format": choice.FORMAT,
        "version": choice.VERSION,
        "kmeans_lab": choice.version_here(),
        "machine": choice.identity(),
        "choices": [*kept, *own],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(data, indent=1) + "\n")
    choice.forget_read()
    return path


def _written(path: Path) -> list[dict[str, Any]]:
    """Return the choices of a calibration that this machine can use; none of another."""
    try:
        choice.read(path)
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["choices"]
    except (OSError, ValueError):
        return []
    return found


def place() -> Path:
    """Return where the calibration of this machine belongs, whether it is there or not."""
    if (path := choice.file_here()) is not None:
        return path
    if choice.is_off():
        raise Refused(
            f"{choice.VARIABLE}={choice.OFF} asks for no calibration; unset it, or let it name a "
            "file"
        )
    if (folder := choice.folder_here()) is None:
        raise Refused(
            f"there is no home folder for a calibration; let {choice.VARIABLE} name a file"
        )
    return folder / choice.file_name()


def forget() -> Path | None:
    """Remove the calibration of this machine; return where it was, None where there was none."""
    path = place()
    if not path.exists():
        return None
    path.unlink()
    choice.forget_read()
    return path
