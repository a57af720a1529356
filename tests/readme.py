"""The generated parts of the README: ``python -m tests.readme`` rewrites them.

The kernel table is the registry; the benchmark is a run of ``kmeans-lab bench`` that is kept in
docs/runs, where a fresh one goes with ``--force --output docs/runs/standard.json``.
"""

from pathlib import Path
from textwrap import indent

from kmeans_lab import KERNELS
from kmeans_lab.measure import machine, record, report
from kmeans_lab.terminal import as_text

README = Path(__file__).parent.parent / "README.md"
RUN = README.parent / "docs" / "runs" / "standard.json"


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
    return indent(as_text(*report.tables(run), "", *card), "    ")


def between(text: str, name: str) -> str:
    """Return what stands between two markers."""
    return text.partition(f"<!-- {name}:begin -->\n")[2].partition(f"<!-- {name}:end -->")[0]


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    for name, new in (("kernels", kernel_table()), ("bench", benchmark())):
        marker = f"<!-- {name}:begin -->\n"
        text = text.replace(marker + between(text, name), f"{marker}{new}\n")
    README.write_text(text, encoding="utf-8")
