"""The table of kernels: what is known about each one without importing it.

Tests, benchmarks, the command line and the README's table all follow from ``KERNELS``. "Known"
and "runnable" are two questions: a name that is not in the table is a ``ValueError``, a kernel
whose dependency or compiled module is absent is ``KernelUnavailable`` with the command that gets
it, and a kernel that is there but fails to import raises its own error, untouched.
"""

import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Literal, cast

from kmeans_lab.kernel import Kernel

Threading = Literal["gil", "nogil", "own"]
Arithmetic = Literal["direct", "expanded"]
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
    centers : bool
        Its ``prepare`` and ``inertia`` take the middle of X as one more argument and subtract it:
        no centered copy of X lies beside the prepared rows.
    arithmetic : {"direct", "expanded"}
        How it computes a distance: Σ(x − c)², or ‖c‖² − 2x·c; two operations in place of three.
    exact : bool
        Its labels are those of Σ(x − c)² in float64, added up in the order of the features, to the
        last bit. ``predict`` decides the near-ties of other kernels again.
    sources : tuple of str
        Patterns of its files in a checkout, where its module is not all of it.
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
    centers: bool = False
    arithmetic: Arithmetic = "direct"
    exact: bool = False
    sources: tuple[str, ...] = ()
    blas: bool = False
    compiles_on_first_call: bool = False


KERNELS: dict[str, KernelSpec] = {
    "python": KernelSpec(
        module="kmeans_lab._py_kernel",
        summary="nested loops in plain Python: the slowest and the plainest",
        exact=True,
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
        arithmetic="expanded",
        blas=True,
    ),
    "numba": KernelSpec(
        module="kmeans_lab._numba_kernel",
        summary="the nested loops, compiled by Numba on the first call",
        exact=True,
        requires=("numba",),
        remedy="pip install numba",
        compiles_on_first_call=True,
    ),
    "cython": KernelSpec(
        module="kmeans_lab._cy_kernel",
        summary="the nested loops in Cython, typed memoryviews, nogil",
        exact=True,
        remedy=_REBUILD,
        sources=("kmeans_lab/_cy_kernel.pyx",),
    ),
    "cpp": KernelSpec(
        module="kmeans_lab._cpp_kernel",
        summary="the nested loops in C++ through pybind11: the reference",
        exact=True,
        remedy=_REBUILD,
        sources=("cpp/kmeans.cpp",),
    ),
    "numba-tiled": KernelSpec(
        module="kmeans_lab._numba_tiled_kernel",
        summary="Numba over tiles of rows, vectorised by LLVM, fused, threads of its own",
        exact=True,
        requires=("numba", "llvmlite", "numpy"),
        remedy="pip install numba",
        threading="own",
        arithmetic="expanded",
        sources=("kmeans_lab/_numba_tiled_*.py",),
        compiles_on_first_call=True,
    ),
    "cython-tiled": KernelSpec(
        module="kmeans_lab._cy_tiled_kernel",
        summary="Cython over tiles of rows, vectorised by gcc or clang, fused, threads of its own",
        exact=True,
        remedy=_REBUILD,
        threading="own",
        arithmetic="expanded",
        sources=(
            "kmeans_lab/_cy_tiled_kernel.py",
            "kmeans_lab/_cy_tiled*.pyx",
            "kmeans_lab/_cy_tiled*.pxi",
        ),
    ),
    "cpp-simd": KernelSpec(
        module="kmeans_lab._simd_kernel",
        summary="C++ vectors over tiles of rows, fused update, threads of its own",
        exact=True,
        remedy=_REBUILD,
        threading="own",
        arithmetic="expanded",
        sources=("cpp/simd*",),
        centers=True,
    ),
}


class KernelUnavailable(RuntimeError):
    """A known kernel cannot run here; the message says why and what to type."""


#: Entry points of this group are kernels of installed packages: name = "module", or "module:SPEC"
#: where SPEC is a ``KernelSpec``.
ENTRY_POINTS = "kmeans_lab.kernels"

_added: dict[str, KernelSpec] = {}
_unusable: dict[str, Exception] = {}  # what kept entry points from being read
_places: dict[str, str] = {}  # where these were found


def find_spec(name: str) -> KernelSpec:
    """Return the row of a kernel; ``ValueError`` listing the choices when there is none."""
    spec = KERNELS.get(name) or _added.get(name) or installed().get(name)
    if spec is None:
        known = ", ".join([*KERNELS, *_added, *installed()])
        raise ValueError(f"kernel={name!r} is not known; choose one of {known}")
    return spec


@cache
def installed() -> dict[str, KernelSpec]:
    """Return the kernels that other installed packages bring; names of the table stay ours."""
    from importlib.metadata import entry_points  # 20 ms: not before somebody asks

    found = {}
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in KERNELS:
            continue
        package = point.dist.name if point.dist else point.module
        spec = KernelSpec(point.module, f"from the package {package}", f"pip install {package}")
        if point.attr:
            try:
                spec = _with_module(point.load(), point.module, f"entry point {point.value}")
            except Exception as error:  # one bad package must not take the others away
                _unusable[point.name] = error
        found[point.name] = spec
    return found


def add_kernel(place: str) -> str:
    """Make a kernel known by the path of its file or the name of its module; return its name.

    A module may say more about itself in an attribute ``SPEC``, a ``KernelSpec``.

    Raises
    ------
    ValueError
        There is no such file or module, or its SPEC is something else.
    Exception
        Whatever its import raises.
    """
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise ValueError(f"there is no file {place}; give the path of a kernel's .py file")
        # A name of its own: the file may be called like a package that it imports.
        name, module_name = path.stem, f"kmeans_lab_kernel_{path.stem}"
        spec = spec_from_file_location(module_name, path)
        assert spec is not None  # it ends in .py
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    else:
        name = module_name = place
        try:
            module = import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise
            raise ValueError(
                f"{place!r} is no kernel, no module that can be imported and no .py file; "
                "kmeans-lab kernels lists the kernels"
            ) from None
    if name in KERNELS:
        raise ValueError(f"{place} has the name of the kernel {name!r}; give the file another name")
    if name in _added and _places[name] != (found := _place(path, place)):
        raise ValueError(
            f"{found} has the name of {_places[name]}, {name!r}; give one of them another name"
        )
    own = getattr(module, "SPEC", KernelSpec(module_name, f"from {place}", "none"))
    _added[name] = _with_module(own, module_name, place)
    _places[name] = _place(path, place)
    return name


def _place(path: Path, place: str) -> str:
    return str(path.resolve()) if path.suffix == ".py" else place


def added() -> tuple[str, ...]:
    """Return the names of the kernels that ``add_kernel`` made known."""
    return tuple(_added)


def place_of(name: str) -> str:
    """Return what ``known_as`` needs in another process to find the same kernel."""
    return _places.get(name, name)


def known_as(name_or_place: str) -> str:
    """Return the name of a kernel that is given by name, or by the place of its code.

    Raises
    ------
    ValueError
        It is neither.
    Exception
        Whatever the import of a module that is not in the table raises.
    """
    if Path(name_or_place).suffix == ".py" or "." in name_or_place:
        return name_or_place if name_or_place in _added else add_kernel(name_or_place)
    find_spec(name_or_place)
    return name_or_place


def _with_module(spec: object, module: str, source: str) -> KernelSpec:
    if not isinstance(spec, KernelSpec):
        raise ValueError(  # noqa: TRY004 (what is wrong is a value in a file)
            f"SPEC of {source} is a {type(spec).__name__} and must be a "
            "kmeans_lab.registry.KernelSpec"
        )
    return replace(spec, module=module)


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
    if name in _unusable:
        raise _unusable[name]
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
