"""The decision guide: ``python -m kmeans_lab.choosing.guide RUN.json OVERHEAD.json choosing.md``.

RUN is what ``kmeans-lab bench --baseline numpy --output`` wrote, and OVERHEAD what ``kmeans-lab
overhead --output`` wrote on the same machine. What stands between the markers of the page is
written anew: tables, and advice whose numbers are from these files. An advice is left out where a
kernel that it rests on was not measured.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import TypedDict

from kmeans_lab.choosing import KEPT
from kmeans_lab.choosing.advice import advice
from kmeans_lab.choosing.record import OverheadRecord, read
from kmeans_lab.choosing.tool import NUMBERS, WORDS, Tool, number_cells, tools_of, word_cells
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.outputs import write_file
from kmeans_lab.measure import machine
from kmeans_lab.measure.record import read as read_run
from kmeans_lab.measure.schema import BenchRecord, RunRecord

_LINES = 4  # of the machine card
BEGIN, END = "<!-- {}:begin -->", "<!-- {}:end -->"


class Kept(TypedDict):
    """The tables of the guide: a header and rows of text each, and where they were made."""

    setting: str
    machine: list[str]
    numbers: list[list[str]]
    words: list[list[str]]


def tables(tools: dict[str, Tool]) -> list[str]:
    """Return both tables as Markdown, and a sentence for each kernel that could not run."""
    ready = [it for it in tools.values() if it.costs["state"] == "ready"]
    absent = [it.costs for it in tools.values() if it.costs["state"] != "ready"]
    return [
        _markdown(NUMBERS, map(number_cells, ready), right=True),
        _markdown(WORDS, map(word_cells, ready), right=False),
        *(f"- `{it['kernel']}` is {it['state']} here: {it['why']}." for it in absent),
    ]


def _markdown(headers: Sequence[str], rows: Iterable[list[str]], *, right: bool) -> str:
    rules = ["---", *["---:" if right else "---"] * (len(headers) - 1)]
    lines = [headers, rules, *([f"`{name}`", *cells] for name, *cells in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_guide(page: Path, data: BenchRecord, overhead: OverheadRecord) -> None:
    """Write tables and advice between the markers of a page; the rest of it stays as it is."""
    tools = tools_of(data, overhead)
    where = " · ".join(machine.lines(data["machine"])[:_LINES])
    text = page.read_text(encoding="utf-8")
    text = _between(text, "advice", "\n".join(map(_wrapped, advice(tools))))
    parts = [_setting(data["runs"][0]), *tables(tools), where]
    text = _between(text, "choosing", "\n\n".join(parts))
    write_file(page, text.encode())


def kept(data: BenchRecord, overhead: OverheadRecord) -> Kept:
    """Return the tables as the page in the browser shows them."""
    ready = [it for it in tools_of(data, overhead).values() if it.costs["state"] == "ready"]
    return {
        "setting": _setting(data["runs"][0]).replace("`", ""),
        "machine": machine.lines(data["machine"])[:_LINES],
        "numbers": [list(NUMBERS), *map(number_cells, ready)],
        "words": [list(WORDS), *map(word_cells, ready)],
    }


def _wrapped(text: str) -> str:
    """Break a sentence into lines, but not between a number and its unit."""
    text = re.sub(r"(\d) (s|ms|µs|%|×|MiB|KiB)(?!\w)", "\\1\u00a0\\2", text)
    return fill(text, 118, subsequent_indent="  ", break_on_hyphens=False).replace("\u00a0", " ")


def _setting(run: RunRecord) -> str:
    shape = f"{run['n_samples']:,} × {run['n_features']} {run['dtype']}, k = {run['n_clusters']}"
    return (
        f"Whole fits of the preset `{run['preset']}` ({shape}) on one thread, each certified. "
        "Ratios are medians over rounds of the ratio within a round; their intervals hold together "
        "with 95 %, and what differs by less than NumPy does from itself is not resolved."
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
        records = read_run(run), read(overhead)
        write_guide(page, *records)
        text = json.dumps(kept(*records), indent=1, ensure_ascii=False)
        write_file(KEPT, f"{text}\n".encode())
    except Refused as error:
        print(f"guide: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main(sys.argv[1:])
