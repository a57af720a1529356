"""Sparse rows as texts have them, for tests."""

from typing import Any

import numpy as np
from scipy import sparse


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
