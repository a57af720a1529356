"""The command line: ``kmeans-lab``, or ``python -m kmeans_lab``.

Input that is refused costs one sentence and exit status 2; a traceback is a bug of ours. Tables
and progress bars need the extra ``cli``; ``--json`` does not.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn

import numpy as np

import kmeans_lab
from kmeans_lab.cli import bench as bench
from kmeans_lab.cli import kernel as look
from kmeans_lab.cli.compress import add_compress_arguments, compress_image
from kmeans_lab.cli.kernel_arguments import answerable, refuse_unless_ready
from kmeans_lab.cli.serve import add_serve_arguments, serve
from kmeans_lab.cli.study import add_study_arguments, study
from kmeans_lab.cli.terminal import (
    emit,
    hold_streams,
    make_table,
    refuse_closed_output,
    seen_by_a_person,
    show,
    spell_out,
    tell,
)
from kmeans_lab.cli.text_arguments import add_text_arguments, text_options
from kmeans_lab.crews.processes import WorkerDiedError
from kmeans_lab.crews.start import MODES
from kmeans_lab.driver import kmeans
from kmeans_lab.empty import POLICIES
from kmeans_lab.errors import MissingExtra, Refused
from kmeans_lab.io.datafiles import DATA_SUFFIXES, read_rows
from kmeans_lab.io.outputs import plan_result, result_files
from kmeans_lab.isolation.availability import outdone, reason_of, state_of
from kmeans_lab.registry import KERNELS, KernelUnavailable, find_spec, installed, load_kernel
from kmeans_lab.result import Iteration, KMeansResult
from kmeans_lab.seeding import INITS
from kmeans_lab.stopping import STOP_RULES

_PATIENCE = 0.5  # seconds before a progress bar appears: on a short fit it would only flicker
_REFRESH = 0.1  # seconds between two pictures of it

REFUSALS = (Refused, MissingExtra, KernelUnavailable, WorkerDiedError, MemoryError, OSError)

_DEFAULTS: dict[str, Any] = dict(kmeans.__kwdefaults__ or {})
_CHOICES: dict[str, Iterable[str]] = {
    "kernel": ("auto", *KERNELS),
    "init": INITS,
    "stop": STOP_RULES,
    "empty": POLICIES,
    "mode": MODES,
}
_NUMBERS = {
    "n_init": ("--n-init", "repetitions, of which the best is kept"),
    "max_iter": ("--max-iter", "iterations at most"),
    "n_threads": ("--threads", "threads or processes (default 1 in mode serial, else all cores)"),
    "random_state": ("--seed", "seed of the random choices (default: a fresh one)"),
}


class _Parser(argparse.ArgumentParser):
    """argparse with our way of refusing and of writing."""

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message}; see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        emit(self.format_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on ``argv``, by default the process's own, and return the exit status.

    0; 1: something that was measured has no certificate or does not count; 2: input is refused;
    130: Ctrl-C (128 + SIGINT); 141: our reader is gone (128 + SIGPIPE).
    """
    hold_streams()
    spell_out()
    try:
        arguments = _parser().parse_args(argv)
        if not getattr(arguments, "quiet", False):
            refuse_closed_output()  # before the work, which may be long
        with warnings.catch_warnings():
            warnings.showwarning = _warn  # type: ignore[assignment]
            arguments.run(arguments)
    except REFUSALS as error:
        tell(f"error: {_sentence(error)}")
        return 2
    except bench.Uncertified as error:
        tell(f"{error}")
        return 1
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
    except SystemExit as end:  # --help, or nobody reads our output any more
        return int(end.code or 0)
    return 0


def _warn(message: Warning | str, *_: Any) -> None:
    """Show a warning as the sentence that it is, without a line of our source."""
    lines = str(message).splitlines() or [""]  # those of other packages may go on with a traceback
    tell(f"warning: {lines[0]}")


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f"{str(error) or 'out of memory'}; use fewer rows or float32"
    if isinstance(error, OSError) and error.strerror:
        what = "a file" if error.filename is None else error.filename
        return f"{what} cannot be used ({error.strerror}); check the path, and room on the disk"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("kmeans-lab", description="A k-means kernel laboratory.", allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(run=_version)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, run, add_arguments, text in (
        ("kernels", _kernels, None, "list the kernels and whether they can run here"),
        ("fit", _fit, _add_fit_arguments, "cluster the rows of a file"),
        (
            "compress",
            compress_image,
            add_compress_arguments,
            "write an image in k colours that k-means chooses",
        ),
        ("presets", _presets, None, "list the standard workloads"),
        ("bench", bench.run, bench.add_arguments, "measure kernels in paired rounds, certified"),
        ("report", bench.report, bench.add_report_arguments, "write a run as one HTML page"),
        ("check", look.check, look.add_check_arguments, "ask a kernel what the contract promises"),
        (
            "explain",
            look.explain,
            look.add_explain_arguments,
            "hold a kernel against what the machine can do at most",
        ),
        ("profile", look.profile, look.add_profile_arguments, "say where the time of a fit goes"),
        (
            "scaling",
            look.scaling,
            look.add_scaling_arguments,
            "say how a fit's time falls with workers and grows with size",
        ),
        ("study", study, add_study_arguments, "try what is said about k-means"),
        ("serve", serve, add_serve_arguments, "race kernels on a page in the browser"),
    ):
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        if add_arguments is not None:
            add_arguments(command)
    return parser


def _add_fit_arguments(fit: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans``, which refuses wrong values itself, in its own words."""
    add = fit.add_argument
    add("data", metavar="DATA", type=Path, help=f"a file: {' '.join(DATA_SUFFIXES)}")
    add("-k", "--clusters", metavar="K", type=int, required=True, help="number of clusters")
    for name, choices in _CHOICES.items():
        add(f"--{name}", metavar="NAME", help=f"{', '.join(choices)} (default {_DEFAULTS[name]})")
    add("--tol", metavar="X", type=float, help="tolerance of the stop rule (default: its own)")
    for name, (flag, text) in _NUMBERS.items():
        default = "" if _DEFAULTS[name] is None else f" (default {_DEFAULTS[name]})"
        add(flag, dest=name, metavar="N", type=int, help=text + default)
    add("-o", "--output", metavar="PATH", type=Path, help="file to write: .npz, or .csv for two")
    add("--force", action="store_true", help="replace an output that exists")
    add("-q", "--quiet", action="store_true", help="no table and no progress bar")
    add_text_arguments(fit)


def _version(arguments: argparse.Namespace) -> None:
    if not arguments.version:
        raise Refused("no command is given; see kmeans-lab --help")
    emit(f"kmeans-lab {kmeans_lab.__version__}\n")


def _kernels(arguments: argparse.Namespace) -> None:
    from kmeans_lab.isolation.kernel_child import survey

    entries = [_kernel_entry(name) for name in KERNELS]
    for name, it in survey(installed()).items():  # nobody's code is imported into this process
        told = {key: it[key] for key in ("state", "reason", "build")}
        entries.append({"name": name} | told | it["spec"])
    if arguments.json:
        for sentence in outdone():
            tell(f"{sentence}")
        return emit(json.dumps(entries, indent=2) + "\n")
    table = make_table("kernel", "state", "threading", "dtypes", "summary")
    styles = {"ready": None, "unavailable": "yellow", "broken": "red"}
    for entry in entries:
        dtypes = " ".join(entry["dtypes"]).replace("float", "f")
        about = entry["summary"] + (f"\n{entry['build']}" if entry["build"] else "")
        cells = (entry["name"], entry["state"], entry["threading"], dtypes, about)
        table.add_row(*cells, style=styles[entry["state"]])
    reasons = [entry["reason"] for entry in entries if entry["reason"]]
    return show(table, *(f"\n{reason}" for reason in [*reasons, *outdone()]))


def _kernel_entry(name: str) -> dict[str, Any]:
    state = state_of(name)[0]
    build = getattr(load_kernel(name), "BUILD", None) if state == "ready" else None
    told = {"name": name, "state": state, "reason": reason_of(name), "build": build}
    return told | asdict(find_spec(name))


def _presets(arguments: argparse.Namespace) -> None:
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
    tables = [make_table(*headers, widths=widths)]
    for summary, group in groupby(PRESETS, lambda name: PRESETS[name].summary):
        tables.append(make_table(*headers, widths=widths, title=summary, show_header=False))
        for name in group:
            tables[-1].add_row(*rows[name])
    return show(*tables)


def _fit(arguments: argparse.Namespace) -> None:
    if not (arguments.json or arguments.quiet):
        make_table()  # a missing extra is better reported before the fit
    output = arguments.output and plan_result(arguments.output, arguments.data, arguments.force)
    X = read_rows(arguments.data, **text_options(arguments))
    given = {k: v for k, v in vars(arguments).items() if k in _DEFAULTS and v is not None}
    settings = _DEFAULTS | given
    name = settings["kernel"]
    with answerable(name), _progress(settings["max_iter"], arguments.quiet) as callback:
        try:
            refuse_unless_ready(name)
            result = kmeans(X, arguments.clusters, **settings | {"callback": callback})
        except (ValueError, TypeError) as error:
            raise Refused(str(error)) from error
    if output is not None:
        output.write(result_files(arguments.output, result))
    report = _report(result, [str(path) for path in output.paths] if output else [])
    if arguments.json:
        emit(json.dumps(report, indent=2) + "\n")
    elif not arguments.quiet:
        _show_report(report)


def _report(result: KMeansResult, output: list[str]) -> dict[str, Any]:
    names = ("kernel", "mode", "n_threads", "n_iter", "converged", "stop", "inertia", "seconds")
    return {
        "n_samples": len(result.labels),
        "n_features": result.centers.shape[1],
        "n_clusters": len(result.centers),
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
def _progress(max_iter: int, quiet: bool) -> Iterator[Any]:
    """Yield a callback that shows a bar on stderr, or None where nobody would see it."""
    if quiet or not seen_by_a_person():
        yield None
        return
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


if __name__ == "__main__":
    sys.exit(main())
