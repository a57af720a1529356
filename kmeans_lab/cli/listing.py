"""The commands ``kmeans-lab kernels`` and ``kmeans-lab presets``, which list what is available."""

import argparse
import json
from dataclasses import asdict
from itertools import groupby
from typing import Any

from kmeans_lab.cli.terminal import emit, show, tell
from kmeans_lab.formatting import make_table
from kmeans_lab.isolation.availability import outdone, reason_of, state_as_listed, state_of
from kmeans_lab.registry import KERNELS, find_spec, installed, load_kernel

_UNTRIED = (
    "installed: not imported for this table, which may take long; kmeans-lab kernels --try imports "
    "each kernel of another package in a process of its own"
)


def add_kernels_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab kernels``."""
    parser.add_argument(
        "--try",
        dest="tried",
        action="store_true",
        help="import those of other packages, each in a process of its own",
    )


def list_kernels(arguments: argparse.Namespace) -> None:
    """List the kernels, and whether each can run here."""
    entries = [_kernel_entry(name) for name in KERNELS]
    entries += _tried() if arguments.tried else [_entry_as_listed(name) for name in installed()]
    if arguments.json:
        for sentence in outdone():
            tell(f"{sentence}")
        return emit(json.dumps(entries, indent=2) + "\n")
    table = make_table("kernel", "state", "threading", "dtypes", "sparse", "summary")
    styles = {"ready": None, "installed": None, "unavailable": "yellow", "broken": "red"}
    for entry in entries:
        dtypes = " ".join(entry["dtypes"]).replace("float", "f")
        about = entry["summary"] + (f"\n{entry['build']}" if entry["build"] else "")
        sparse = "yes" if entry["sparse"] else "–"
        cells = (entry["name"], entry["state"], entry["threading"], dtypes, sparse, about)
        table.add_row(*cells, style=styles[entry["state"]])
    reasons = [entry["reason"] for entry in entries if entry["reason"]]
    untried = [_UNTRIED] * any(entry["state"] == "installed" for entry in entries)
    return show(table, *(f"\n{reason}" for reason in [*untried, *reasons, *outdone()]))


def _tried() -> list[dict[str, Any]]:
    from kmeans_lab.isolation.kernel_child import survey

    entries = []
    for name, it in survey(installed()).items():  # imports no kernel into this process
        told = {"name": name, "state": it["state"], "reason": it["reason"], "build": it["build"]}
        entries.append(told | it["spec"])
    return entries


def _entry_as_listed(name: str) -> dict[str, Any]:
    state, reason = state_as_listed(name)
    told = {"name": name, "state": state, "reason": reason, "build": None}
    return told | asdict(installed()[name].listed())


def _kernel_entry(name: str) -> dict[str, Any]:
    state = state_of(name)[0]
    build = getattr(load_kernel(name), "BUILD", None) if state == "ready" else None
    told = {"name": name, "state": state, "reason": reason_of(name), "build": build}
    return told | asdict(find_spec(name))


def list_presets(arguments: argparse.Namespace) -> None:
    """List the standard workloads."""
    from kmeans_lab.presets import PRESETS

    if arguments.json:
        entries = [{"name": name} | asdict(preset) for name, preset in PRESETS.items()]
        known = [{k: v for k, v in entry.items() if not callable(v)} for entry in entries]
        return emit(json.dumps(known, indent=2) + "\n")
    headers = ("preset", "rows", "d", "k", "max_iter", "dtype", "stop, tol")
    rows = {}
    for name, p in PRESETS.items():
        shape = (f"{p.n_samples:,}", f"{p.n_features:,}", f"{p.n_clusters:,}")
        max_iter = f"{p.n_init} × {p.max_iter}" if p.n_init > 1 else str(p.max_iter)
        stop = p.stop if p.tol is None else f"{p.stop} {p.tol:g}"
        rows[name] = (f"  {name}", *shape, max_iter, p.dtype.replace("float", "f"), stop)
    # A summary is wider than any column: it stands above a table of its own, of the same widths.
    widths = [max(map(len, column)) for column in zip(headers, *rows.values(), strict=True)]
    style: Any = {"widths": widths, "right": ("rows", "d", "k", "max_iter")}
    tables = [make_table(*headers, **style)]
    for summary, group in groupby(PRESETS, lambda name: PRESETS[name].summary):
        tables.append(make_table(*headers, **style, title=summary, show_header=False))
        for name in group:
            tables[-1].add_row(*rows[name])
    return show(*tables)
