"""The command line: ``kmeans-lab``, or ``python -m kmeans_lab``.

Input that is refused costs one sentence and exit status 2; a traceback is a bug of ours. Tables
and progress bars need the extra ``cli``; ``--json`` does not.
"""

import argparse
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import kmeans_lab
from kmeans_lab.cli import bench, kernel, winners
from kmeans_lab.cli.compress import add_compress_arguments, compress_image
from kmeans_lab.cli.fit import add_fit_arguments, fit
from kmeans_lab.cli.listing import add_kernels_arguments, list_kernels, list_presets
from kmeans_lab.cli.overhead import add_overhead_arguments, overhead
from kmeans_lab.cli.serve import add_serve_arguments, serve
from kmeans_lab.cli.study import add_study_arguments, study
from kmeans_lab.cli.terminal import emit, hold_streams, refuse_closed_output, tell
from kmeans_lab.crews.processes import WorkerDiedError
from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.streams import spell_out
from kmeans_lab.registry import KernelUnavailable

_Run = Callable[[argparse.Namespace], None]
_AddArguments = Callable[[argparse.ArgumentParser], None]

REFUSALS = (Refused, MissingExtra, KernelUnavailable, WorkerDiedError, MemoryError, OSError)

#: The name of each command, what runs it, what adds its arguments, and its help.
_COMMANDS: tuple[tuple[str, _Run, _AddArguments | None, str], ...] = (
    ("kernels", list_kernels, add_kernels_arguments, "list the kernels and whether they can run"),
    ("fit", fit, add_fit_arguments, "cluster the rows of a file"),
    (
        "compress",
        compress_image,
        add_compress_arguments,
        "write an image in k colours that k-means chooses",
    ),
    ("presets", list_presets, None, "list the standard workloads"),
    ("bench", bench.run, bench.add_arguments, "measure kernels in paired rounds, certified"),
    ("map", winners.run, winners.add_arguments, "measure which kernel wins for which n, d and k"),
    ("report", bench.report, bench.add_report_arguments, "write a run as one HTML page"),
    ("check", kernel.check, kernel.add_check_arguments, "test a kernel against the contract"),
    (
        "explain",
        kernel.explain,
        kernel.add_explain_arguments,
        "compare a kernel with the limits of the machine",
    ),
    ("profile", kernel.profile, kernel.add_profile_arguments, "show where the time of a fit goes"),
    (
        "scaling",
        kernel.scaling,
        kernel.add_scaling_arguments,
        "show how a fit's time falls with workers and grows with size",
    ),
    (
        "overhead",
        overhead,
        add_overhead_arguments,
        "measure what kernels cost beside their speed: a call, a build, an installation",
    ),
    ("study", study, add_study_arguments, "test claims about k-means"),
    ("serve", serve, add_serve_arguments, "race kernels on a page in the browser"),
)


class _Parser(argparse.ArgumentParser):
    """argparse with our way of refusing and of writing."""

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message}; see {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        emit(self.format_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on ``argv``, by default the process's own, and return the exit status.

    0: success; 1: a measurement has no certificate or does not count; 2: input is refused;
    130: Ctrl-C (128 + SIGINT); 141: the reader of our output is gone (128 + SIGPIPE).
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
    except SystemExit as end:  # --help, or the reader of our output is gone
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
    for name, run, add_arguments, text in _COMMANDS:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        if add_arguments is not None:
            add_arguments(command)
    return parser


def _version(arguments: argparse.Namespace) -> None:
    if not arguments.version:
        raise Refused("no command is given; see kmeans-lab --help")
    emit(f"kmeans-lab {kmeans_lab.__version__}\n")
