"""The table of kernels: what is known about each one without importing it.

Tests, benchmarks, the command line and the README's table all follow from ``KERNELS``. "Known"
and "runnable" are two questions: a name that is not in the table is a ``ValueError``, a kernel
whose dependency or compiled module is absent is ``KernelUnavailable`` with the command that gets
it, and a kernel that is there but fails to import raises its own error, untouched.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Literal, cast

from kmeans_lab.kernel import Kernel

Threading = Literal["gil", "nogil", "own"]
State = Literal["ready", "unavailable", "broken"]

_FLOATS = ("float32", "float64")
_REBUILD = "pip install --force-reinstall kmeans-lab, with a C++ compiler installed"


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A row of the table.

    Attributes
    ----------
    module : str
        Where ``assign`` and ``update`` live.
    summary : str
        One line for the tables.
    requires : tuple of str
        Top-level packages that the kernel may import and call.
    remedy : str
        What to type when the kernel is unavailable.
    dtypes : tuple of str
        The dtypes of rows that it takes; the driver converts X to float64 otherwise.
    threading : {"gil", "nogil", "own"}
        "gil": it holds the GIL, so only processes help. "nogil": the driver's threads help.
        "own": it brings its own threads and takes ``n_threads`` in ``prepare``.
    whole : bool
        It is handed all rows at once instead of chunks. Always so with ``threading="own"``.
    blas : bool
        Its work is done by BLAS, which is kept to the thread that calls it while a fit runs.
    compiles_on_first_call : bool
        The first call with a new dtype compiles; benchmarks warm it up first.
    """

    module: str
    summary: str
    remedy: str
    requires: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = _FLOATS
    threading: Threading = "nogil"
    whole: bool = False
    blas: bool = False
    compiles_on_first_call: bool = False


KERNELS: dict[str, KernelSpec] = {
    "python": KernelSpec(
        module="kmeans_lab._py_kernel",
        summary="nested loops in plain Python: the slowest and the plainest",
        remedy=_REBUILD,
        threading="gil",
    ),
    "numpy-broadcast": KernelSpec(
        module="kmeans_lab._numpy_broadcast_kernel",
        summary="the textbook NumPy one-liner, with its n·k·d temporary",
        requires=("numpy",),
        remedy="pip install numpy",
        whole=True,
    ),
    "numpy": KernelSpec(
        module="kmeans_lab._numpy_kernel",
        summary="vectorised NumPy: a blocked matrix product",
        requires=("numpy",),
        remedy="pip install numpy",
        blas=True,
    ),
    "numba": KernelSpec(
        module="kmeans_lab._numba_kernel",
        summary="the nested loops, compiled by Numba on the first call",
        requires=("numba",),
        remedy="pip install numba",
        compiles_on_first_call=True,
    ),
    "cython": KernelSpec(
        module="kmeans_lab._cy_kernel",
        summary="the nested loops in Cython, typed memoryviews, nogil",
        remedy=_REBUILD,
    ),
    "cpp": KernelSpec(
        module="kmeans_lab._cpp_kernel",
        summary="the nested loops in C++ through pybind11: the reference",
        remedy=_REBUILD,
    ),
    "numba-tiled": KernelSpec(
        module="kmeans_lab._numba_tiled_kernel",
        summary="Numba over tiles of rows, vectorised by LLVM, fused, threads of its own",
        requires=("numba", "llvmlite", "numpy"),
        remedy="pip install numba",
        threading="own",
        compiles_on_first_call=True,
    ),
    "cython-tiled": KernelSpec(
        module="kmeans_lab._cy_tiled_kernel",
        summary="Cython over tiles of rows, vectorised by gcc or clang, fused, threads of its own",
        remedy=_REBUILD,
        threading="own",
    ),
    "cpp-simd": KernelSpec(
        module="kmeans_lab._simd_kernel",
        summary="C++ vectors over tiles of rows, fused update, threads of its own",
        remedy=_REBUILD,
        threading="own",
    ),
}


class KernelUnavailable(RuntimeError):
    """A known kernel cannot run here; the message says why and what to type."""


def find_spec(name: str) -> KernelSpec:
    """Return the row of a kernel; ``ValueError`` listing the choices when there is none."""
    if name not in KERNELS:
        raise ValueError(f"kernel={name!r} is not known; choose one of {', '.join(KERNELS)}")
    return KERNELS[name]


def load_kernel(name: str) -> Kernel:
    """Import a kernel by name and return its module.

    Parameters
    ----------
    name : str
        A key of ``KERNELS``.

    Returns
    -------
    Kernel
        The module, with ``assign`` and ``update`` (see ``kmeans_lab.kernel``).

    Raises
    ------
    ValueError
        The name is not in the table; the message lists the choices.
    KernelUnavailable
        Its compiled module or a package that it requires is not installed; the message says
        what to type.
    Exception
        It is installed and broken: whatever its import raised, untouched.

    Examples
    --------
    >>> load_kernel("numpy").__name__
    'kmeans_lab._numpy_kernel'
    """
    spec = find_spec(name)
    try:
        return cast(Kernel, import_module(spec.module))
    except ModuleNotFoundError as error:
        absent = f"{error.name}."
        if not f"{spec.module}.".startswith(absent) and error.name not in spec.requires:
            raise
        raise KernelUnavailable(
            f"kernel {name!r} is not available: there is no module {error.name!r}; {spec.remedy}"
        ) from error


#: What ``kernel="auto"`` tries, the fastest first: docs/performance.md has the measurements.
AUTO = ("cpp-simd", "cpp", "numpy")


def choose_kernel(mode: str) -> str:
    """Return the name of the fastest kernel that is available and can share its work this way."""
    names = AUTO if mode != "processes" else AUTO[1:]  # its own threads are of no use there
    return next(name for name in names if state_of(name)[0] != "unavailable")


def state_of(name: str) -> tuple[State, str]:
    """Return whether a kernel can run here and, if not, why: ``("unavailable", sentence)``."""
    try:
        load_kernel(name)
    except KernelUnavailable as error:
        return "unavailable", str(error)
    except Exception as error:  # a table must show every row, whatever one import does
        return "broken", f"{type(error).__name__}: {error}"
    return "ready", ""
