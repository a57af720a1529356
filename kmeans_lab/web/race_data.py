"""What all lanes of a race share, made once in a worker: rows, starting centers, and the picture.

The rows are written into memory that every lane is handed, so that all fit the same bytes. The
picture is the first two coordinates, or the plane of the first two principal components (Pearson,
1901), of at most ``drawn`` rows; one scale for both axes keeps circles round.
"""

from base64 import b64encode
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.isolation.pools import quiet_pools
from kmeans_lab.kernel import Array
from kmeans_lab.measure.certify import fingerprint
from kmeans_lab.measure.roofline import bandwidth, can_measure, peak
from kmeans_lab.numerics.blocks import row_blocks
from kmeans_lab.presets import PRESETS
from kmeans_lab.seeding import INITS

_MARGIN = 0.03  # of the picture, on each side
_RADIUS = 14.0  # of the ring, as in the standard preset
_COVARIANCE_ROWS = 100_000  # more do not move the plane that anybody sees


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """From rows of X to places in 0 … 1, up being up.

    ``axes`` is (n_features, 2); ``low`` the corner, ``span`` the longer side.
    """

    name: str
    middle: Array
    axes: Array
    low: Array
    span: float

    def places(self, rows: Array) -> NDArray[np.float32]:
        """Return (n_rows, 2)."""
        flat = (rows - self.middle) @ self.axes
        inside = (flat - self.low) / self.span
        return (_MARGIN + (1 - 2 * _MARGIN) * inside).astype("<f4")


@dataclass(frozen=True, slots=True)
class DataOrder:
    """The rows, start and picture that a worker has to make.

    Attributes
    ----------
    sizes : (int, int, int)
        Rows, features and clusters.
    dtype : str
    preset : str or None
        A named workload; None for rows of the race's own.
    spread, seed : float, int
        Of rows of its own.
    start, start_seed : str or None, int
        How starting centers are drawn; None for those of the preset.
    drawn : int
        How many rows the picture shows at most.
    roofs : list of int
        Thread counts for which the machine's limits are measured.
    """

    sizes: tuple[int, int, int]
    dtype: str
    preset: str | None
    spread: float
    seed: int
    start: str | None
    start_seed: int
    drawn: int
    roofs: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class RaceData:
    """The data that all lanes share, besides the rows.

    Attributes
    ----------
    centers : ndarray of shape (n_clusters, n_features)
    drawn : ndarray of int
        Rows that the picture shows.
    plane : Plane
    points : str
        Places of these rows, base64.
    inputs : str
        Hash of the rows.
    roofs : dict of int to (float, float) or None
        Operations and bytes read per second by number of threads; None where that is not known.
    """

    centers: Array
    drawn: NDArray[np.intp]
    plane: Plane
    points: str
    inputs: str
    roofs: dict[int, tuple[float, float] | None]

    @classmethod
    def of_message(cls, said: Any) -> Self:
        """Return what a worker sent; ``TypeError`` where it is something else."""
        return cls(**said | {"plane": Plane(**said["plane"])})


def make_race_data(connection: Connection, order: DataOrder, memory: Any) -> None:
    """Fill the memory with rows and send the rest, or ("failed", sentence)."""
    with quiet_pools():
        try:
            connection.send(("data", asdict(_race_data(order, memory))))
        except ModuleNotFoundError as error:  # real data need a package; the message says which
            connection.send(("failed", str(error)))
        except MemoryError:
            connection.send(("failed", "the rows do not fit into memory; use fewer"))


def _race_data(order: DataOrder, memory: Any) -> RaceData:
    n, d, k = order.sizes
    X: Array = np.frombuffer(memory, dtype=order.dtype, count=n * d).reshape(n, d)
    centers = None
    if order.preset is None:
        _own_rows(X, k, order.spread, order.seed)
    else:
        workload = PRESETS[order.preset].load()
        X[:], centers = workload.X, workload.centers
    if order.start is not None or centers is None:
        rng = np.random.default_rng(order.start_seed)
        centers = np.asarray(INITS[order.start or "k-means++"](X, k, rng), dtype=X.dtype)
    drawn = np.arange(n)
    if n > order.drawn:
        drawn = np.sort(np.random.default_rng(0).choice(n, order.drawn, replace=False))
    plane = find_plane(X)
    return RaceData(
        centers=np.ascontiguousarray(centers, dtype=X.dtype),
        drawn=drawn,
        plane=plane,
        points=b64encode(plane.places(X[drawn]).tobytes()).decode(),
        inputs=fingerprint(X),
        roofs={threads: _roof(order.dtype, threads) for threads in order.roofs},
    )


def _own_rows(X: Array, n_clusters: int, spread: float, seed: int) -> None:
    """Overwrite X with round clusters on a ring, the standard preset's for any sizes."""
    n, d = X.shape
    rng = np.random.default_rng(seed)
    angles = np.linspace(0.0, 2.0 * np.pi, n_clusters, endpoint=False)
    ring = np.zeros((n_clusters, max(2, d)))
    ring[:, :2] = _RADIUS * np.column_stack((np.cos(angles), np.sin(angles)))
    ring[:, :2] += rng.normal(scale=2.5, size=(n_clusters, 2))
    ring[:, 2:] = rng.normal(scale=3.5, size=(n_clusters, max(2, d) - 2))
    which: Any = rng.integers(n_clusters, size=n)
    for some in row_blocks(n, d):  # no second copy of X
        rows = X[some]
        rows[:] = rng.normal(scale=spread, size=rows.shape)
        rows += ring[which[some], :d]


def find_plane(X: Array) -> Plane:
    """Return the plane that shows most of X."""
    n, d = X.shape
    middle = X.mean(axis=0, dtype=np.float64)
    if d <= 2:
        name, axes = "first two coordinates", np.eye(d, 2)
    else:
        name = "first two principal components"
        some = X[:: max(1, n // _COVARIANCE_ROWS)] - middle
        _, vectors = np.linalg.eigh(some.T @ some)
        axes = vectors[:, -1:-3:-1]
        # A vector and its opposite are both right: the larger entry points up, in every run.
        top = np.abs(axes).argmax(axis=0)
        axes = axes * np.sign(axes[top, np.arange(2)])
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for some in row_blocks(n, d):
        flat = (X[some] - middle) @ axes
        low, high = np.minimum(low, flat.min(axis=0)), np.maximum(high, flat.max(axis=0))
    span = float((high - low).max()) or 1.0
    return Plane(name, middle, axes, (low + high - span) / 2, span)


def _roof(dtype: str, n_threads: int) -> tuple[float, float] | None:
    """Return operations and bytes read per second; None where they cannot be measured."""
    if not can_measure():
        return None
    return peak(dtype, n_threads), bandwidth(n_threads)
