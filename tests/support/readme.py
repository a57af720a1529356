"""The generated parts of the README: ``python -m tests.support.readme`` rewrites them.

The kernel table is the registry; the benchmarks are runs of ``kmeans-lab bench`` that are kept in
docs/runs. A fresh one goes there with ``--force --output docs/runs/standard.json``; one with AVX2,
under the variables that the README names, with ``--force --output docs/runs/standard-avx2.json``.
"""

from pathlib import Path
from textwrap import indent

from kmeans_lab import KERNELS
from kmeans_lab.formatting import as_text
from kmeans_lab.measure import machine, record, tables

README = Path(__file__).parents[2] / "README.md"
RUN = README.parent / "docs" / "runs" / "standard.json"
NARROW = RUN.with_name("standard-avx2.json")


def kernel_table() -> str:
    """Return the registry as a Markdown table."""
    lines = ["| kernel | what it is | threads | needs |", "|---|---|---|---|"]
    helps = {"gil": "processes only", "nogil": "threads and processes", "own": "its own"}
    for name, spec in KERNELS.items():
        threads = "one piece of work" if spec.whole else helps[spec.threading]
        needs = ", ".join(spec.requires) or "–"
        lines.append(f"| `{name}` | {spec.summary} | {threads} | {needs} |")
    return "\n".join(lines)


def benchmark() -> str:
    """Return the run that is kept, as it was printed."""
    data = record.read(RUN)
    (run,) = data["runs"]
    card = machine.lines(data["machine"])
    return indent(as_text(*tables.of_run(run), "", *card), "    ")


def benchmark_with_avx2() -> str:
    """Return the ratios of the run that was kept to AVX2, and what it was measured on."""
    data = record.read(NARROW)
    (run,) = data["runs"]
    ratios = tables.of_run(run)[0]
    return indent(as_text(ratios, "", *machine.lines(data["machine"])[:4]), "    ")


def between(text: str, name: str) -> str:
    """Return what stands between two markers."""
    return text.partition(f"<!-- {name}:begin -->\n")[2].partition(f"<!-- {name}:end -->")[0]


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    parts = {"kernels": kernel_table(), "bench": benchmark(), "bench-avx2": benchmark_with_avx2()}
    for name, new in parts.items():
        marker = f"<!-- {name}:begin -->\n"
        text = text.replace(marker + between(text, name), f"{marker}{new}\n")
    README.write_text(text, encoding="utf-8")
