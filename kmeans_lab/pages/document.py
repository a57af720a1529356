"""The frame of the pages that the lab writes: one file, one style, no script, nothing fetched."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from kmeans_lab.pages.blocks import notes, section

_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def document(title: str, about: str, sections: Sequence[str]) -> str:
    """Return a whole page; ``sections`` are HTML, the other two plain text."""
    body = "\n".join(sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kmeans_lab: {escape(title)}</title>
<style>
{_STYLE}</style>
</head>
<body>
<header><h1>kmeans_lab</h1><p>{escape(about)}</p></header>
<main>
{body}
</main>
</body>
</html>
"""


def measured_on(lines: Sequence[str]) -> str:
    """Return the section that describes the machine."""
    return section("Measured on", notes(lines))
