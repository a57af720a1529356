"""Fits for tests of kernels in company: their bits tell whether anything went wrong."""

from kmeans_lab import kmeans
from kmeans_lab.registry import KERNELS, find_spec
from tests.support.helpers import cloud, some_rows

X = cloud(seed=11, n_samples=3000, n_features=4)
START = some_rows(X, 6)
OWN = [name for name in KERNELS if find_spec(name).threading == "own"]


def fit(name: str, seed: int = 0) -> bytes:
    """Fit with two threads where the kernel has threads; return what must be the same bits."""
    threads = 2 if find_spec(name).threading == "own" else None
    result = kmeans(X, 6, kernel=name, init=START, max_iter=8, n_threads=threads, random_state=seed)
    return result.centers.tobytes()
