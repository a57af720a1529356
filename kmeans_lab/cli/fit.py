"""The command ``kmeans-lab fit``: the rows of a file in, their clusters out."""

import argparse
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab.cli.cluster import (
    add_cluster_arguments,
    fit_there,
    on_cluster,
    rows_for_workers,
)
from kmeans_lab.cli.inputs import (
    add_file_arguments,
    answerable,
    file_options,
    refuse_unless_ready,
    usual_file_options,
)
from kmeans_lab.cli.passes import passes_shown
from kmeans_lab.cli.terminal import emit, show
from kmeans_lab.crews.start import MODES
from kmeans_lab.driver import kmeans
from kmeans_lab.empty import POLICIES
from kmeans_lab.formatting import make_table
from kmeans_lab.io.datafiles import DATA_SUFFIXES, read_rows, refuse_unreadable
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.outputs import plan_output, plan_result, result_files
from kmeans_lab.io.paths import either
from kmeans_lab.io.streams import seen_by_a_person
from kmeans_lab.metric import METRICS
from kmeans_lab.registry import KERNELS, SPARSE, find_spec
from kmeans_lab.result import Iteration, KMeansResult
from kmeans_lab.rows.memory import budget
from kmeans_lab.rows.opening import CONTAINERS, ROW_SUFFIXES, as_source, open_rows
from kmeans_lab.rows.source import RowSource
from kmeans_lab.rows.streamed import fits
from kmeans_lab.seeding import INITS
from kmeans_lab.sparse.reading import is_sparse
from kmeans_lab.stopping import STOP_RULES

_SUFFIXES = tuple(dict.fromkeys((*DATA_SUFFIXES, *ROW_SUFFIXES)))
_PATIENCE = 0.5  # seconds before a progress bar appears: on a short fit it would only flicker
_REFRESH = 0.1  # seconds between two pictures of it

_DEFAULTS: dict[str, Any] = {
    name: default for name, default in (kmeans.__kwdefaults__ or {}).items() if name[0] != "_"
}
_CHOICES: dict[str, Iterable[str]] = {
    "kernel": ("auto", *KERNELS),
    "metric": METRICS,
    "init": INITS,
    "stop": STOP_RULES,
    "empty": POLICIES,
    "mode": MODES,
}
_NUMBERS = {
    "n_init": ("--n-init", "repetitions, of which the best is kept"),
    "max_iter": ("--max-iter", "greatest number of iterations"),
    "n_threads": ("--threads", "threads or processes (default 1 in mode serial, else all cores)"),
    "random_state": ("--seed", "seed of the random choices (default: a fresh one)"),
}


def add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans``, which checks their values itself."""
    add = parser.add_argument
    add("data", metavar="DATA", type=Path, help=f"a file: {' '.join(_SUFFIXES)}")
    add("-k", "--clusters", metavar="K", type=int, required=True, help="number of clusters")
    for name, choices in _CHOICES.items():
        add(f"--{name}", metavar="NAME", help=f"{', '.join(choices)} (default {_DEFAULTS[name]})")
    add("--tol", metavar="X", type=float, help="tolerance of the stop rule (default: its own)")
    for name, (flag, text) in _NUMBERS.items():
        default = "" if _DEFAULTS[name] is None else f" (default {_DEFAULTS[name]})"
        add(flag, dest=name, metavar="N", type=int, help=text + default)
    help_of_memory = "bytes for the rows of a file, like 512MB: more are read in each pass"
    add("--memory", metavar="SIZE", help=f"{help_of_memory} (default: half of what is free)")
    text = "an .npy file to write labels to, however many there are"
    add("--labels-output", dest="labels_out", metavar="PATH", type=Path, help=text)
    text = "a file for the progress of a long fit; where it is there, the fit goes on from it"
    add("--resume", metavar="PATH", type=Path, help=text)
    add_cluster_arguments(parser)
    add("-o", "--output", metavar="PATH", type=Path, help="file to write: .npz, or .csv for two")
    add("--force", action="store_true", help="replace an output that exists")
    add("-q", "--quiet", action="store_true", help="no table and no progress bar")
    add_file_arguments(parser)


def fit(arguments: argparse.Namespace) -> None:
    """Cluster the rows of a file; print the result, and write it to a file on request."""
    if not (arguments.json or arguments.quiet):
        make_table()  # a missing extra is better reported before the fit
    output = arguments.output and plan_result(arguments.output, arguments.data, arguments.force)
    if arguments.labels_out is not None:
        plan_output([arguments.labels_out], [arguments.data], arguments.force)
    X = _rows(arguments)
    given = {k: v for k, v in vars(arguments).items() if k in _DEFAULTS and v is not None}
    settings = _DEFAULTS | given
    name = settings["kernel"]
    watched = _progress(X, arguments, settings)
    with answerable(name), fit_there(arguments) as elsewhere, watched as (X, callback):
        try:
            refuse_unless_ready(name)
            if is_sparse(X) and name != "auto" and not find_spec(name).sparse:
                raise Refused(
                    f"--kernel {name} takes no sparse rows, and {arguments.data} has them; choose "
                    f"one of {', '.join(SPARSE)}"
                )
            result = (elsewhere or kmeans)(
                X, arguments.clusters, **settings | {"callback": callback}
            )
        except (ValueError, TypeError) as error:
            said = str(error).replace("metric='euclidean'", "--metric euclidean")
            raise Refused(said) from error
    if output is not None:
        output.write(result_files(arguments.output, result))
    written = [str(path) for path in output.paths] if output else []
    written += [str(arguments.labels_out)] if arguments.labels_out else []
    report = _report(result, settings["metric"], written)
    if arguments.json:
        emit(json.dumps(report, indent=2) + "\n")
    elif not arguments.quiet:
        _show_report(report)


def _rows(arguments: argparse.Namespace) -> Any:
    """Return the rows of a file; its path where they may be read block by block."""
    path: Path = arguments.data
    if on_cluster(arguments):
        _refuse_file_options(arguments, "leave it out")
        return rows_for_workers(path, arguments.array)
    suffix = path.suffix.lower()
    streams = arguments.memory is not None or arguments.mode == "stream"
    if path.is_dir() or (suffix in ROW_SUFFIXES and (streams or suffix not in DATA_SUFFIXES)):
        other = ", or leave --memory and --mode stream out" if streams else ""
        _refuse_file_options(arguments, f"leave it out{other}")
        return path if arguments.array is None else open_rows(path, arguments.array)
    refuse_unreadable(path)
    if suffix == ".npy" and path.stat().st_size > budget(None):
        return path
    if streams:
        raise Refused(
            f"--memory and --mode stream are for files that are read block by block, "
            f"{either(ROW_SUFFIXES)}, and {path} is none; leave them out, or convert it"
        )
    return read_rows(path, **file_options(arguments))


def _refuse_file_options(arguments: argparse.Namespace, remedy: str) -> None:
    """Refuse options of text files and tables, which rows that are read block by block have not."""
    given, usual = file_options(arguments), usual_file_options()
    if arguments.data.suffix.lower() in CONTAINERS:
        del given["array"]
    for name, value in given.items():
        if value != usual[name]:
            raise Refused(
                f"--{name.replace('_', '-')} has no meaning for {arguments.data}, which is read "
                f"block by block; {remedy}"
            )


def _report(result: KMeansResult, metric: str, output: list[str]) -> dict[str, Any]:
    names = ("kernel", "mode", "n_threads", "n_iter", "converged", "stop", "inertia", "seconds")
    return {
        "n_samples": len(result.labels),
        "n_features": result.centers.shape[1],
        "n_clusters": len(result.centers),
        "metric": metric,
        **{name: getattr(result, name) for name in names},
        "counts": np.bincount(result.labels, minlength=len(result.centers)).tolist(),
        "centers": result.centers.tolist(),
        "output": output,
    }


def _show_report(report: dict[str, Any]) -> None:
    seconds, counts = report["seconds"], report["counts"]
    end = "ended" if report["converged"] else "cut off"
    rows = {
        "rows × features": f"{report['n_samples']:,} × {report['n_features']:,}",
        "clusters": f"{len(counts):,}, of {min(counts):,} to {max(counts):,} rows",
        "kernel": f"{report['kernel']}, mode {report['mode']}, threads {report['n_threads']}",
        "iterations": f"{report['n_iter']:,}, {end} by {report['stop']}",
        "inertia": f"{report['inertia']:.10g}",
        "seconds": f"{sum(seconds.values()):.4f}",
        **{f"  {phase}": f"{spent:.4f}" for phase, spent in seconds.items()},
        "written": "\n".join(report["output"]) or "nothing, without --output",
    }
    table = make_table("", "", show_header=False)
    for row in rows.items():
        table.add_row(*row)
    show(table)


@contextmanager
def _progress(
    X: Any, arguments: argparse.Namespace, settings: dict[str, Any]
) -> Iterator[tuple[Any, Any]]:
    """Yield the rows, and a callback that shows a progress bar on stderr; None where it is none.

    Of rows that are read block by block passes are shown: a callback would cost one in each
    iteration, and on a cluster all labels.
    """
    if arguments.quiet or on_cluster(arguments) or not seen_by_a_person():
        yield X, None
    elif (source := _to_be_streamed(X, settings)) is not None:
        with passes_shown(source, arguments.clusters, settings) as rows:
            yield rows, None
    else:
        with _bar(settings["max_iter"]) as callback:
            yield X, callback


def _to_be_streamed(X: Any, settings: dict[str, Any]) -> RowSource | None:
    """Return the rows of a path that the fit will read block by block."""
    if isinstance(X, np.ndarray) or is_sparse(X) or settings["mode"] not in (None, "stream"):
        return None
    source = as_source(X)
    room = budget(settings["memory"])
    return None if source is None or fits(source.shape, source.dtype, room) else source


@contextmanager
def _bar(max_iter: int) -> Iterator[Any]:
    """Yield a callback that shows iterations on stderr."""
    from rich import console, progress

    bar = progress.Progress(
        "iteration {task.completed}/{task.total}",
        progress.BarColumn(bar_width=20),
        "{task.fields[changed]:,} labels changed",
        progress.TimeElapsedColumn(),
        console=console.Console(stderr=True),
        transient=True,
        auto_refresh=False,
    )
    task = bar.add_task("", total=max_iter, changed=0)
    due = perf_counter() + _PATIENCE

    def show(iteration: Iteration) -> None:
        nonlocal due
        if perf_counter() >= due:
            due = perf_counter() + _REFRESH
            bar.start()
            bar.update(task, completed=iteration.n_iter, changed=iteration.changed)
            bar.refresh()

    try:
        yield show
    finally:
        bar.stop()
