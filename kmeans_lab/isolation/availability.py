"""Which kernels can run here, and a sentence with a remedy for each that cannot."""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from kmeans_lab import registry
from kmeans_lab.isolation import metadata, plugins
from kmeans_lab.isolation.plugins import NotAKernel
from kmeans_lab.kernel import Kernel
from kmeans_lab.registry import AUTO, KERNELS, SPARSE, KernelUnavailable
from kmeans_lab.spec import KernelSpec
from kmeans_lab.winners import choice

State = Literal["ready", "unavailable", "broken"]
Listed = State | Literal["installed"]


class _Refuses(KernelUnavailable):
    """A kernel is installed, but cannot run with the settings in the environment."""


def choose_kernel(*, sparse: bool = False, once: bool = False, fit: choice.Fit = None) -> str:
    """Return the name of the fastest kernel that can run; with ``sparse``, on sparse rows.

    ``fit``: what decides, where this machine has a calibration (see ``winners.choice``).

    ``once``: on rows that are seen once. Sparse ones are then not prepared: 80 batches of 1 024
    short texts, k = 100, take 0.95 s without, and 1.9 s with the flagship's tables of all centers.
    """
    names = SPARSE if sparse else AUTO
    if sparse and once:
        names = [name for name in SPARSE if KERNELS[name].threading != "own"]
    if not sparse and fit is not None and (name := choice.name_for(fit)) is not None:
        names = [name, *names]
    return first_ready(names, sparse=sparse) or names[-1]


def resolve_kernel(
    kernel: str | Kernel, *, sparse: bool, fit: choice.Fit = None
) -> tuple[Kernel, str, KernelSpec]:
    """Return the kernel that a name or an object means, its name, and what is known about it.

    "auto" means the fastest one that can run: for that fit, where there is a calibration.

    Raises
    ------
    KernelUnavailable, ValueError, TypeError
        It cannot run, is not known, takes no sparse rows, or has no ``assign`` or ``update``.
    """
    if isinstance(kernel, str):
        if kernel == "auto":
            kernel = choose_kernel(sparse=sparse, fit=fit)
        module, spec = registry.load_for(kernel, sparse=sparse)
        return module, str(kernel), spec
    if sparse:
        raise ValueError(
            f"kernel={kernel!r} takes no sparse rows, and X is sparse; give the name of one that "
            f"does, {', '.join(SPARSE)}, or X.toarray()"
        )
    for verb in ("assign", "update"):
        if not callable(getattr(kernel, verb, None)):
            raise TypeError(
                f"kernel={kernel!r} has no function {verb!r}; give a name from KERNELS or an "
                "object with assign and update"
            )
    name = getattr(kernel, "__name__", type(kernel).__name__)
    return kernel, name, KernelSpec(module=str(name), summary="", remedy="")


def first_ready(names: Sequence[str], *, sparse: bool = False) -> str | None:
    """Return the first of these that can run; warn once about an installed one that cannot.

    With ``sparse``, the first whose module for sparse rows can run, too.
    """
    for name in names:
        trouble = trouble_of(name, sparse=sparse)
        if trouble is None:
            return name
        if type(trouble) is not KernelUnavailable:
            _warn_once(
                f"{reason_for(name, trouble)}; until then another kernel computes in its place"
            )
    return None


@cache
def _warn_once(sentence: str) -> None:
    warnings.warn(sentence, RuntimeWarning, stacklevel=2)


def outdone() -> list[str]:
    """Return a sentence for each kernel of a package that has the name of one of ours."""
    return [
        f"the package {it.package} brings a kernel {name!r}, too, and kmeans_lab's own is used; "
        "ask there for another name"
        for name, it in plugins.read().items()
        if name in KERNELS
    ]


def state_of(name: str) -> tuple[State, str]:
    """Return whether a kernel can run here and, if not, why: ``("unavailable", sentence)``.

    A kernel of another package is imported in a child process first: the import may crash.
    """
    return described(trouble_of(name))


def described(trouble: Exception | None) -> tuple[State, str]:
    """Return what ``state_of`` says about a given error."""
    if trouble is None:
        return "ready", ""
    if isinstance(trouble, KernelUnavailable):
        return "unavailable", str(trouble)
    said = " ".join(str(trouble).split())  # a table has one line for it, and a refusal, too
    if not isinstance(trouble, NotAKernel):
        said = f"{type(trouble).__name__}: {said}" if said else type(trouble).__name__
    return "broken", said


def state_as_listed(name: str) -> tuple[Listed, str]:
    """Return what is known about a kernel of another package without importing it, and why.

    "installed": nothing speaks against it, and an import may do so yet.
    """
    plugin = registry.installed()[name]
    trouble: Exception | None = None
    if plugin.fault:
        trouble = NotAKernel(plugin.fault)
    elif lacking := metadata.lacks(plugin.listed()):
        trouble = registry.unavailable(name, lacking, plugin.listed())
    if trouble is None:
        return "installed", ""
    return described(trouble)[0], reason_for(name, trouble)


def reason_of(name: str) -> str:
    """Return a sentence on why a kernel cannot run here, with a remedy; empty where it can."""
    return reason_for(name, trouble_of(name))


def reason_for(name: str, trouble: Exception | None) -> str:
    """Return what ``reason_of`` says about a given error."""
    state, why = described(trouble)
    if state != "broken":
        return why
    if name in KERNELS:
        remedy = KERNELS[name].remedy
    elif name in registry.added():
        remedy = f"mend {registry.place_of(name)}"
    else:
        package = registry.installed()[name].package
        remedy = f"report it to the authors of {package}, or pip uninstall {package}"
        if isinstance(trouble, ImportError):
            remedy = f"install what the package {package} needs, or pip uninstall {package}"
    return f"kernel {name!r} is broken: {why}{'; ' * bool(remedy)}{remedy}"


def trouble_of(name: str, *, sparse: bool = False) -> Exception | None:
    """Return what keeps a kernel from running, or None; a table shows every row, whatever it is.

    ``sparse``: its module for sparse rows is imported, too.
    """
    try:
        if name not in KERNELS and name not in registry.added() and name in registry.installed():
            plugin = registry.installed()[name]
            if lacking := metadata.lacks(plugin.listed()):  # what an import would say, and sooner
                return registry.unavailable(name, lacking, plugin.listed())
            plugin.outlive()
        kernel: Any = registry.load_kernel(name)
        if sparse:
            kernel = registry.load_sparse(name)
    except Exception as error:
        return error
    try:
        if hasattr(kernel, "isa"):  # not isinstance, which for a Protocol takes ten times as long
            kernel.isa()
    except ValueError as error:  # KMEANS_LAB_ISA is not what this machine has
        return _Refuses(f"kernel {name!r} is not available: {error}")
    return None
