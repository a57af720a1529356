"""Kernels as arguments of commands: by name, file or module, and refused in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from kmeans_lab.errors import Refused
from kmeans_lab.isolation import plugins
from kmeans_lab.isolation.children import ChildError, Ended, Raised
from kmeans_lab.isolation.kernel_child import KernelChild, survey
from kmeans_lab.isolation.messages import Description
from kmeans_lab.isolation.plugins import NotAKernel, ending_nothing, is_place
from kmeans_lab.measure.certify import CertificateError
from kmeans_lab.registry import (
    KERNELS,
    KernelSpec,
    KernelUnavailable,
    add_spec,
    find_spec,
    installed,
    known,
    known_as,
    place_of,
    reason_of,
)


def resolve(name_or_place: str, *, whole: bool = True) -> str:
    """Return the name of a kernel that can run, from a name, a .py file or a module.

    Code that is not the lab's is imported by a process of its own, and not by this one.

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
    """Make a sentence of what a kernel that is not the lab's raises while it runs."""
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
