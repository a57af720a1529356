"""The section on what kernels cost beside their speed."""

from kmeans_lab.choosing.record import CostsRecord, OverheadRecord
from kmeans_lab.choosing.tables import CALLS, NOTE, OTHERS, call_cells, other_cells, reasons
from kmeans_lab.pages.blocks import notes, part, section, table

_WORDS = ("kernel", "debugger and tracebacks", "wheels")


def overhead(data: OverheadRecord | None) -> str:
    """Return the section, or nothing without a record."""
    if data is None:
        return ""
    kernels = data["kernels"]
    said = [it for it in kernels if it["debugging"] or it["wheels"]]
    return section(
        "Beside the speed",
        part(
            "Calls that do nothing", table(CALLS, [(_look(it), call_cells(it)) for it in kernels])
        ),
        part(
            "Builds and installations",
            table(OTHERS, [(_look(it), other_cells(it)) for it in kernels], numbers=True),
        ),
        part("In words", table(_WORDS, [("words", _words(it)) for it in said])),
        notes([NOTE, *reasons(data)]),
    )


def _look(it: CostsRecord) -> str:
    return "" if it["state"] == "ready" else it["state"]


def _words(it: CostsRecord) -> list[str]:
    return [it["kernel"], it["debugging"] or "–", it["wheels"] or "–"]
