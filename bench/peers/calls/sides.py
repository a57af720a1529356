"""Whole calls as a user of either library writes them; this side of a pipe lives in a worker.

What comes before the clock is reading the data and, for predict, score and transform, fitting.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bench.peers.answers import Called

#: Rows that ``partial_fit`` is given at once.
BATCH = 1_000
#: Below this many seconds a turn begins with calls that wake up caches and threads, for so long at
#: least: a processor of a virtual machine that has slept comes back after 10 ms.
SHORT, WAKING = 0.2, 0.03
#: How far a parallel sum in another order may move a number, relative to the largest.
WITHIN = {"float64": 1e-6, "float32": 1e-3}
#: How many labels near-ties may change then.
LABELS_WITHIN = 1e-3

Clock = Callable[..., tuple[Any, float, float]]


@dataclass(frozen=True, slots=True)
class Given:
    """The arrays in a folder and the settings of a call."""

    folder: Path
    n_iter: int

    def read(self, name: str) -> Any:
        """Return an array of its own memory, as a user's would be."""
        return np.load(self.folder / f"{name}.npy")


@dataclass
class _Ready:
    run: Callable[[int], Any]
    X: Any
    source: Path
    certified: dict[str, Any] | None = None  # what the first call of this seed found
    seed: int = -1
    seconds: list[float] = field(default_factory=list)


class Side:
    """One library's way to make each call."""

    def __init__(self, name: str, n_threads: int) -> None:
        self.ours = name != "scikit-learn"
        self._ready: dict[str, _Ready] = {}
        if not self.ours:
            return
        from kmeans_lab import kmeans
        from kmeans_lab.registry import load_kernel

        self.kernel = load_kernel(name)
        self.settings: dict[str, Any] = {"kernel": name, "n_threads": n_threads}
        self.kmeans: Any = partial(kmeans, **self.settings)

    @property
    def estimator(self) -> Any:
        """Return KMeans; ours needs scikit-learn, which plain fits do without."""
        module = import_module("kmeans_lab" if self.ours else "sklearn.cluster")
        return partial(module.KMeans, **self.settings) if self.ours else module.KMeans

    @property
    def minibatch(self) -> Any:
        """Return MiniBatchKMeans."""
        module = import_module("kmeans_lab" if self.ours else "sklearn.cluster")
        kernel = {"kernel": self.settings["kernel"]} if self.ours else {}
        return partial(module.MiniBatchKMeans, **kernel)

    def isa(self) -> str:
        """Return the instruction set that our kernel has chosen, if it chooses one."""
        choose = getattr(self.kernel, "isa", None) if self.ours else None
        return "" if choose is None else str(choose())

    def prepare(self, call: str, given: Given) -> None:
        """Read the data; fit, where the call needs a fitted model. The data before are let go."""
        source = given.folder / "X.npy"
        self._ready = {
            name: it for name, it in self._ready.items() if it.source == source and name != call
        }
        X = next((it.X for it in self._ready.values()), None)
        X = given.read("X") if X is None else X
        self._ready[call] = _Ready(getattr(self, f"_{call}")(X, given), X, source)

    def call(self, name: str, seed: int, repeats: int, save: Path, clocked: Clock) -> Called:
        """Time a call; save the last result, and compare all with the first of the same seed."""
        it = self._ready[name]
        if it.seconds and median(it.seconds) < SHORT:
            begun = perf_counter()
            it.run(seed)
            while perf_counter() - begun < WAKING:
                it.run(seed)
        seconds, cpu, strayed, found = [], 0.0, 0, None
        for _ in range(repeats):
            result = found = None  # releasing the last result is no part of the next call
            result, wall, spent = clocked(it.run, seed)
            seconds.append(wall)
            cpu += spent
            found = _as_arrays(result)
            if it.certified is None or it.seed != seed:
                it.certified, it.seed = found, seed
            strayed += not alike(found, it.certified, exactly=self.ours)
        it.seconds = seconds
        np.savez(save, **(found or {}))
        original = np.load(it.source, mmap_mode="r")
        return {
            "seconds": seconds,
            "busy": cpu / sum(seconds),
            "strayed": strayed,
            "modified": not np.array_equal(it.X, original),
        }

    def _fit(self, X: Any, given: Given, weights: Any = None) -> Callable[[int], Any]:
        start, n_iter = given.read("start"), given.n_iter
        k = len(start)
        if self.ours:
            settings: Any = {"max_iter": n_iter, "tol": 0.0}
            weighted = {} if weights is None else {"sample_weight": weights}
            return lambda _seed: self.kmeans(X, k, init=start, **settings | weighted)
        estimator = partial(self.estimator, k, init=start, n_init=1, max_iter=n_iter, tol=0.0)
        return lambda _seed: estimator().fit(X, sample_weight=weights)

    def _weighted(self, X: Any, given: Given) -> Callable[[int], Any]:
        return self._fit(X, given, given.read("weights"))

    def _fitted(self, X: Any, given: Given) -> Any:
        """Return a fitted model that has the same centers in both libraries."""
        start = given.read("start")
        model = self.estimator(len(start), init=start, n_init=1, max_iter=1).fit(X)
        model.cluster_centers_ = given.read("centers")
        return model

    def _predict(self, X: Any, given: Given) -> Callable[[int], Any]:
        model = self._fitted(X, given)
        return lambda _seed: {"labels": model.predict(X)}

    def _score(self, X: Any, given: Given) -> Callable[[int], Any]:
        model = self._fitted(X, given)
        return lambda _seed: {"inertia": -model.score(X)}

    def _transform(self, X: Any, given: Given) -> Callable[[int], Any]:
        model = self._fitted(X, given)
        return lambda _seed: {"distances": model.transform(X)}

    def _n_init(self, X: Any, given: Given) -> Callable[[int], Any]:
        return self._own_start(X, given, init="random", n_init=5)

    def _plusplus(self, X: Any, given: Given) -> Callable[[int], Any]:
        return self._own_start(X, given, init="k-means++", n_init=1)

    def _own_start(self, X: Any, given: Given, **how: Any) -> Callable[[int], Any]:
        k = len(given.read("start"))
        estimator = partial(self.estimator, k, max_iter=given.n_iter, tol=0.0, **how)
        return lambda seed: estimator(random_state=seed).fit(X)

    def _partial_fit(self, X: Any, given: Given) -> Callable[[int], Any]:
        k = len(given.read("start"))

        def run(seed: int) -> Any:
            model = self.minibatch(k, random_state=seed)
            for first in range(0, len(X), BATCH):
                model.partial_fit(X[first : first + BATCH])
            return {"centers": model.cluster_centers_}

        return run


def _as_arrays(result: Any) -> dict[str, Any]:
    """Return what a call has found, by the same names for both libraries."""
    if isinstance(result, dict):
        return result
    names = {"centers": "cluster_centers_", "labels": "labels_", "n_iter": "n_iter_"}
    own = hasattr(result, "centers")
    found = {name: getattr(result, name if own else theirs) for name, theirs in names.items()}
    return found | {"inertia": result.inertia if own else result.inertia_}


def alike(found: dict[str, Any], certified: dict[str, Any], *, exactly: bool) -> bool:
    """Tell whether two calls found the same; NaN is like nothing."""
    for name, expected in certified.items():
        one, other = np.asarray(found[name]), np.asarray(expected)
        if exactly or name == "n_iter":
            same = np.array_equal(one, other)
        elif name == "labels":
            same = bool(np.count_nonzero(one != other) <= LABELS_WITHIN * len(one))
        else:
            within = WITHIN[one.dtype.name if one.dtype.name in WITHIN else "float64"]
            same = bool(np.abs(one - other).max() <= within * np.abs(other).max())
        if not same:
            return False
    return True
