"""The generated part of the README: ``python -m tests.readme`` rewrites the kernel table."""

from pathlib import Path

from kmeans_lab import KERNELS

README = Path(__file__).parent.parent / "README.md"


def kernel_table() -> str:
    """Return the registry as a Markdown table."""
    lines = ["| kernel | what it is | threads | needs |", "|---|---|---|---|"]
    helps = {"gil": "processes only", "nogil": "threads and processes", "own": "its own"}
    for name, spec in KERNELS.items():
        threads = "one piece of work" if spec.whole else helps[spec.threading]
        needs = ", ".join(spec.requires) or "–"
        lines.append(f"| `{name}` | {spec.summary} | {threads} | {needs} |")
    return "\n".join(lines)


def between(text: str, name: str) -> str:
    """Return what stands between two markers."""
    return text.partition(f"<!-- {name}:begin -->\n")[2].partition(f"<!-- {name}:end -->")[0]


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    old, new = between(text, "kernels"), kernel_table() + "\n"
    marker = "<!-- kernels:begin -->\n"
    README.write_text(text.replace(marker + old, marker + new), encoding="utf-8")
