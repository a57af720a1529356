"""Types of the answers that the worker of a library sends as JSON."""

from typing import TypedDict


class Pool(TypedDict):
    """A thread pool, as threadpoolctl sees it."""

    api: str
    threads: int
    blas: str  # release and processor that it has chosen code for; "" for other pools


class Hello(TypedDict):
    """What a library is; see ``base.Library``."""

    dtypes: list[str]
    exact: bool
    own_start: bool
    sparse: bool
    remark: str
    version: str
    pools: list[Pool]
    threads_set: int | None


class Saved(TypedDict):
    """A result: centers, and labels where there are some, are in files."""

    n_iter: int | None
    inertia: float | None
    labels: bool
    modified: bool  # X was
    refused: str


class Fit(Saved):
    """One fit."""

    seconds: float
    pools: list[Pool]


class Turn(Saved):
    """Timed fits of few and of many iterations, and the result of the last one."""

    few: list[float]
    many: list[float]
    counts: list[tuple[int, int | None]]  # asked for, and done
    busy: float  # cores
    wall: float
    strayed: int


class Prepared(TypedDict):
    """A whole call that is ready to be made."""

    pools: list[Pool]
    isa: str


class Called(TypedDict):
    """Timed whole calls; the result of the last one is in a file."""

    seconds: list[float]
    busy: float  # cores
    strayed: int  # calls whose result is not that of the first
    modified: bool  # X was


class Draw(TypedDict):
    """Medians over fits, or seedings, that choose their own starting centers."""

    seconds: float
    inertia: float
    n_iter: float | None
