"""The lab's own table: medians, ratios to named baselines, iterations, certificates."""

from dataclasses import dataclass
from itertools import groupby

import pytest
from rich.console import Console
from rich.table import Table

from kmeans_lab.formatting import faster, make_table, milliseconds
from kmeans_lab.measure import tables
from kmeans_lab.measure.schema import RunRecord
from kmeans_lab.presets import find_preset

#: Ratios are against these kernels, by name: a ratio to "the best" changes its meaning run by run.
BASELINES = ("python", "cpp")


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel in one group; without seconds it has no number, and the certificate says why."""

    group: str
    kernel: str
    seconds: float | None = None
    certificate: str = ""


def ratio(row: Row, baseline: Row | None) -> str:
    """Say how many times faster or slower than the baseline a row is."""
    if row.seconds is None or baseline is None or baseline.seconds is None:
        return "–"
    return "1" if row is baseline else faster(baseline.seconds / row.seconds)


def group_table(group: str, rows: list[Row]) -> Table:
    """Lay out one group."""
    by_name = {row.kernel: row for row in rows}
    right = ("median ms", *(f"vs {name}" for name in BASELINES))
    whole = ("kernel", *right)
    table: Table = make_table(*whole, "certificate", right=right, whole=whole, title=group)
    for row in rows:
        table.add_row(
            row.kernel,
            "–" if row.seconds is None else milliseconds(row.seconds),
            *(ratio(row, by_name.get(name)) for name in BASELINES),
            row.certificate,
            style="red" if row.certificate.startswith("INVALID") else "",
        )
    return table


def print_tables(
    reporter: pytest.TerminalReporter,
    runs: list[RunRecord],
    rows: list[Row],
    notes: list[str],
    preset_name: str,
) -> None:
    """Write the paired runs of whole fits, then the tables of all groups as they ran."""
    preset = find_preset(preset_name)
    console = Console(
        width=max(reporter._tw.fullwidth, 80),
        force_terminal=reporter.hasmarkup,
        no_color=not reporter.hasmarkup,
        highlight=False,
    )
    with console.capture() as capture:
        for run in runs:
            console.print(*tables.of_run(run), "", sep="\n")
        for group, members in groupby(rows, key=lambda row: row.group):
            console.print(group_table(group, list(members)))
        console.print(
            f"preset {preset_name}: {preset.n_samples} × {preset.n_features} {preset.dtype}, "
            f"k = {preset.n_clusters}; same X, same starting centers, one thread for everybody; "
            "ratios of medians"
        )
        for line in notes:
            console.print(line, style="dim", soft_wrap=True)
    reporter.section("kmeans_lab")
    reporter.write(capture.get())
