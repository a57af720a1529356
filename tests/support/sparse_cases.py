"""Sparse rows and starts on which fast kernels go wrong: ties, signs, sizes, empty rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Rng = np.random.Generator


def texts(
    seed: int = 0, n_samples: int = 300, n_features: int = 120, dtype: Any = np.float64
) -> Any:
    """Return rows as texts have them: a few words each, frequent ones and rare ones, length 1."""
    rng = np.random.default_rng(seed)
    words = np.minimum((n_features * rng.random((n_samples, 9)) ** 3).astype(int), n_features - 1)
    dense = np.zeros((n_samples, n_features))
    np.add.at(dense, (np.arange(n_samples)[:, None], words), rng.random(words.shape) + 0.5)
    dense /= np.sqrt((dense**2).sum(axis=1, keepdims=True))
    return sparse.csr_array(dense.astype(dtype))


#: Clusters and starting centers for the rows of ``texts()``.
K = 6
START = texts()[::50].toarray()


def _random(rng: Rng, density: float = 0.08) -> Any:
    return sparse.random(240, 90, density, format="csr", random_state=rng)


def _with(values: Callable[[Rng, int], NDArray[np.float64]]) -> Callable[[Rng], Any]:
    def make(rng: Rng) -> Any:
        rows = _random(rng)
        rows.data = values(rng, rows.nnz)
        return rows

    return make


def _repeated(rng: Rng) -> Any:
    return sparse.csr_array(_random(rng).toarray()[rng.integers(0, 20, 240)])


def _one_column(rng: Rng) -> Any:
    return sparse.csr_array(rng.integers(-3, 4, (240, 1)).astype(float))


#: Functions of a generator that return rows, by what is special about them.
DATA: dict[str, Callable[[Rng], Any]] = {
    "texts": lambda rng: texts(int(rng.integers(1000)), 400, 150),
    "positive": _random,
    "signed": _with(lambda rng, n: rng.normal(size=n)),
    "whole": _with(lambda rng, n: rng.integers(1, 3, n).astype(float)),
    "signed whole": _with(lambda rng, n: rng.integers(-2, 3, n).astype(float)),
    "thirds": _with(lambda rng, n: np.full(n, 1 / 3)),
    "wide": _with(lambda rng, n: 10.0 ** rng.uniform(-12, 12, n)),
    "huge": _with(lambda rng, n: rng.random(n) * 1e140),
    "tiny": _with(lambda rng, n: rng.random(n) * 1e-140),
    "repeated": _repeated,
    "one column": _one_column,
    "mostly empty": lambda rng: _random(rng, density=0.005),
}


def start(rng: Rng, rows: Any, k: int) -> Any:
    """Return k rows as starting centers, in which some are alike."""
    return np.ascontiguousarray(rows[np.sort(rng.integers(0, rows.shape[0], k))].toarray())
