"""The decision guide: ``python -m kmeans_lab.choosing.guide RUN.json OVERHEAD.json choosing.md``.

RUN is what ``kmeans-lab bench --baseline numpy --output`` wrote, and OVERHEAD what ``kmeans-lab
overhead --output`` wrote on the same machine. What stands between the markers of the page is
written anew: tables, and advice whose numbers are from these files. An advice is left out where a
kernel that it rests on was not measured.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from kmeans_lab.choosing.advice import advice
from kmeans_lab.choosing.record import OverheadRecord, read
from kmeans_lab.choosing.tool import Tool, tools_of
from kmeans_lab.formatting import digits, memory_size
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.outputs import write_file
from kmeans_lab.measure import machine
from kmeans_lab.measure.record import read as read_run
from kmeans_lab.measure.schema import BenchRecord, RunRecord

BEGIN, END = "<!-- {}:begin -->", "<!-- {}:end -->"
_NUMBERS = (
    *("kernel", "a fit, ms", "gain over NumPy", "lines", "build s", "import s", "first call s"),
    *("to install", "a call, µs"),
)
_WORDS = ("kernel", "debugger and tracebacks", "GIL", "threads", "a wheel for")
_GIL = {"gil": "held", "nogil": "released", "own": "released"}
_THREADS = {
    "gil": "processes only",
    "nogil": "the driver's",
    "own": "its own",
}


def tables(tools: dict[str, Tool]) -> list[str]:
    """Return both tables as Markdown, and a sentence for each kernel that could not run."""
    ready = [it for it in tools.values() if it.costs["state"] == "ready"]
    absent = [it.costs for it in tools.values() if it.costs["state"] != "ready"]
    return [
        _markdown(_NUMBERS, map(_numbers, ready), right=True),
        _markdown(_WORDS, map(_words, ready), right=False),
        *(f"- `{it['kernel']}` is {it['state']} here: {it['why']}." for it in absent),
    ]


def _numbers(it: Tool) -> list[str]:
    costs = it.costs
    gain = "–"
    if it.gain is not None:
        ends = f" ({digits(it.bounds[0])}–{digits(it.bounds[1])})" if it.bounds[0] != 1 else ""
        gain = f"{digits(it.gain)} ×{ends}"
    return [
        f"`{costs['kernel']}`",
        "–" if it.seconds is None else digits(1e3 * it.seconds),
        gain,
        "–" if costs["lines"] is None else f"{costs['lines']:,}",
        "–" if costs["builds"] is None else digits(costs["builds"]),
        "–" if costs["imports"] is None else digits(costs["imports"]),
        digits(it.first),
        memory_size(it.size) if it.size else "nothing",
        digits(it.call),
    ]


def _words(it: Tool) -> list[str]:
    how = it.costs["threading"]
    told = it.costs["debugging"], _GIL[how], _THREADS[how], it.costs["wheels"]
    return [f"`{it.costs['kernel']}`", *(text or "–" for text in told)]


def _markdown(headers: Sequence[str], rows: Iterable[list[str]], *, right: bool) -> str:
    rules = ["---", *["---:" if right else "---"] * (len(headers) - 1)]
    lines = [headers, rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_guide(page: Path, data: BenchRecord, overhead: OverheadRecord) -> None:
    """Write tables and advice between the markers of a page; the rest of it stays as it is."""
    tools = tools_of(data, overhead)
    where = " · ".join(machine.lines(overhead["machine"])[:4])
    text = page.read_text(encoding="utf-8")
    text = _between(text, "advice", "\n".join(advice(tools)))
    text = _between(
        text, "choosing", "\n\n".join([_setting(data["runs"][0]), *tables(tools), where])
    )
    write_file(page, text.encode())


def _setting(run: RunRecord) -> str:
    shape = f"{run['n_samples']:,} × {run['n_features']} {run['dtype']}, k = {run['n_clusters']}"
    return (
        f"Whole fits of the preset `{run['preset']}` ({shape}) on one thread, each certified. "
        "Gains are medians of the ratios within rounds; their intervals hold together with 95 %."
    )


def _between(text: str, name: str, new: str) -> str:
    begin, end = BEGIN.format(name), END.format(name)
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise Refused(f"the page has no {begin} … {end}; put both where the text belongs")
    return f"{head}{begin}\n{new}\n{end}{tail}"


def main(arguments: Sequence[str]) -> None:
    """Write the guide; a refusal ends the process with a sentence and status 2."""
    run, overhead, page = map(Path, arguments)
    try:
        write_guide(page, read_run(run), read(overhead))
    except Refused as error:
        print(f"guide: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main(sys.argv[1:])
