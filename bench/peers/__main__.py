"""``python -m bench.peers``: kmeans_lab beside other libraries, thread for thread."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from bench.peers import report
from bench.peers.calls import main as calls
from bench.peers.libraries import PEERS
from bench.peers.referee import Referee, as_type, choose_counts
from bench.peers.rounds import Comparison
from bench.peers.seeding import LEGEND, Seeding, print_draws
from kmeans_lab.crews.cores import refuse_too_many
from kmeans_lab.io.outputs import write_file
from kmeans_lab.io.streams import spell_out
from kmeans_lab.kernel import Array
from kmeans_lab.measure import machine
from kmeans_lab.presets import EMBEDDINGS_VARIABLE, Workload, find_preset
from kmeans_lab.registry import FLAGSHIP, find_spec
from kmeans_lab.sparse.reading import as_scipy
from kmeans_lab.sparse.rows import SparseRows


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    add = parser.add_argument
    add("--preset", action="append", metavar="P", help="a workload; repeatable (standard)")
    add("--threads", default="1", metavar="1,2", help="thread counts, each a table (1)")
    add("--rounds", type=int, default=9, metavar="N", help="interleaved rounds (9)")
    add("--peer", action="append", metavar="NAME",
        help=f"a library, or module:Class; repeatable (all of {', '.join(PEERS)})")  # fmt: skip
    add("--kernel", action="append", metavar="K",
        help=f"a kernel of ours; the first is what ratios refer to ({FLAGSHIP}, cpp)")  # fmt: skip
    add("--dtype", choices=("float64", "float32"), help="only this one")
    add("--seeding", action="store_true", help="compare fits with seeding of their own instead")
    add("--data", type=Path, metavar="FILE",
        help="an .npy file of embeddings, for --preset embeddings-K and --calls")  # fmt: skip
    add("--iterations", type=int, metavar="N",
        help="of the longer fits, at most (the preset's; where one is long, fewer)")  # fmt: skip
    add("--timeout", type=float, default=60.0, metavar="S", help="seconds a peer may take (60)")
    add("--seed", type=int, default=7, help="seed of the order of rounds (7)")
    add("--json", type=Path, metavar="FILE", help="write every sample")
    whole = parser.add_argument_group(
        "whole calls", "as users make them, each beside scikit-learn's and its target"
    ).add_argument
    whole(
        "--calls",
        action="store_true",
        help="compare these instead; what it will take is printed first",
    )
    whole("--rows", metavar="A,B", help="only these: kinds like fit, words like 'k25 35'")
    whole("--isa", metavar="I,J", help="instruction sets of ours (avx2,avx512, where they run)")
    whole("--quick", action="store_true", help="data of a few hundred rows: does it work?")
    whole("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; return the exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    options.preset = options.preset or ["standard"]
    options.kernel = options.kernel or [FLAGSHIP, "cpp"]
    options.peer = list(PEERS) if options.peer is None else options.peer
    try:
        check(options)
    except ValueError as error:
        parser.error(str(error))
    console = Console(highlight=False)
    if options.calls:
        try:
            return calls.run(options, console)
        except ValueError as error:
            parser.error(str(error))
    results = [pair for name in options.preset for pair in compare(name, options, console)]
    baseline = options.kernel[0]
    rows = [row for _, comparison in results for row in comparison.rows]
    if rows:
        console.print(Text(report.legend(options.rounds, baseline)), style="dim")
        console.print(Text(report.versions(rows)), style="dim")
    if options.seeding:
        console.print(Text(LEGEND), style="dim")
    for line in machine.lines():
        console.print(Text(line), style="dim")
    if options.json:
        content = report.as_json(results, baseline, options.rounds)
        write_file(options.json, json.dumps(content, indent=1) + "\n")
    return 0


def check(options: argparse.Namespace) -> None:
    """Raise ``ValueError`` for what is not known; read the thread counts."""
    options.threads = [int(number) for number in options.threads.split(",")]
    if options.rounds < 1 or min(options.threads) < 1:
        raise ValueError("--rounds and --threads must be at least 1")
    if options.iterations is not None and options.iterations < 2:
        raise ValueError(f"--iterations {options.iterations} must be at least 2")
    refuse_too_many(f"--threads {max(options.threads)}", max(options.threads))
    if options.data is not None:
        os.environ[EMBEDDINGS_VARIABLE] = str(options.data.absolute())
    for name in options.preset:
        find_preset(name)
    for name in options.kernel:
        find_spec(name)
    for name in options.peer:
        if name not in PEERS and ":" not in name:
            raise ValueError(f"peer={name!r} is not known; choose one of {', '.join(PEERS)}")


def compare(
    name: str, options: argparse.Namespace, console: Console
) -> list[tuple[str, Comparison]]:
    """Run one preset with every thread count, printing each table as it is ready."""
    workload = find_preset(name).load()
    kept = []
    with tempfile.TemporaryDirectory(prefix="kmeans-lab-peers-") as temporary:
        folder = Path(temporary)
        start, counts, remark = choose_start(workload, options.iterations)
        dtypes = hand_over(workload, start, folder, options.dtype)
        for threads in options.threads:
            plural = "s" * (threads != 1)
            shape = "{} × {}, k = {}".format(*workload.X.shape, len(start))
            title = f"{name}: {shape}; {threads} thread{plural}{remark}"
            if options.seeding:
                seeding = Seeding(options.kernel[0], threads, folder, options.timeout)
                seeding.run(options.rounds, options.seed, dtypes[0])
                print_draws(console, f"{title}, {dtypes[0]}, own seeding", seeding.draws)
                continue
            referee = Referee(workload.X, start, folder)
            comparison = Comparison(
                names(options), referee, dtypes, counts, threads, folder, options.timeout
            )
            comparison.run(options.rounds, options.seed)
            report.print_comparison(console, title, comparison, options.kernel[0], options.rounds)
            kept.append((name, comparison))
    return kept


def choose_start(workload: Workload, most: int | None = None) -> tuple[Array, tuple[int, int], str]:
    """Return starting centers that do not rest at once, the iterations, and a remark."""
    X, max_iter = workload.X, workload.preset.max_iter
    counts = choose_counts(X, workload.centers, max_iter, most)
    if counts[1] > counts[0]:
        return workload.centers, counts, ""
    first = X[np.arange(len(workload.centers))]
    counts = choose_counts(X, first, max_iter, most)
    if counts[1] > counts[0]:
        return first, counts, "; start: the first rows, since the preset's own rests at once"
    raise SystemExit("the centers rest after one iteration: there is nothing to compare")


def names(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the rows' labels and what their workers open."""
    ours = [(name, name) for name in options.kernel]
    ours.insert(1, (f"{options.kernel[0]} again", options.kernel[0]))  # shows the noise of the day
    return ours + [(name, name) for name in options.peer]


def hand_over(workload: Workload, start: Array, folder: Path, only: str | None) -> tuple[str, ...]:
    """Write X and the starting centers in each dtype; a float32 preset exists in float32 only."""
    known = ["float32"] if workload.preset.dtype == "float32" else ["float64", "float32"]
    dtypes = tuple(dtype for dtype in known if only in (None, dtype)) or tuple(known)
    for dtype in dtypes:
        X = as_type(workload.X, dtype)
        if isinstance(X, SparseRows):
            save_sparse(folder / f"X-{dtype}.npz", X)
        else:
            np.save(folder / f"X-{dtype}.npy", X)
        np.save(folder / f"start-{dtype}.npy", start.astype(dtype, copy=False))
    return dtypes


def save_sparse(path: Path, rows: SparseRows) -> None:
    """Write sparse rows as SciPy does."""
    from scipy.sparse import save_npz

    save_npz(path, as_scipy(rows), compressed=False)


if __name__ == "__main__":
    spell_out()
    sys.exit(main())
