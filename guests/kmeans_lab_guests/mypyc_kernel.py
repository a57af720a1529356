"""The nested loops of ``_py_kernel.py``, typed, and compiled to C by mypyc.

The same Python in the same order, so that the files can be compared line by line. What is new are
types: a ``float`` is then a C double inside the loops. Lists still hold objects of Python, each of
which is looked up and unpacked, so that most of the time stays where it was.
"""

from typing import Any

from kmeans_lab import KernelSpec

SPEC = KernelSpec(
    module="",
    summary="the nested loops in typed Python, compiled by mypyc",
    remedy="pip install mypy, then pip install --no-build-isolation --no-deps "
    "--force-reinstall kmeans-lab-guests",
    threading="gil",
    exact=True,
    sources=("guests/kmeans_lab_guests/mypyc_kernel.py",),
    built="mypyc_kernel",
    debugging="uncompiled, it runs in pdb; compiled, tracebacks still name the line",
    wheels="those that you build: one for each platform and Python release",
)


def assign(
    rows: Any,  # IN  (n_samples, n_features)
    centers: Any,  # IN  (n_clusters, n_features)
    labels: Any,  # OUT (n_samples,)
) -> float:
    """Overwrite labels with each row's nearest center, the first of equals; return the inertia."""
    n_features: int = rows.shape[1]
    points: list[list[float]] = rows.tolist()
    means: list[list[float]] = centers.tolist()
    found: list[int] = []
    if len(means) == 0:
        raise ValueError("assign needs at least one center")
    inertia = 0.0
    for row in points:
        best = float("inf")
        nearest = 0
        for j in range(len(means)):
            center = means[j]
            distance = 0.0
            for f in range(n_features):
                diff = row[f] - center[f]
                distance += diff * diff
            if distance < best:
                best = distance
                nearest = j
        found.append(nearest)
        inertia += best
    labels[:] = found
    return inertia


def update(
    rows: Any,  # IN    (n_samples, n_features)
    labels: Any,  # IN    (n_samples,), each in [0, n_clusters)
    sums: Any,  # INOUT (n_clusters, n_features), added to
    counts: Any,  # INOUT (n_clusters,), added to
) -> None:
    """Add each row to its cluster's sum, and one to its count."""
    n_features: int = rows.shape[1]
    points: list[list[float]] = rows.tolist()
    numbers: list[int] = labels.tolist()
    totals: list[list[float]] = sums.tolist()
    sizes: list[int] = counts.tolist()
    for j in numbers:
        if not 0 <= j < len(sizes):
            raise ValueError(
                "update needs labels from 0 to n_clusters - 1, each of which names a row of sums; "
                "assign writes such labels"
            )
    for i in range(len(points)):
        row = points[i]
        j = numbers[i]
        total = totals[j]
        for f in range(n_features):
            total[f] += row[f]
        sizes[j] += 1
    sums[:] = totals
    counts[:] = sizes
