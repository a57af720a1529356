"""Right kernels for tests to spoil: what a test appends may call the right functions.

``GOOD`` is nested loops in Python without an import; ``BY_NUMPY`` is for thousands of rows.
"""

#: Appended to a right kernel: prepared rows, of which ``.format`` says what they tell.
ROWS = """
class Rows:
    def __init__(self, X):
        self.X = X
    {}

def prepare(X, n_clusters, n_threads):
    return Rows(X)

def assign(rows, *arrays):
    return good_assign(getattr(rows, "X", rows), *arrays)

def update(rows, *arrays):
    good_update(getattr(rows, "X", rows), *arrays)
"""

GOOD = """
def assign(rows, centers, labels):
    inertia = 0.0
    for i, x in enumerate(rows.tolist()):
        d = [sum((a - b) ** 2 for a, b in zip(x, c)) for c in centers.tolist()]
        labels[i] = d.index(min(d))
        inertia += min(d)
    return inertia

def update(rows, labels, sums, counts):
    for i, x in enumerate(rows.tolist()):
        for f, value in enumerate(x):
            sums[labels[i], f] += value
        counts[labels[i]] += 1

good_assign, good_update = assign, update
"""

BY_NUMPY = """
import numpy as np
from kmeans_lab.registry import KernelSpec

SPEC = KernelSpec("", "planted", "none", requires=("numpy",))

def assign(rows, centers, labels):
    distances = ((rows[:, None] - centers) ** 2).sum(axis=2)
    labels[:] = distances.argmin(axis=1)
    return float(distances.min(axis=1).sum(dtype=float))

def update(rows, labels, sums, counts):
    np.add.at(sums, labels, rows)
    np.add.at(counts, labels, 1)

good_assign, good_update = assign, update
"""
