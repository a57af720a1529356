"""The generated parts of the pages: ``python -m tests.support.readme`` rewrites them.

The kernel table is the registry; the benchmarks are runs of ``kmeans-lab bench`` that are kept in
docs/runs. A fresh one goes there with ``--force --output docs/runs/standard.json``; one with AVX2,
under the variables that docs/results.md names, with ``--output docs/runs/standard-avx2.json``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import indent

from kmeans_lab import KERNELS
from kmeans_lab.formatting import as_text
from kmeans_lab.measure import machine, record, tables
from kmeans_lab.registry import FLAGSHIP

README = Path(__file__).parents[2] / "README.md"
DOCS = README.parent / "docs"
RUN = DOCS / "runs" / "standard.json"
#: The first table: the five tools of the same loops, NumPy's product among them, and the flagship.
FIRST = ("python", "numpy", "numba", "cython", "cpp", FLAGSHIP)
NARROW = DOCS / "runs" / "standard-avx2.json"


def kernel_table() -> str:
    """Return the registry as a Markdown table."""
    lines = ["| kernel | what it is | threads | sparse rows | needs |", "|---|---|---|---|---|"]
    helps = {"gil": "processes only", "nogil": "threads and processes", "own": "its own"}
    for name, spec in KERNELS.items():
        threads = "one piece of work" if spec.whole else helps[spec.threading]
        needs = ", ".join(spec.requires) or "–"
        sparse = "yes" if spec.sparse else "–"
        lines.append(f"| `{name}` | {spec.summary} | {threads} | {sparse} | {needs} |")
    return "\n".join(lines)


def whole(kept: Path) -> str:
    """Return a run that is kept, as it was printed."""
    data = record.read(kept)
    (run,) = data["runs"]
    return indent(as_text(*tables.of_run(run), "", *machine.lines(data["machine"])), "    ")


def ratios(kept: Path, only: Sequence[str] = ()) -> str:
    """Return the ratios of a run that is kept, and what it was measured on.

    ``only``: kernels, and the baseline's twin; by default all.
    """
    data = record.read(kept)
    (run,) = data["runs"]
    if only:
        run["contestants"] = [
            it for it in run["contestants"] if it["kernel"] in only or tables.is_twin(run, it)
        ]
    card = machine.lines(data["machine"])[:4]  # without the compilers' flags
    return indent(as_text(tables.of_run(run)[0], "", *card), "    ")


def parts() -> Iterator[tuple[Path, str, str]]:
    """Yield each generated part: the page, the name in its markers, the text between them."""
    yield README, "bench", ratios(RUN, FIRST)
    yield DOCS / "kernels.md", "kernels", kernel_table()
    yield DOCS / "results.md", "bench", whole(RUN)
    yield DOCS / "results.md", "bench-avx2", ratios(NARROW)


def between(text: str, name: str) -> str:
    """Return what stands between two markers."""
    return text.partition(f"<!-- {name}:begin -->\n")[2].partition(f"<!-- {name}:end -->")[0]


if __name__ == "__main__":
    for page, name, new in parts():
        text = page.read_text(encoding="utf-8")
        before, after = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        old = before + between(text, name) + after
        page.write_text(text.replace(old, f"{before}{new}\n{after}"), encoding="utf-8")
