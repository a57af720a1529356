"""The table of kernels: what is known about each one without importing it.

Tests, benchmarks, the command line and the README's table all follow from ``KERNELS``. "Known"
and "runnable" are two questions: a name that is not in the table is a ``ValueError``, a kernel
whose dependency or compiled module is absent is ``KernelUnavailable`` with the command that gets
it, and a kernel that is there but fails to import raises its own error, untouched.
"""

import sys
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from kmeans_lab.isolation import plugins
from kmeans_lab.isolation.metadata import not_built
from kmeans_lab.isolation.plugins import NotAKernel, Plugin, importing, with_module
from kmeans_lab.kernel import Kernel
from kmeans_lab.spec import KernelSpec

__all__ = ["KERNELS", "KernelSpec", "KernelUnavailable", "NotAKernel", "load_kernel"]

# The functions that a kernel must have: any, one with threads of its own, one that centers rows.
_PLAIN = ("assign", "update")
_THREADED = (*_PLAIN, "prepare")
_CENTERING = (*_THREADED, "inertia")

#: How to obtain a compiled module. In a checkout, its own sources are imported before an installed
#: package, so that installing the package again would change nothing there.
REBUILD = (
    "pip install --editable . builds it in this checkout; in another folder, an installed "
    "kmeans_lab is imported instead"
    if (Path(__file__).parent.parent / "setup.py").is_file()
    else "pip install --force-reinstall kmeans-lab, with a C++ compiler installed"
)

# What the tables that compare tools say of them: see ``KernelSpec.debugging`` and ``wheels``.
_ARRAYS = "pdb stops between array operations; tracebacks name them"
_NUMPYS = "Linux, macOS and Windows; x86-64 and arm64"
_JIT = "NUMBA_DISABLE_JIT=1 runs the same lines in pdb; compiled, tracebacks end at the call"
_NUMBAS = "Linux and Windows, x86-64 and arm64; macOS arm64"
_PYX = "tracebacks name the .pyx line; gdb sees the C code"
_NATIVE = "gdb, lldb, sanitizers; tracebacks end at the call"
_OWN = "those that you build: one for each platform and Python release"

KERNELS: dict[str, KernelSpec] = {
    "python": KernelSpec(
        module="kmeans_lab._py_kernel",
        summary="nested loops in plain Python: the slowest and the plainest",
        exact=True,
        remedy=REBUILD,
        threading="gil",
        sparse="kmeans_lab.sparse._py_kernel",
        debugging="pdb, line by line; tracebacks name the line",
        wheels="none needed",
    ),
    "numpy-broadcast": KernelSpec(
        module="kmeans_lab._numpy_broadcast_kernel",
        summary="the textbook NumPy one-liner, with its n·k·d temporary",
        requires=("numpy",),
        remedy="pip install numpy",
        whole=True,
        broadcasts=True,
        debugging=_ARRAYS,
        wheels=_NUMPYS,
    ),
    "numpy": KernelSpec(
        module="kmeans_lab._numpy_kernel",
        summary="vectorised NumPy: a blocked matrix product",
        requires=("numpy",),
        remedy="pip install numpy",
        arithmetic="expanded",
        blas=True,
        auto=4,  # used where no tuned kernel can run
        sparse="kmeans_lab.sparse._numpy_kernel",
        debugging=_ARRAYS,
        wheels=_NUMPYS,
    ),
    "numba": KernelSpec(
        module="kmeans_lab._numba_kernel",
        summary="the nested loops, compiled by Numba on the first call",
        exact=True,
        requires=("numba",),
        remedy="pip install numba",
        compiles_on_first_call=True,
        sparse="kmeans_lab.sparse._numba_kernel",
        debugging=_JIT,
        wheels=_NUMBAS,
    ),
    "cython": KernelSpec(
        module="kmeans_lab._cy_kernel",
        summary="the nested loops in Cython, typed memoryviews, nogil",
        exact=True,
        remedy=REBUILD,
        sources=("kmeans_lab/_cy_kernel.pyx",),
        sparse="kmeans_lab.sparse._cy_kernel",
        sparse_sources=("kmeans_lab/sparse/_cy_kernel.pyx",),
        debugging=_PYX,
        wheels=_OWN,
    ),
    "cpp": KernelSpec(
        module="kmeans_lab._cpp_kernel",
        summary="the nested loops in C++ through pybind11: the reference",
        exact=True,
        remedy=REBUILD,
        sources=("cpp/kmeans.cpp",),
        sparse="kmeans_lab.sparse._cpp_kernel",
        sparse_sources=("cpp/sparse/kmeans.cpp",),
        debugging=_NATIVE,
        wheels=_OWN,
    ),
    "numba-tiled": KernelSpec(
        module="kmeans_lab.tuned.numba",
        summary="Numba over tiles of rows, vectorised by LLVM, fused, threads of its own",
        exact=True,
        requires=("numba", "llvmlite", "numpy"),
        remedy="pip install numba",
        threading="own",
        arithmetic="expanded",
        sources=("kmeans_lab/tuned/numba*.py", "kmeans_lab/tuned/rows.py"),
        compiles_on_first_call=True,
        auto=3,
        debugging=_JIT,
        wheels=_NUMBAS,
    ),
    "cython-tiled": KernelSpec(
        module="kmeans_lab.tuned.cython",
        summary="Cython over tiles of rows, vectorised by gcc or clang, fused, threads of its own",
        exact=True,
        remedy=REBUILD,
        threading="own",
        arithmetic="expanded",
        sources=(
            "kmeans_lab/tuned/cython.py",
            "kmeans_lab/tuned/cython*.pyx",
            "kmeans_lab/tuned/cython*.pxi",
            "kmeans_lab/tuned/rows.py",
        ),
        auto=2,
        debugging=_PYX,
        wheels=_OWN,
    ),
    "cpp-simd": KernelSpec(
        module="kmeans_lab.tuned.simd",
        summary="C++ vectors over tiles of rows, fused update, threads of its own",
        exact=True,
        remedy=REBUILD,
        threading="own",
        arithmetic="expanded",
        sources=("cpp/simd/module.cpp", "cpp/simd/**/*.h"),
        sparse="kmeans_lab.sparse.simd",
        sparse_sources=("cpp/sparse/simd.cpp", "cpp/simd/sparse/**/*.h"),
        centers=True,
        weights=True,
        balls=True,
        provides=("seeding", "limits", "measuring", "blocks", "batches", "sparse-blocks"),
        auto=1,
        debugging=_NATIVE,
        wheels=_OWN,
    ),
}

#: What ``kernel="auto"`` tries, the fastest first. The tuned kernels agree to the last bit, so that
#: which of them can run, and in which mode, changes no result.
AUTO = sorted((name for name, it in KERNELS.items() if it.auto), key=lambda it: KERNELS[it].auto)
#: Those of them whose results have the same bits, with threads of their own: a map may choose among
#: these, but for one that would first have to be compiled in each process.
ALIKE = [name for name in AUTO if KERNELS[name].threading == "own" and KERNELS[name].exact]
#: The kernels that take sparse rows, the fastest first: the table begins with the plainest.
SPARSE = [name for name, it in reversed(KERNELS.items()) if it.sparse]
#: The fastest: what studies and the benchmark beside other libraries compare with.
FLAGSHIP = AUTO[0]
#: The kernels that provide a service to all others, by that service.
PROVIDERS = {part: name for name in reversed(KERNELS) for part in KERNELS[name].provides}


class KernelUnavailable(RuntimeError):
    """A known kernel cannot run here; the message says why and what to type."""


class Incomplete(NotAKernel):
    """A module lacks a function that kernels must have."""


_added: dict[str, KernelSpec] = {}
_complete: dict[str, Kernel] = {}  # modules that have the functions they must have
_places: dict[str, str] = {}  # where the added kernels were found


def find_spec(name: str) -> KernelSpec:
    """Return the row of a kernel; ``ValueError`` listing the choices when there is none."""
    if (spec := KERNELS.get(name) or _added.get(name)) is not None:
        return spec
    if (plugin := installed().get(name)) is not None:
        return plugin.spec
    raise ValueError(_unknown(name))


def _unknown(name: str) -> str:
    choices = ", ".join([*KERNELS, *_added, *installed()])
    return f"kernel={name!r} is not known; choose one of {choices}"


@cache
def installed() -> dict[str, Plugin]:
    """Return the kernels of other installed packages; names in the table take precedence."""
    return {name: it for name, it in plugins.read().items() if name not in KERNELS}


def add_kernel(place: str) -> str:
    """Register a kernel by the path of its file or the name of its module; return its name.

    A module may say more about itself in an attribute ``SPEC``, a ``KernelSpec``.

    Raises
    ------
    ValueError
        There is no such file or module, its name is taken, or its SPEC is something else.
    Exception
        Whatever its import raises; ``ImportError`` where it calls ``sys.exit``.
    """
    module = plugins.import_place(place)
    own = getattr(module, "SPEC", KernelSpec(module.__name__, f"from {place}", "none"))
    return add_spec(place, with_module(own, module.__name__, place))


def add_spec(place: str, spec: KernelSpec) -> str:
    """Register a kernel whose file or module is known to exist; nothing is imported."""
    path = Path(place)
    name = path.stem if path.suffix == ".py" else place
    if name in KERNELS:
        raise NotAKernel(f"{place} has the name of the kernel {name!r}; give the file another name")
    if name in _added and _places[name] != (found := _place(path, place)):
        raise NotAKernel(
            f"{found} has the name of {_places[name]}, {name!r}; give one of them another name"
        )
    _added[name] = spec
    _places[name] = _place(path, place)
    return name


def _place(path: Path, place: str) -> str:
    return str(path.resolve()) if path.suffix == ".py" else place


def added() -> tuple[str, ...]:
    """Return the names of the kernels that ``add_kernel`` registered."""
    return tuple(_added)


def place_of(name: str) -> str:
    """Return what ``known_as`` needs in another process to find the same kernel."""
    return _places.get(name, name)


def known(name: str) -> bool:
    """Whether there is a kernel of this name; nothing is imported."""
    return name in KERNELS or name in _added or name in installed()


def known_as(name_or_place: str) -> str:
    """Return the name of a kernel that is given by name, or by the place of its code.

    Raises
    ------
    ValueError
        It is neither.
    Exception
        Whatever the import of a module that is not in the table raises.
    """
    if known(name_or_place):
        return name_or_place
    if not plugins.is_place(name_or_place):
        raise NotAKernel(
            f"{_unknown(name_or_place)}, or give a .py file or a module that Python finds"
        )
    return add_kernel(name_or_place)


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
        The name is not in the table, and the message lists the choices; or it is that of a package
        whose entry point names no kernel, or of a module that lacks a function.
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
    if name in _complete and sys.modules.get(spec.module) is _complete[name]:
        return _complete[name]
    module = load_module(name)
    needed = _CENTERING if spec.centers else _THREADED if spec.threading == "own" else _PLAIN
    for verb in needed:
        if not callable(getattr(module, verb, None)):
            raise Incomplete(
                f"{spec.module} has no function {verb}, and its kernel {name!r} must have "
                f"{', '.join(needed)}"
            )
    _complete[name] = cast(Kernel, module)
    return _complete[name]


def load_module(name: str) -> Any:
    """Import a kernel by name, as ``load_kernel`` does, whatever functions it has."""
    spec = KERNELS.get(name) or _added.get(name)
    if spec is None:
        if name in installed():
            installed()[name].check()
        spec = find_spec(name)
    return _import(name, spec)


def sparse_spec(name: str) -> KernelSpec:
    """Return what is known about the module of a kernel that takes sparse rows.

    Raises
    ------
    ValueError
        The name is not known, or the kernel has no such module; the message lists those that have.
    """
    spec = find_spec(name)
    if not spec.sparse:
        raise ValueError(
            f"kernel={name!r} takes no sparse rows, and X is sparse; choose one of "
            f"{', '.join(SPARSE)}, or give X.toarray()"
        )
    return _for_sparse(spec)


@cache
def _for_sparse(spec: KernelSpec) -> KernelSpec:
    # What BLAS does for arrays, SciPy does for sparse matrices.
    requires = (*spec.requires, "scipy") if spec.blas else spec.requires
    changed: dict[str, Any] = {"centers": False, "weights": False, "balls": False, "blas": False}
    changed |= {"module": spec.sparse, "requires": requires, "sources": spec.sparse_sources}
    return replace(spec, **changed)


def load_sparse(name: str) -> Kernel:
    """Import the module of a kernel that takes sparse rows, as ``load_kernel`` does."""
    return cast(Kernel, _import(name, sparse_spec(name)))


def load_for(name: str, *, sparse: bool) -> tuple[Kernel, KernelSpec]:
    """Import the module of a kernel for sparse rows or for arrays; return it and its row."""
    return load_sparse(name) if sparse else load_kernel(name), spec_for(name, sparse=sparse)


def spec_for(name: str, *, sparse: bool) -> KernelSpec:
    """Return what is known about a kernel for sparse rows or for arrays."""
    return sparse_spec(name) if sparse else find_spec(name)


def _import(name: str, spec: KernelSpec) -> Any:
    try:
        if spec.module in sys.modules:  # which the next line finds in a fraction of the time
            return import_module(spec.module)
        if why := not_built(spec):
            raise unavailable(name, why, spec)
        with importing(spec.module):
            return import_module(spec.module)
    except ModuleNotFoundError as error:
        absent = f"{error.name}."
        if not f"{spec.module}.".startswith(absent) and error.name not in spec.requires:
            raise
        raise unavailable(name, f"there is no module {error.name!r}", spec) from error


def unavailable(name: str, why: str, spec: KernelSpec) -> KernelUnavailable:
    """Return the error of a kernel that cannot run here, with cause and remedy."""
    remedy = f"; {spec.remedy}" if spec.remedy else ""
    return KernelUnavailable(f"kernel {name!r} is not available: {why}{remedy}")
