"""The overhead before any work is done, in imports and small fits: ``python -m bench.overhead``.

Imports, each in a process of its own, against ``import numpy``; fits of 100 rows by ``KMeans``
against scikit-learn's, from the same random_state. Both take turns, and what is printed is the
median ratio of the pairs with its interval.
"""

import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter
from typing import Any

from sklearn.cluster import KMeans as TheirKMeans
from sklearn.datasets import make_blobs

from kmeans_lab import KMeans
from kmeans_lab.formatting import digits, milliseconds
from kmeans_lab.io.streams import spell_out
from kmeans_lab.measure.statistics import ratio

IMPORTS, FITS = 31, 301
SMALL = ((100, 2, 3), (100, 10, 8), (100, 50, 20))


def import_seconds(name: str) -> float:
    """Return what a fresh interpreter takes to import a package."""
    code = f"from time import perf_counter as t; a = t(); import {name}; print(t() - a)"
    return float(subprocess.check_output([sys.executable, "-c", code]))


def fit_seconds(estimator: Any, X: Any) -> float:
    """Return what a fit takes."""
    start = perf_counter()
    estimator.fit(X)
    return perf_counter() - start


def report(what: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Print one row."""
    times = ratio(ours, theirs)
    print(
        f"{what:<44}{digits(times.middle):>6} × ({digits(times.low)} … {digits(times.high)})"
        f"{milliseconds(median(ours)):>10} against {milliseconds(median(theirs))} ms",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    pairs = [(import_seconds("kmeans_lab"), import_seconds("numpy")) for _ in range(IMPORTS)]
    report("import kmeans_lab / import numpy", *zip(*pairs[1:], strict=True))
    for n_samples, n_features, n_clusters in SMALL:
        X, _ = make_blobs(n_samples, n_features, centers=n_clusters, random_state=0)
        ours, theirs = (it(n_clusters, n_init=1, random_state=0) for it in (KMeans, TheirKMeans))
        pairs = [(fit_seconds(ours, X), fit_seconds(theirs, X)) for _ in range(FITS)]
        what = f"KMeans / scikit-learn's, {n_samples} × {n_features}, k = {n_clusters}"
        report(what, *zip(*pairs[1:], strict=True))


if __name__ == "__main__":
    spell_out()
    main()
