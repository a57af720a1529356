"""The table of ``kmeans-lab overhead``, cell by cell: the same for terminal, HTML and Markdown."""

from typing import Any

from kmeans_lab.choosing.record import CostsRecord, OverheadRecord
from kmeans_lab.formatting import digits, make_table, memory_size

#: Headers of the columns of ``call_cells`` and ``other_cells``.
CALLS = ("kernel", "call ns", "interval", "empty calls", "GIL")
OTHERS = ("kernel", "import ms", "first call s", "build s", "lines", "binary", "packages")
NOTE = (
    "Call: update, with four arrays that hold no rows; all "
    "intervals together hold with 95%. Empty calls: how many calls of a Python function that does "
    "nothing take as long. First call: compiling, with nothing cached; build: the compiler, when "
    "the kernel was installed. Lines: of its sources, without blank ones and comments. Binary: its "
    "compiled files; packages: what a user must install beyond NumPy and kmeans_lab."
)
_GIL = {"gil": "held", "nogil": "released", "own": "released, own threads"}
_STYLES = {"broken": "red", "unavailable": "yellow"}


def call_cells(it: CostsRecord) -> list[str]:
    """Return a row of the table of calls: dashes where a kernel cannot run."""
    call, times = it["call"], it["times_empty"]
    if call is None or times is None:
        return [it["kernel"], *["–"] * 3, _GIL[it["threading"]]]
    ends = f"{_ns(call['low'])}–{_ns(call['high'])}"
    return [
        it["kernel"],
        _ns(call["middle"]),
        ends,
        digits(times["middle"]),
        _GIL[it["threading"]],
    ]


def other_cells(it: CostsRecord) -> list[str]:
    """Return a row of the table of all other costs: dashes where something does not apply."""
    imports, packages = it["imports"], it["packages"]
    return [
        it["kernel"],
        "–" if imports is None else digits(1e3 * imports),
        *(
            "–" if seconds is None else digits(seconds)
            for seconds in (it["compiles"], it["builds"])
        ),
        "–" if it["lines"] is None else f"{it['lines']:,}",
        "–" if it["binary"] is None else memory_size(it["binary"]),
        "–" if packages is None else memory_size(packages) if packages else "none",
    ]


def reasons(data: OverheadRecord) -> list[str]:
    """Return a sentence for each kernel that has no numbers."""
    return [f"{it['kernel']}: {it['why']}" for it in data["kernels"] if it["state"] != "ready"]


def of_overhead(data: OverheadRecord) -> list[Any]:
    """Return what was found as tables and lines."""
    calls = make_table(*CALLS, right=CALLS[1:-1], whole=CALLS)
    others = make_table(*OTHERS, right=OTHERS[1:], whole=OTHERS)
    for it in data["kernels"]:
        style = _STYLES.get(it["state"])
        calls.add_row(*call_cells(it), style=style)
        others.add_row(*other_cells(it), style=style)
    return [calls, "", others, "", NOTE, *(f"\n{sentence}" for sentence in reasons(data))]


def _ns(seconds: float) -> str:
    return digits(1e9 * seconds)
