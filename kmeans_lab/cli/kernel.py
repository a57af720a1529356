"""The commands that look at one kernel: ``check``, ``explain``, ``profile`` and ``scaling``."""

import argparse
import json
from typing import Any

from kmeans_lab.cli.bench import Uncertified
from kmeans_lab.cli.inputs import (
    answerable,
    counts_of,
    dense_preset,
    load,
    preset_for,
    resolve,
)
from kmeans_lab.cli.terminal import emit, progress_on_stderr, show
from kmeans_lab.formatting import make_table
from kmeans_lab.io.errors import Refused
from kmeans_lab.isolation.availability import reason_of
from kmeans_lab.isolation.pools import quiet_pools
from kmeans_lab.registry import KERNELS, PROVIDERS, find_spec


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab check``."""
    parser.add_argument(
        "kernel", metavar="PATH_OR_MODULE", help="a .py file, a module, or a kernel's name"
    )


def check(arguments: argparse.Namespace) -> None:
    """Test a kernel against the whole contract; raise ``Uncertified`` if it fails."""
    from kmeans_lab.measure.exam import examine

    name = resolve(arguments.kernel, whole=False)  # what it lacks is the first question
    answers = []
    for answer in examine(name):
        answers.append(answer)
        if not arguments.json:
            verdict = "wrong" if answer.wrong else "right"
            emit(f"{verdict if answer.asked else 'not asked'}  {answer.question}\n")
            if answer.wrong:
                emit(f"       {answer.wrong}\n")
    asked = [answer for answer in answers if answer.asked]
    wrong = sum(bool(answer.wrong) for answer in asked)
    if arguments.json:
        found = [{"question": it.question, "wrong": it.wrong} for it in answers]
        emit(json.dumps({"kernel": name, "answers": found}, indent=2) + "\n")
    if wrong:
        left = len(answers) - len(asked)
        rest = f"; {left} more were not asked" if left else ""
        raise Uncertified(f"{name} is wrong in {wrong} of {len(asked)} points{rest}")


def add_explain_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab explain``."""
    add = parser.add_argument
    add("kernel", metavar="KERNEL", help="a kernel's name, file or module")
    add("--preset", metavar="P", default="standard", help="a workload (standard)")
    add("--threads", metavar="N", type=int, default=1, help="for kernels with threads (1)")
    add("--callgrind", action="store_true", help="count instructions with valgrind, too")


def explain(arguments: argparse.Namespace) -> None:
    """Compare a kernel with the machine's limits, and explain its speed."""
    from kmeans_lab.measure import kernel_tables, machine
    from kmeans_lab.measure.explain import explain as measure
    from kmeans_lab.measure.judging import CertificateError

    if not arguments.json:
        make_table()
    if arguments.threads < 1:
        raise Refused(f"--threads {arguments.threads} must be at least 1")
    counts_of(str(arguments.threads))  # refuses too many
    name = resolve(arguments.kernel)
    preset = dense_preset(arguments.preset, "explain counts the operations and bytes of dense rows")
    if reason := reason_of(code := PROVIDERS["limits"]):
        raise Refused(f"the machine's limits are measured with the code of {code}: {reason}")
    workload = load(preset)
    takes = find_spec(name).dtypes
    if workload.X.dtype.name not in takes:
        raise Refused(
            f"{name} takes {' and '.join(takes)} and {arguments.preset} is {workload.X.dtype}; "
            "choose another preset"
        )
    with quiet_pools():
        try:
            with answerable(name):
                found = measure(
                    name,
                    workload,
                    arguments.preset,
                    arguments.threads,
                    callgrind=arguments.callgrind,
                )
        except CertificateError as error:
            raise Uncertified(f"{name} is INVALID ({error}): there is nothing to explain") from None
        card = machine.card()
    if arguments.json:
        emit(json.dumps(found.to_dict() | {"machine": card}, indent=1) + "\n")
    else:
        show(*kernel_tables.of_explanation(found), "", *machine.lines(card))


def add_profile_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab profile``."""
    add = parser.add_argument
    add("kernel", metavar="KERNEL", help="a kernel's name, file or module")
    add("--preset", metavar="P", default="standard", help="a workload (standard)")


def profile(arguments: argparse.Namespace) -> None:
    """Show where the time of a fit goes."""
    from kmeans_lab.measure import kernel_tables, machine
    from kmeans_lab.measure.judging import CertificateError
    from kmeans_lab.measure.profile import profile as measure

    if not arguments.json:
        make_table()
    name = resolve(arguments.kernel)
    preset = preset_for(name, arguments.preset)
    with quiet_pools():
        try:
            with answerable(name):
                found = measure(name, load(preset), arguments.preset)
        except CertificateError as error:
            raise Uncertified(f"{name} is INVALID ({error}) and has no profile") from None
        card = machine.card()
    if arguments.json:
        emit(json.dumps(found.to_dict() | {"machine": card}, indent=1) + "\n")
    else:
        show(*kernel_tables.of_profile(found), "", *machine.lines(card))


def add_scaling_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab scaling``."""
    add = parser.add_argument
    add("kernel", metavar="KERNEL", nargs="?", default="cpp", help="a name, file or module (cpp)")
    add("--preset", metavar="P", default="standard", help="a workload (standard)")
    add("--mode", metavar="MODE", default="threads", help="threads or processes (threads)")
    add("--workers", metavar="1,2", default="1,2,4", help="how many; 1 is always there (1,2,4)")
    add("--grow", metavar="n,k,d", help="double these one at a time, instead of workers")
    add("--rounds", metavar="N", type=int, help="rounds (9)")
    add("--seed", metavar="N", type=int, default=0, help="seed of the order of rounds (0)")


def scaling(arguments: argparse.Namespace) -> None:
    """Show how a fit's time falls with workers, or grows with its size."""
    from kmeans_lab.measure import kernel_tables, machine, record
    from kmeans_lab.measure import scaling as measure
    from kmeans_lab.measure.judging import CertificateError

    if not arguments.json:
        make_table()
    name = resolve(arguments.kernel)
    preset = preset_for(name, arguments.preset)
    if arguments.mode not in ("threads", "processes"):
        raise Refused(f"--mode {arguments.mode} is not known; choose threads or processes")
    if arguments.mode == "processes" and name not in KERNELS:
        raise Refused(
            f"--mode processes starts Pythons that do not know {arguments.kernel}; use threads"
        )
    axes = arguments.grow.split(",") if arguments.grow else []
    if not set(axes) <= set(measure.START):
        raise Refused(f"--grow {arguments.grow} must be some of n, k and d, like n,k")
    workers = counts_of(arguments.workers, "--workers")
    n_rounds = measure.ROUNDS if arguments.rounds is None else arguments.rounds
    if n_rounds < 1:
        raise Refused(f"--rounds {n_rounds} must be at least 1")
    options = {"n_rounds": n_rounds, "seed": arguments.seed}
    with quiet_pools(), progress_on_stderr() as draw:
        try:
            with answerable(name):
                found: list[Any] = [
                    measure.growth(name, axis, watch=_steps(draw, axis), **options) for axis in axes
                ] or [
                    measure.scaling(
                        name,
                        load(preset),
                        arguments.preset,
                        arguments.mode,
                        workers,
                        watch=_steps(draw, "workers"),
                        **options,
                    )
                ]
        except CertificateError as error:
            raise Uncertified(f"{name} is INVALID ({error}) and has no number") from None
        card = machine.card()
    if arguments.json:
        emit(record.dumps(record.scaling_dict(found, card)))
        return
    for it in found:
        show(*(kernel_tables.of_growth(it) if axes else kernel_tables.of_scaling(it)), "")
    show(*machine.lines(card))


def _steps(draw: Any, what: str) -> Any:
    from kmeans_lab.measure.rounds import Progress

    return lambda name, done, total: draw(Progress(what, name, done, total, 0.0))
