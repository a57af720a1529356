"""The output of a study: figures as PNG and SVG, numbers as CSV, claims and text as one page.

What is measured goes to files of its own, ``*-measured.csv``: all other numbers are the same in
every run, and a test holds them to it.
"""

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kmeans_lab.io.outputs import write_file
from kmeans_lab.io.streams import seen_by_a_person

Item = TypeVar("Item")

#: Petroff's ten (2021), in another order: told apart by colour-blind readers, too.
PALETTE = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#92dadd",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#94a4a2",
)  # fmt: skip
INK, FAINT = "#22252b", "#c9ccd2"

_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eceef1",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.dpi": 144,
    "svg.hashsalt": "kmeans_lab",  # names in the file are the same in every run
    "svg.fonttype": "none",
}

#: A row of a table: a cell for each heading, in the order of the columns.
Row = dict[str, Any]

VERDICTS = {True: "holds", False: "does not hold", None: "in part"}


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody says, what was found, and whether it holds (None: in part)."""

    source: str
    words: str
    found: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return VERDICTS[self.holds]


@dataclass
class Notebook:
    """The results of one study.

    Attributes
    ----------
    name, title : str
        The study, and what it asks.
    folder : Path
        Where its files go; each file's name begins with the study's.
    full : bool
        Whether to measure what takes hours.
    claims : list of Claim
    figures : list of (str, str)
        File name of each PNG and its caption.
    files : list of Path
        Everything written so far.
    """

    name: str
    title: str
    folder: Path
    full: bool = False
    claims: list[Claim] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add a paragraph of Markdown to the page."""
        self._parts.append(text)

    def claim(self, source: str, words: str, found: str, holds: bool | None) -> None:
        """Add what a source says and what came of it."""
        self.claims.append(Claim(source, words, found, holds))

    def track(self, items: Iterable[Item], what: str, total: float | None = None) -> Iterator[Item]:
        """Go through items with a progress bar on stderr, where somebody sees it."""
        if not seen_by_a_person():
            yield from items
            return
        from rich.console import Console
        from rich.progress import track

        bar = Console(file=sys.stderr)
        yield from track(items, f"{self.name}: {what}", total, console=bar, transient=True)

    def path(self, ending: str) -> Path:
        """Return the path of a file of this study, which counts as written from now on."""
        path = self.folder / f"{self.name}-{ending}"
        self.files.append(path)
        return path

    def table(
        self,
        ending: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        measured: bool = False,
        shown: bool = False,
    ) -> None:
        """Write rows as CSV, floats with twelve digits; ``shown`` puts them on the page, too."""
        path = self.path(f"{ending}{'-measured' if measured else ''}.csv")
        file = io.StringIO(newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([_plain(value) for value in row.values()] for row in rows)
        write_file(path, file.getvalue())
        if shown:
            self.say(_markdown(rows))

    @contextmanager
    def figure(
        self,
        ending: str,
        caption: str,
        rows: int = 1,
        columns: int = 1,
        size: tuple[float, float] = (6.4, 4.0),
        **options: Any,
    ) -> Iterator[Any]:
        """Yield one Axes, or an array of them (rows, columns), saved as PNG and SVG afterwards.

        The size is in inches; options are those of matplotlib's ``Figure.subplots``.
        """
        with drawing(rows, columns, size, **options) as (figure, axes):
            yield axes
            for path in (self.path(f"{ending}.png"), self.path(f"{ending}.svg")):
                write_file(path, rendered(figure, path.suffix.removeprefix(".")))
        png = self.files[-2]
        self.figures.append((png.name, caption))
        self.say(f"![{caption}]({png.name})\n\n*{caption}*")

    def write_page(self) -> None:
        """Write everything that was said as ``NAME.md``."""
        from kmeans_lab.measure.machine import instruction_set_lines, instruction_sets

        path = self.folder / f"{self.name}.md"
        self.files.append(path)
        parts = [f"# {self.name}", self.title]
        if self.claims:
            parts += ["## What is claimed, and what was found", claims_table(self.claims)]
        parts += ["## How", *self._parts] if self._parts else []
        if any(it.name.endswith("-measured.csv") for it in self.files):
            lines = instruction_set_lines(instruction_sets())
            parts += [f"Measured with the {line}." for line in lines]
        listed = ", ".join(f"[{it.name}]({it.name})" for it in self.files if it.suffix != ".svg")
        write_file(path, "\n\n".join([*parts, f"Files: {listed}", ""]))


@contextmanager
def drawing(rows: int, columns: int, size: tuple[float, float], **options: Any) -> Iterator[Any]:
    """Yield a figure in our style, and one Axes, or an array of them (rows, columns).

    The size is in inches; options are those of matplotlib's ``Figure.subplots``.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots(rows, columns, **options)


def rendered(figure: Any, kind: str) -> bytes:
    """Return a figure as PNG or SVG, which are the same bytes for the same figure."""
    unsaid = {"png": ("Software",), "svg": ("Date", "Creator")}[kind]
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata=dict.fromkeys(unsaid))
    return file.getvalue()


def claims_table(claims: Sequence[Claim]) -> str:
    """Return claims as a table of Markdown."""
    return _markdown(
        [
            {
                "who": it.source,
                "claim": it.words,
                "found": it.found,
                "verdict": f"**{it.verdict}**",
            }
            for it in claims
        ]
    )


def cluster_colors(n_clusters: int) -> list[Any]:
    """Return a colour for each cluster: the palette, or hues a golden angle apart beyond it."""
    if n_clusters <= len(PALETTE):
        return list(PALETTE[:n_clusters])
    from matplotlib.colors import hsv_to_rgb

    return [
        hsv_to_rgb((j * 0.381966 % 1.0, 0.55 + 0.3 * (j % 2), 0.85 - 0.25 * (j % 3 == 2)))
        for j in range(n_clusters)
    ]


def draw_clusters(axes: Any, X: Any, labels: Any, centers: Any = None, **options: Any) -> None:
    """Scatter the first two features of X in their clusters' colours, centers as crosses on top."""
    n_clusters = int(labels.max()) + 1 if centers is None else len(centers)
    colors = cluster_colors(n_clusters)
    options = {"s": 9, "alpha": 0.75, "linewidths": 0, "rasterized": True} | options
    axes.scatter(X[:, 0], X[:, 1], c=[colors[j] if j >= 0 else FAINT for j in labels], **options)
    if centers is not None:
        for size, color in ((9.0, "white"), (7.0, INK)):
            axes.plot(centers[:, 0], centers[:, 1], "X", ms=size, mew=0, color=color)
    axes.grid(visible=False)
    axes.set_aspect("equal")


def _plain(value: Any) -> Any:
    return f"{float(value):.12g}" if isinstance(value, float) else value


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    head = [str(name) for name in rows[0]]
    numeric = [any(isinstance(row[name], int | float) for row in rows) for name in rows[0]]
    lines = [head, ["--:" if right else "---" for right in numeric]]
    lines += [[_short(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return f"{value:,.4g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
