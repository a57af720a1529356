"""Named workloads: the same X, the same starting centers and the same stop rule for all.

Synthetic data are generated from a seed with NumPy alone; real data are the files that
scikit-learn ships inside its wheel (extra ``data``). Starting centers are an array handed to
every kernel and every peer: two libraries given the same seed do not start alike.

In this order:

- ``Preset`` and ``Workload``: a workload as it is described, and with its data;
- ``photograph`` to ``texts``: real data, and texts; points are drawn in ``numerics.blobs``;
- ``_d2_start`` to ``_real``: one preset of a family; a new family begins here;
- ``_table``, ``_smoke_table``: the presets that are listed;
- ``find_preset``: names with sizes in them, like ``blobs-1000-2-5``.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from kmeans_lab import checks
from kmeans_lab.io.datafiles import Refused, read_rows
from kmeans_lab.kernel import Array
from kmeans_lab.numerics.blobs import grid_blobs, grid_start, quick_blobs, ring_blobs, wide_blobs
from kmeans_lab.result import Lines, Shown
from kmeans_lab.seeding import d2, random_rows
from kmeans_lab.sparse.rows import SparseRows
from kmeans_lab.sparse.texts import KINDS, draw_texts, text_start
from kmeans_lab.stopping import StopRule

#: The seed of every start that no published study fixes.
START_SEED = 7
#: Names the file that the presets ``embeddings-K`` read; every process of a run sees it.
EMBEDDINGS_VARIABLE = "KMEANS_LAB_EMBEDDINGS"


class FitSettings(TypedDict, total=False):
    """Keyword arguments of ``kmeans`` other than the kernel and the callback."""

    metric: str
    init: Any
    n_init: int
    max_iter: int
    tol: float | None
    stop: str | StopRule
    empty: str
    n_threads: int | None
    mode: str | None
    random_state: Any
    sample_weight: Any
    history: bool
    memory: int | str | None
    labels_out: Any
    resume: Any


@dataclass(frozen=True, slots=True)
class Preset:
    """A named workload, described without generating its data.

    Attributes
    ----------
    summary : str
        One line for the tables.
    n_samples, n_features, n_clusters : int
        The shape of the problem.
    make : callable
        Generates X.
    start : callable
        Starting centers from X.
    max_iter : int
        Maximum number of iterations.
    stop, tol : str, float or None
        The stop rule, as ``kmeans`` takes it.
    n_init : int
        Repetitions of the preset's own recipe.
    dtype : {"float64", "float32"}
        The dtype of X.
    sparse : bool
        X is ``SparseRows``.
    """

    summary: str
    n_samples: int
    n_features: int
    n_clusters: int
    make: Callable[[], Array | SparseRows]
    start: Callable[[Any], Array]
    max_iter: int
    stop: str = "shift"
    tol: float | None = 0.0
    n_init: int = 1
    dtype: str = "float64"
    sparse: bool = False

    def load(self) -> "Workload":
        """Generate X and the starting centers.

        Raises
        ------
        ModuleNotFoundError
            The data are real and scikit-learn or Pillow is missing, or they are sparse and SciPy
            is; the message says how to install it.
        """
        made = self.make()
        if isinstance(made, SparseRows):
            X: Any = made.astype(np.dtype(self.dtype))
        else:
            X = np.ascontiguousarray(made, dtype=self.dtype)
        return Workload(self, X, self.start(X))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Workload(Shown):
    """A preset with its data: X (n_samples, n_features), centers (n_clusters, n_features).

    X is an array or, for a sparse preset, ``SparseRows``.
    """

    preset: Preset
    X: Any
    centers: Array

    def _lines(self) -> Lines:
        shapes = {"X": self.X.shape, "centers": self.centers.shape, "dtype": str(self.X.dtype)}
        return [{"summary": self.preset.summary}, shapes]

    def settings(self, *, to_rest: bool = False) -> FitSettings:
        """Return the keyword arguments of ``kmeans`` that make every fit do equal work.

        ``to_rest`` replaces the preset's stop rule: go on until no center moves (tol = 0).
        """
        preset = self.preset
        rule = ("shift", 0.0) if to_rest else (preset.stop, preset.tol)
        settings: FitSettings = {"max_iter": preset.max_iter, "stop": rule[0], "tol": rule[1]}
        if preset.n_init == 1:
            return settings | {"init": self.centers}
        # Repetitions draw their starts here, the first one being self.centers.
        return settings | {"init": "d2", "n_init": preset.n_init, "random_state": START_SEED}


def photograph() -> Array:
    """Return the pixels of scikit-learn's china.jpg as rows of R, G, B in 0 … 255."""
    pixels: Array = _sklearn_datasets().load_sample_image("china.jpg").reshape(-1, 3)
    return pixels


def handwritten_digits() -> Array:
    """Return scikit-learn's 8 × 8 digits as rows of 64 values in 0 … 16."""
    values: Array = _sklearn_datasets().load_digits().data
    return values


def embeddings(path: Path | None = None) -> Array:
    """Return the rows of a file of embeddings; float16 becomes float32, as in ``kmeans``.

    The file is named by ``KMEANS_LAB_EMBEDDINGS`` unless ``path`` does. Raises ``ValueError`` where
    there is none, or what is there is no file of numbers.
    """
    if path is None:
        named = os.environ.get(EMBEDDINGS_VARIABLE, "")
        if not named:
            raise Refused(
                "embeddings are the rows of a file that the package cannot ship; set "
                f"{EMBEDDINGS_VARIABLE} to an .npy file with an embedding in each row "
                "(docs/measuring.md says how to make one)"
            )
        path = Path(named)
    rows = read_rows(path)
    if not isinstance(rows, np.ndarray):
        raise Refused(f"{path} is sparse, and embeddings must be dense; save rows.toarray()")
    return checks.samples(rows, ("float32", "float64"))


def _sklearn_datasets() -> Any:
    try:
        import PIL  # noqa: F401 (scikit-learn's image reader needs it)
        from sklearn import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this preset reads real data and needs {error.name}; pip install 'kmeans-lab[data]'",
            name=error.name,
        ) from error
    return datasets


def texts(kind: str, n_samples: int, n_clusters: int) -> SparseRows:
    """Return synthetic texts, "text" or "zipf", with as many topics as clusters.

    Raises ``ModuleNotFoundError`` without SciPy, whose products judge what kernels find in them.
    """
    try:
        import scipy.sparse  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this preset has sparse rows, and judging results on them needs scipy; "
            "pip install 'kmeans-lab[scipy]'",
            name=error.name,
        ) from error
    return draw_texts(KINDS[kind], n_samples, n_clusters)


def _d2_start(n_clusters: int) -> Callable[[Array], Array]:
    return lambda X: d2(X, n_clusters, np.random.default_rng(START_SEED))


def _random_start(n_clusters: int) -> Callable[[Array], Array]:
    return lambda X: random_rows(X, n_clusters, np.random.default_rng(START_SEED))


def _grid(n_samples: int, n_clusters: int) -> Preset:
    return Preset(
        "the multiprocessing study: Gaussian blobs in the unit square",
        n_samples,
        2,
        n_clusters,
        lambda: grid_blobs(n_samples, n_clusters),
        lambda X: grid_start(X, n_clusters),
        max_iter=300,
        stop="labels",
        tol=0.01,  # the study's rule: at most N // 100 labels change
    )


def _wide(n_samples: int, n_features: int, n_clusters: int, max_iter: int, dtype: str) -> Preset:
    return Preset(
        "embedding-like sizes: overlapping Gaussian clusters",
        n_samples,
        n_features,
        n_clusters,
        lambda: wide_blobs(n_samples, n_features, n_clusters),
        _random_start(n_clusters),
        max_iter=max_iter,
        dtype=dtype,
    )


def _embedded(n_clusters: int, dtype: str | None) -> Preset:
    rows = embeddings()
    if n_clusters > len(rows):
        raise Refused(
            f"preset='embeddings-{n_clusters}' needs as many rows and the file has {len(rows)}; "
            "name a larger file or fewer clusters"
        )
    return Preset(
        "embeddings from your own file",
        len(rows),
        rows.shape[1],
        n_clusters,
        lambda: rows,
        _random_start(n_clusters),
        max_iter=20,
        dtype=dtype or str(rows.dtype),
    )


def _texts(kind: str, n_samples: int, n_clusters: int, max_iter: int, dtype: str) -> Preset:
    return Preset(
        f"sparse rows: synthetic {'short texts' if kind == 'text' else 'documents'}, tf·idf",
        n_samples,
        KINDS[kind].vocabulary(n_samples),
        n_clusters,
        lambda: texts(kind, n_samples, n_clusters),
        lambda X: text_start(X, n_clusters, np.random.default_rng(START_SEED)),
        max_iter=max_iter,
        dtype=dtype,
        sparse=True,
    )


def _ring(summary: str, n_clusters: int, points: int, n_features: int, max_iter: int) -> Preset:
    return Preset(
        summary,
        n_clusters * points,
        n_features,
        n_clusters,
        lambda: ring_blobs(7, n_clusters, points, n_features, 10.0, 1.2),
        _d2_start(n_clusters),
        max_iter=max_iter,
    )


def _real(summary: str, shape: tuple[int, int], k: int, make: Any, max_iter: int) -> Preset:
    return Preset(summary, *shape, k, make, _d2_start(k), max_iter=max_iter)


def _table() -> dict[str, Preset]:
    table = {
        "standard": _ring("the Python-vs-C++ demo: overlapping blobs on a ring", 25, 650, 10, 35),
        "quick": Preset(
            "the demo's 2-D set: five blobs and uniform noise",
            1440, 2, 5, quick_blobs, _d2_start(5),
            max_iter=120, stop="shift-norm", tol=1e-4, n_init=3,
        ),
    }  # fmt: skip
    for n_samples in (10_000, 100_000, 1_000_000):
        for n_clusters in (10, 20, 40):
            table[f"grid-{n_samples}-{n_clusters}"] = _grid(n_samples, n_clusters)
    table["image"] = _real(
        "colour quantisation: the pixels of a photograph", (273_280, 3), 64, photograph, 20
    )
    table["digits"] = _real("handwritten digits", (1797, 64), 10, handwritten_digits, 300)
    for n_features, n_clusters, max_iter in ((16, 64, 20), (64, 256, 10), (128, 1024, 5)):
        for dtype, suffix in (("float64", ""), ("float32", "-f32")):
            name = f"wide-{n_features}-{n_clusters}{suffix}"
            table[name] = _wide(100_000, n_features, n_clusters, max_iter, dtype)
    return table | _smoke_table()


def _smoke_table() -> dict[str, Preset]:
    """Tiny versions of the others, for tests: every kind, fractions of a second in plain Python."""
    return {
        "smoke": _ring("a tiny version of the standard preset", 5, 30, 3, 5),
        "smoke-grid": _grid(400, 5),
        "smoke-image": _real(
            "every 800th pixel of the photograph", (342, 3), 6, lambda: photograph()[::800], 5
        ),
        "smoke-digits": _real(
            "the first 150 digits", (150, 64), 5, lambda: handwritten_digits()[:150], 5
        ),
        "smoke-wide": _wide(300, 16, 8, 5, "float64"),
        "smoke-wide-f32": _wide(300, 16, 8, 5, "float32"),
    }


PRESETS: dict[str, Preset] = _table()


_SIZES = re.compile(r"blobs-(\d+)-(\d+)-(\d+)(-f32)?")
_TEXTS = re.compile(r"(text|zipf)-(\d+)-(\d+)(-f32)?")
_SMOKE_TEXT = re.compile(r"smoke-text(-f32)?")
_EMBEDDED = re.compile(r"embeddings-(\d+)(-f32|-f64)?")
_SUFFIXES = {"-f32": "float32", "-f64": "float64", None: None}


def find_preset(name: str) -> Preset:
    """Return a preset by name, or one of any size by the pattern of its name.

    - ``blobs-N-D-K``: N rows, D features, the clusters of the wide presets.
    - ``embeddings-K``: the rows of the file that ``KMEANS_LAB_EMBEDDINGS`` names.
    - ``text-N-K``: N short texts as sparse rows, 8.5 values each; ``zipf-N-K``: N documents with 80
      values each. ``smoke-text`` is a tiny version.

    Each has K clusters and 20 iterations. ``-f32`` at the end asks for float32; embeddings, whose
    dtype is otherwise that of the file, also take ``-f64``.
    Raises ``ValueError``, listing the choices, when there is no such preset.
    """
    if name in PRESETS:
        return PRESETS[name]
    if sizes := _SIZES.fullmatch(name):
        n, d, k = (int(size) for size in sizes.groups()[:3])
        if d >= 1 and n >= k >= 1:
            return _wide(n, d, k, 20, "float32" if sizes[4] else "float64")
    if (sizes := _TEXTS.fullmatch(name)) and int(sizes[2]) >= int(sizes[3]) >= 1:
        n, k = int(sizes[2]), int(sizes[3])
        return _texts(sizes[1], n, k, 20, "float32" if sizes[4] else "float64")
    if found := _SMOKE_TEXT.fullmatch(name):
        return _texts("text", 300, 6, 5, "float32" if found[1] else "float64")
    if (found := _EMBEDDED.fullmatch(name)) and (k := int(found[1])) >= 1:
        return _embedded(k, _SUFFIXES[found[2]])
    raise ValueError(
        f"preset={name!r} is not known; choose one of {', '.join(PRESETS)}, blobs-N-D-K, text-N-K "
        "or zipf-N-K for any sizes with N ≥ K, smoke-text, or embeddings-K for rows of your own"
    )


def find_dense(name: str, what: str) -> Preset:
    """Return a preset whose rows are arrays, for what knows no sparse rows.

    Raises ``ValueError`` for another, in a sentence that begins with ``what``.
    """
    preset = find_preset(name)
    if preset.sparse:
        raise ValueError(
            f"{what} and preset={name!r} has sparse ones; choose another preset, or "
            f"kmeans-lab bench --preset {name}"
        )
    return preset
