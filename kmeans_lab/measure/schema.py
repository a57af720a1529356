"""Types of the records that ``record`` writes and reads.

They mirror ``bench.json`` and ``scaling.json`` beside this file, which say the same of files that
may be damaged; a test holds the two to each other.
"""

from typing import Literal, NotRequired, TypedDict

from kmeans_lab.isolation.hardware import Hardware

State = Literal["ready", "valid", "INVALID", "unavailable", "broken", "left out"]


class Pool(TypedDict):
    """A thread pool of a library, as threadpoolctl sees it."""

    internal_api: str
    num_threads: int
    version: NotRequired[str | None]
    architecture: NotRequired[str | None]


class InterpreterRecord(TypedDict):
    """An interpreter that kernels ran in; its sources of kmeans_lab are those of the command.

    The command's own has no name. ``locked`` names the kernels in whose processes the lock was on
    after the import, or after a whole fit where they ran one, and ``free`` the others.
    """

    name: str
    version: str
    free_threaded: bool
    locked: list[str]
    free: list[str]
    numpy: str
    kmeans_lab: str
    builds: dict[str, str]
    instruction_sets: dict[str, str]


class Card(Hardware):
    """A machine card."""

    load_average: list[float]
    python: str
    numpy: str
    numba: str | None
    builds: dict[str, str]
    pools: list[Pool]
    instruction_sets: NotRequired[dict[str, str]]
    numba_target: NotRequired[str | None]
    commit: NotRequired[str | None]


class IntervalRecord(TypedDict):
    """The fields of an ``Interval``."""

    middle: float
    low: float
    high: float
    confidence: float
    n: int


class CalibrationRecord(TypedDict):
    """Seconds of the calibration loop before and after the rounds."""

    opening: list[float]
    closing: list[float]
    drift: float | None


class RoofRecord(TypedDict):
    """The fields of a ``Roof``."""

    n_threads: int
    operations: dict[str, float]
    read: float
    triad: float


#: Seconds before the first fit; see ``calibration.start_costs``.
StartCosts = TypedDict(
    "StartCosts",
    {
        "import": float | None,
        "compile": float | None,
        "load": float | None,
        "build": float | None,
    },
)


class ContestantRecord(TypedDict):
    """A kernel in a run, and what was measured of it."""

    name: str
    kernel: str
    interpreter: NotRequired[str | None]
    lock: NotRequired[bool | None]
    cores: NotRequired[float | None]
    state: State
    why: str
    source: str | None
    arithmetic: Literal["direct", "expanded"]
    every: int
    start: StartCosts | None
    n_iter: int | None
    ties: int | None
    rescored: int | None
    seconds: list[float]
    rounds: list[int]
    phases: dict[str, list[float]]
    ratio: IntervalRecord | None


class RunRecord(TypedDict):
    """A paired run on one preset with one thread count."""

    preset: str
    n_samples: int
    n_features: int
    n_clusters: int
    dtype: str
    n_init: int
    n_threads: int
    baseline: str
    seed: int
    confidence: float
    n_rounds: int
    partial: bool
    void: str
    floor: float | None
    calibration: CalibrationRecord
    roof: RoofRecord | None
    orders: list[list[str]]
    contestants: list[ContestantRecord]


class BenchRecord(TypedDict):
    """What ``kmeans-lab bench --output`` writes."""

    format: str
    version: int
    machine: Card
    interpreters: NotRequired[list[InterpreterRecord]]
    runs: list[RunRecord]


class PointRecord(TypedDict):
    """The fields of a ``Point``."""

    workers: int
    seconds: float
    start_up: float
    speedup: IntervalRecord
    work: IntervalRecord
    machine: float | None


class WorkersRecord(TypedDict):
    """The fields of a ``Scaling``."""

    kernel: str
    preset: str
    mode: str
    points: list[PointRecord]
    serial_share: float | None


class GrowthRecord(TypedDict):
    """The fields of a ``Growth``."""

    kernel: str
    axis: str
    others: dict[str, int]
    sizes: list[int]
    seconds: list[float]
    exponent: IntervalRecord


class ScalingRecord(TypedDict):
    """What ``kmeans-lab scaling --json`` prints."""

    format: str
    version: int
    machine: Card
    workers: list[WorkersRecord]
    growth: list[GrowthRecord]
