"""The command ``kmeans-lab overhead``: what a kernel costs beside its speed."""

import argparse
import json
from pathlib import Path

from kmeans_lab.cli.bench import Uncertified
from kmeans_lab.cli.inputs import resolve
from kmeans_lab.cli.terminal import emit, progress_on_stderr, show
from kmeans_lab.formatting import make_table
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.outputs import plan_output
from kmeans_lab.isolation.pools import quiet_pools
from kmeans_lab.registry import KERNELS, installed


def add_overhead_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab overhead``."""
    add = parser.add_argument
    add("--kernel", metavar="K", action="append", help="a name, file or module; repeatable (all)")
    add("--rounds", metavar="N", type=int, help="rounds (15)")
    add("--seed", metavar="N", type=int, default=0, help="seed of the order within rounds (0)")
    add("-o", "--output", metavar="FILE", type=Path, help="also write the JSON here")
    add("--force", action="store_true", help="replace an output that exists")


def overhead(arguments: argparse.Namespace) -> None:
    """Measure what kernels cost beside their speed; ``Uncertified`` where one is broken."""
    from kmeans_lab.choosing import calls, costs, record, tables
    from kmeans_lab.measure import machine
    from kmeans_lab.measure.rounds import Progress

    if not arguments.json:
        make_table()  # a missing extra is better reported before the measurement
    n_rounds = calls.ROUNDS if arguments.rounds is None else arguments.rounds
    if n_rounds < 1:
        raise Refused(f"--rounds {n_rounds} must be at least 1")
    asked = arguments.kernel and [resolve(name) for name in arguments.kernel]
    kernels = list(dict.fromkeys(asked or [*KERNELS, *installed()]))
    output = arguments.output and plan_output([arguments.output], [], arguments.force)
    with quiet_pools(), progress_on_stderr() as watch:
        found = costs.measure(
            kernels,
            n_rounds,
            arguments.seed,
            lambda name, done, total: watch(Progress("call", name, done, total, 0.0)),
        )
        card = machine.card()
    data = record.to_dict(found, card)
    text = json.dumps(data, indent=1) + "\n"
    if arguments.json:
        emit(text)
    else:
        show(*tables.of_overhead(data), "", *machine.lines(data["machine"]))
    if output:
        output.write([text.encode()])
    if broken := [it.kernel for it in found if it.state == "broken"]:
        raise Uncertified(f"{', '.join(broken)}: no call could be measured")
