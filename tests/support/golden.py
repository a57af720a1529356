"""The bits of every tuned kernel for the small presets.

``python -m tests.support.golden`` rewrites them.

Sums are exact, so that labels, centers and inertia follow from X and the start alone, whichever
tuned kernel computes, in which mode and on which processor. A digest that changes says that results
have changed for users: ``because`` in the file is a sentence of CHANGELOG.md that tells why.
"""

import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import kmeans
from kmeans_lab.presets import PRESETS, FitSettings

FILE = Path(__file__).with_name("golden.json")
CHANGELOG = FILE.parents[2] / "CHANGELOG.md"

#: Pairs of values in all passes at most: what a test can afford for each kernel, mode and level.
_MOST = 3e8


class Golden(TypedDict):
    """What is kept of a fit."""

    X: str
    labels: str
    centers: str
    inertia: str
    n_iter: int


def is_small(name: str) -> bool:
    """Whether a preset is fitted in a moment, and its data need nothing but NumPy."""
    preset = PRESETS[name]
    size = preset.n_samples * preset.n_features * preset.n_clusters * preset.max_iter
    return size * preset.n_init <= _MOST and "image" not in name and "digits" not in name


SMALL = tuple(filter(is_small, PRESETS))

#: Beside the presets: what else has sums, on data that are far from the origin.
CASES = ("weights", "float32", "k-means++", "relocate", "restarts")


@cache
def work(name: str) -> tuple[NDArray[Any], int, FitSettings]:
    """Return X, the number of clusters and the options of a preset or a case."""
    if name in SMALL:
        workload = PRESETS[name].load()
        return workload.X, len(workload.centers), workload.settings()
    rng = np.random.default_rng(CASES.index(name))
    X = rng.standard_normal((5_000, 3)) * 10.0 ** rng.integers(-3, 3, (5_000, 1)) + 1000
    options: FitSettings = {"init": X[:20], "max_iter": 15, "tol": 0}
    if name == "weights":
        return X, 20, options | {"sample_weight": rng.random(5_000) ** 8}
    if name == "float32":
        return X.astype(np.float32), 20, options | {"init": X[:20].astype(np.float32)}
    if name == "k-means++":
        return X, 20, options | {"init": "k-means++", "random_state": 3}
    if name == "relocate":
        return X, 20, options | {"init": np.repeat(X[:5], 4, axis=0)}
    return X, 20, options | {"init": "random", "n_init": 4, "random_state": 3}


def digest(array: NDArray[Any]) -> str:
    """Return a short digest of an array's bytes, shape and dtype."""
    shape = f"{array.dtype.str} {array.shape}".encode()
    return hashlib.sha256(shape + np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def golden(name: str, kernel: str = "cpp-simd", **options: Unpack[FitSettings]) -> Golden:
    """Return what is kept of a fit: of its data, first, since others would give other bits."""
    X, n_clusters, given = work(name)
    result = kmeans(X, n_clusters, kernel=kernel, **(given | options))
    return {
        "X": digest(X),
        "labels": digest(result.labels),
        "centers": digest(result.centers),
        "inertia": result.inertia.hex(),
        "n_iter": result.n_iter,
    }


def main(because: str) -> None:
    """Write the digests of this build; ``because`` must be in the changelog."""
    if because not in CHANGELOG.read_text(encoding="utf-8"):
        raise SystemExit(f"CHANGELOG.md does not say {because!r}; write there why digests change")
    kept = {"because": because, "fits": {name: golden(name) for name in (*SMALL, *CASES)}}
    FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
