"""``KernelSpec``: a description of a kernel, known without importing it, with checked fields."""

from dataclasses import dataclass
from string import ascii_letters, digits
from typing import Any, Literal, get_args

Threading = Literal["gil", "nogil", "own"]
Arithmetic = Literal["direct", "expanded"]
Part = Literal["seeding", "limits", "measuring", "blocks", "batches", "sparse-blocks"]

#: The dtypes of rows that kernels may take.
FLOATS = ("float32", "float64")
_TEXTS = ("module", "summary", "remedy", "built", "sparse", "debugging", "wheels")
_STEM = set(f"{ascii_letters}{digits}_-")
_FLAGS = (
    *("whole", "centers", "weights", "exact", "blas"),
    *("compiles_on_first_call", "balls", "broadcasts"),
)


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A row of the table of kernels.

    Lists are taken where tuples belong, and kept as tuples.

    Attributes
    ----------
    module : str
        Where ``assign`` and ``update`` live. Filled in for a SPEC that is found in a file or
        through an entry point.
    summary : str
        One line for the tables.
    remedy : str
        What to type when the kernel is unavailable.
    requires : tuple of str
        Top-level packages that the kernel may import and call, by the names they are imported by.
    dtypes : tuple of str
        The dtypes of rows that it takes: "float64" and, optionally, "float32". The driver converts
        X to float64 where it does not take its dtype.
    threading : {"gil", "nogil", "own"}
        "gil": it holds the GIL, so only processes help, and the driver's threads where Python runs
        without that lock. "nogil": the driver's threads help. "own": it brings its own threads
        and takes ``n_threads`` in ``prepare``.
    whole : bool
        It is handed all rows at once instead of chunks. Always so with ``threading="own"``.
    centers : bool
        Its ``prepare`` and ``inertia`` take the middle of X as one more argument and subtract it:
        no centered copy of X lies beside the prepared rows.
    weights : bool
        Its ``prepare`` takes ``weights``, and its sums and counts are then weighted ones; so does
        its ``inertia``. The rows of other kernels are weighted by the driver, in a pass of its own.
    arithmetic : {"direct", "expanded"}
        How it computes a distance: Σ(x − c)², or ‖c‖² − 2x·c; two operations in place of three.
    exact : bool
        Its labels are those of Σ(x − c)² in float64, added up in the order of the features, to the
        last bit. ``predict`` decides the near-ties of other kernels again.
    sources : tuple of str
        Patterns of its source files in a checkout, if there are more than its module.
    built : str
        The stem of a compiled file beside its module, without which it is unavailable. A text file
        of the same stem, which the installation may leave in its place, says why there is none.
    blas : bool
        Its work is done by BLAS, which is kept to the thread that calls it while a fit runs.
    compiles_on_first_call : bool
        The first call with a new dtype compiles; benchmarks warm it up first.
    balls : bool
        Its ``prepare`` takes ``balls=False``, for rows that are seen once.
    broadcasts : bool
        It holds n_samples · n_clusters · n_features values at once.
    provides : tuple of {"seeding", "limits", "measuring", "blocks", "batches", "sparse-blocks"}
        Services of its module to all kernels: ``kernel.Seeds``, ``kernel.MeasuresLimits``,
        ``kernel.MeasuresRows``, ``kernel.AddsBlocks``; of its module for sparse rows:
        ``kernel.MeetsBatches``, ``kernel.AddsSparseBlocks``. The first kernel of the table that
        provides one is used.
    sparse : str
        The module of the same two functions for sparse rows, ``kmeans_lab.sparse.rows.SparseRows``;
        empty where there is none. It is given neither a middle nor weights.
    sparse_sources : tuple of str
        What ``sources`` says, of that module.
    debugging : str
        What a debugger and a traceback show of it: one phrase, for tables that compare tools.
    wheels : str
        The platforms for which a user gets it without a compiler: one phrase, for these tables.
    auto : int
        Its place in the order in which ``kernel="auto"`` tries kernels: 1 comes first, 0 is never
        tried. Used for kernels of the table only.

    Raises
    ------
    ValueError
        A field is of the wrong kind or has an unknown value; the sentence names it.
    """

    module: str
    summary: str
    remedy: str
    requires: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = FLOATS
    threading: Threading = "nogil"
    whole: bool = False
    centers: bool = False
    weights: bool = False
    arithmetic: Arithmetic = "direct"
    exact: bool = False
    sources: tuple[str, ...] = ()
    built: str = ""
    blas: bool = False
    compiles_on_first_call: bool = False
    balls: bool = False
    broadcasts: bool = False
    provides: tuple[Part, ...] = ()
    sparse: str = ""
    sparse_sources: tuple[str, ...] = ()
    debugging: str = ""
    wheels: str = ""
    auto: int = 0

    @property
    def modules(self) -> tuple[str, ...]:
        """Where its code lives: for arrays and, if there is such a module, for sparse rows."""
        return tuple(filter(None, (self.module, self.sparse)))

    def __post_init__(self) -> None:
        """Check each field: a wrong one would go unnoticed until results are wrong."""
        for name in _TEXTS:
            _text(name, getattr(self, name))
        for name in ("requires", "dtypes", "sources", "sparse_sources", "provides"):
            object.__setattr__(self, name, _strings(name, getattr(self, name)))
        if not set(self.built) <= _STEM:
            raise ValueError(
                f"built={self.built!r} of a KernelSpec must be the stem of a file, like '_fast'"
            )
        _choice("threading", self.threading, get_args(Threading))
        _choice("arithmetic", self.arithmetic, get_args(Arithmetic))
        for name in _FLAGS:
            if type(value := getattr(self, name)) is not bool:
                raise ValueError(f"{name}={value!r} of a KernelSpec must be True or False")
        if type(self.auto) is not int or self.auto < 0:
            raise ValueError(f"auto={self.auto!r} of a KernelSpec must be an integer ≥ 0")
        _packages(self.requires)
        for dtype in self.dtypes:
            _choice("dtypes", dtype, FLOATS)
        for part in self.provides:
            _choice("provides", part, get_args(Part))
        if "float64" not in self.dtypes:
            raise ValueError(
                f"dtypes={self.dtypes!r} of a KernelSpec must have 'float64', which X becomes "
                "where a kernel does not take its dtype; write dtypes=('float64',) or leave it out"
            )


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} of a KernelSpec must be a string")  # noqa: TRY004
    if len(value.splitlines()) > 1:
        raise ValueError(f"{name}={value!r} of a KernelSpec must be one line")


def _strings(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(it, str) for it in value):
        return tuple(value)
    written = f"; write {name}=({value!r},)" if isinstance(value, str) else ""
    raise ValueError(f"{name}={value!r} of a KernelSpec must be a tuple of strings{written}")


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name}={value!r} of a KernelSpec is not known; choose one of {known}")


def _packages(requires: tuple[str, ...]) -> None:
    for package in requires:
        if not package.isidentifier():
            top = package.partition(".")[0]
            advice = f"; write {top!r}" if top.isidentifier() else ", like 'sklearn'"
            raise ValueError(
                f"requires={requires!r} of a KernelSpec must name top-level packages as they are "
                f"imported, and {package!r} is none{advice}"
            )
