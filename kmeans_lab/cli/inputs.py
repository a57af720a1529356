"""Parsing of command-line arguments: kernels, counts, presets, text; refusals in one sentence."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from kmeans_lab.crews.cores import refuse_too_many
from kmeans_lab.io.datafiles import ARCHIVE_SUFFIXES, ARROW_SUFFIXES, TEXT_SUFFIXES
from kmeans_lab.io.errors import Refused
from kmeans_lab.isolation import plugins
from kmeans_lab.isolation.availability import reason_of
from kmeans_lab.isolation.children import ChildError, Ended, Raised
from kmeans_lab.isolation.kernel_child import KernelChild, survey
from kmeans_lab.isolation.messages import Description
from kmeans_lab.isolation.plugins import NotAKernel, ending_nothing, is_place
from kmeans_lab.measure.judging import CertificateError
from kmeans_lab.registry import (
    KERNELS,
    SPARSE,
    KernelUnavailable,
    add_spec,
    find_spec,
    installed,
    known,
    known_as,
    place_of,
)
from kmeans_lab.spec import KernelSpec

_TABLES = (
    f"for {', '.join((*TEXT_SUFFIXES, *ARROW_SUFFIXES))}. C is a name, a number counted from 1, or "
    "several: height,3,5-7."
)
_TEXT = (
    f"for {', '.join(TEXT_SUFFIXES)}: a first line without numbers names the columns. The "
    "delimiter is found where decimals have a point; other notations are refused with the options "
    "that they need."
)
_OPTIONS = (
    "skip_rows",
    "delimiter",
    "decimal",
    "thousands",
    "header",
    "columns",
    "drop_columns",
    "array",
)


def resolve(name_or_place: str, *, whole: bool = True) -> str:
    """Return the name of a kernel that can run, from a name, a .py file or a module.

    Code that is not the lab's is imported in a separate process, not in this one.

    Parameters
    ----------
    name_or_place : str
    whole : bool
        Refuse a kernel that lacks a function that kernels must have.

    Raises
    ------
    Refused
        There is no such kernel, or it cannot run here.
    """
    if name_or_place in KERNELS:
        refuse_unless_ready(name_or_place)
        return name_or_place
    plugin = installed().get(name_or_place)
    if not known(name_or_place) and not is_place(name_or_place):
        _refuse(name_or_place)
    found = _look(name_or_place) if plugin is None else survey([name_or_place])[name_or_place]
    if found["state"] != "ready" and (whole or not found["incomplete"]):
        raise Refused(found["reason"])
    spec = KernelSpec(**found["spec"])
    if plugin is not None:
        plugin.learn(spec)
        return name_or_place
    try:
        return add_spec(place_of(name_or_place), spec)
    except NotAKernel as error:
        raise Refused(str(error)) from None


def _refuse(name: str) -> NoReturn:
    try:
        known_as(name)
    except NotAKernel as error:
        raise Refused(str(error)) from None
    raise AssertionError(f"{name} is known")  # it was not


def _look(place: str) -> Description:
    """Describe the kernel of a file or a module; ``Refused`` where there is none."""
    with KernelChild(place) as child:
        try:
            return child.describe(plugins.PATIENCE)
        except Ended as end:
            raise Refused(f"{place} cannot be imported: that {end.does}") from None
        except Raised as error:
            if NotAKernel.__name__ in error.kinds:
                raise Refused(error.said) from None
            raise Refused(f"{place} cannot be imported: {' '.join(str(error).split())}") from None


def refuse_unless_ready(name: str) -> None:
    """Raise ``Refused`` where a kernel cannot run here; "auto" always can."""
    if name == "auto":
        return
    if not known(name):
        find_spec(name)  # a ValueError, which lists what is known
    if reason := reason_of(name):
        raise Refused(reason)


@contextmanager
def answerable(name: str) -> Iterator[None]:
    """Turn an error that a kernel of others raises while it runs into one sentence."""
    try:
        with ending_nothing(f"kernel {name!r}"):
            yield
    except (Refused, CertificateError, KernelUnavailable, MemoryError):
        raise
    except Exception as error:
        if (name == "auto" or name in KERNELS) and not isinstance(error, ChildError):
            raise  # a fault of ours, which a traceback helps to mend
        raise Refused(
            f"kernel {name!r} failed: {_in_a_line(error)}; kmeans-lab check {place_of(name)} says "
            "what else is wrong with it"
        ) from error


def _in_a_line(error: Exception) -> str:
    said = str(error) if isinstance(error, ChildError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())


def counts_of(text: str, option: str = "--threads") -> list[int]:
    """Return the counts of a list like 1,2."""
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise Refused(f"{option} {text} must be counts of at least 1, like 1,2")
    try:
        refuse_too_many(f"{option} {text}", max(counts))
    except ValueError as error:
        raise Refused(str(error)) from None
    return counts


def presets_of(names: list[str]) -> dict[str, Any]:
    """Return presets by name; refuse one that is not known."""
    from kmeans_lab.presets import find_preset

    try:
        return {name: find_preset(name) for name in names}
    except ValueError as error:
        raise Refused(str(error)) from None


def preset_for(kernel: str, name: str) -> Any:
    """Return a preset; ``Refused`` where its rows are sparse and the kernel takes none of these."""
    preset = presets_of([name])[name]
    if preset.sparse and not find_spec(kernel).sparse:
        raise Refused(
            f"{kernel} takes no sparse rows and preset={name!r} has them; choose one of "
            f"{', '.join(SPARSE)}, or another preset"
        )
    return preset


def dense_preset(name: str, what: str) -> Any:
    """Return a preset whose rows are arrays; ``Refused`` for another, in the words of ``what``."""
    from kmeans_lab.presets import find_dense

    try:
        return find_dense(name, what)
    except ValueError as error:
        raise Refused(str(error)) from None


def load(preset: Any) -> Any:
    """Return a preset's data; ``Refused`` where a package that it needs is not there."""
    try:
        return preset.load()
    except ModuleNotFoundError as error:
        raise Refused(str(error)) from None


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``read_rows`` takes besides the path."""
    parser.add_argument(
        "--array",
        metavar="NAME",
        help=f"which array of {' or '.join(ARCHIVE_SUFFIXES)} (default: the only matrix)",
    )
    add = parser.add_argument_group("tables", _TABLES).add_argument
    add(
        "--columns",
        metavar="C",
        action="append",
        default=[],
        help="columns to read, in this order (default: all)",
    )
    add("--drop-columns", metavar="C", action="append", default=[], help="read all but these")
    add = parser.add_argument_group("text files", _TEXT).add_argument
    add(
        "--skip-rows", metavar="N", type=int, default=0, help="lines to skip at the top (default 0)"
    )
    add("--header", metavar="WHEN", default="auto", help="auto, yes or no (default auto)")
    add("--delimiter", metavar="SIGN", help="between columns: like ';' or tab (default: as found)")
    add("--decimal", metavar="SIGN", help="decimal sign: '.' (default) or ','")
    add("--thousands", metavar="SIGN", help="between groups of three digits (default: nothing)")


def file_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return these options by name."""
    return {name: getattr(arguments, name) for name in _OPTIONS}


def usual_file_options() -> dict[str, Any]:
    """Return what these options are where none is given."""
    parser = argparse.ArgumentParser()
    add_file_arguments(parser)
    return file_options(parser.parse_args([]))
