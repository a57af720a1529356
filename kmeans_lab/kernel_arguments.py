"""Kernels as arguments of commands: by name, file or module, and refused in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kmeans_lab.certify import CertificateError
from kmeans_lab.errors import Refused
from kmeans_lab.plugins import NotAKernel, end_of_import, ending_nothing, is_place, too_large
from kmeans_lab.registry import (
    KERNELS,
    KernelUnavailable,
    find_spec,
    known,
    known_as,
    place_of,
    reason_of,
)


def resolve(name_or_place: str) -> str:
    """Return a kernel's name, from a name, a .py file or a module."""
    if not known(name_or_place) and (end := _end(name_or_place)):
        raise Refused(f"{name_or_place} cannot be imported: that {end}")
    try:
        return known_as(name_or_place)
    except NotAKernel as error:
        raise Refused(str(error)) from None
    except Exception as error:  # a file may do anything when it is imported
        raise Refused(f"{name_or_place} cannot be imported: {_in_a_line(error)}") from error


def _end(place: str) -> str:
    """Say how the import of a file or a module, if it is there, ends the process; or nothing."""
    there = Path(place).is_file() if place.endswith(".py") else is_place(place)
    large = place.endswith(".py") and too_large(Path(place))  # which importing it says
    return end_of_import(place) if there and not large else ""


def resolve_ready(name_or_place: str) -> str:
    """Return the name of a kernel that can run here, from a name, a .py file or a module."""
    name = resolve(name_or_place)
    refuse_unless_ready(name)
    return name


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
    """Make a sentence of what a kernel that is not the lab's raises while it runs."""
    try:
        with ending_nothing(f"kernel {name!r}"):
            yield
    except (Refused, CertificateError, KernelUnavailable, MemoryError):
        raise
    except Exception as error:
        if name == "auto" or name in KERNELS:
            raise  # a fault of ours, which a traceback helps to mend
        raise Refused(
            f"kernel {name!r} failed: {_in_a_line(error)}; kmeans-lab check {place_of(name)} says "
            "what else is wrong with it"
        ) from error


def _in_a_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
