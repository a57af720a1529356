# mypy: disable-error-code="no-untyped-def, no-untyped-call, no-any-return, override, has-type"
"""What takes numbers, and whatever holds them: rows of three groups for all public functions.

Classes of this file stand in for tensors, devices and what has yet to be computed.
"""

import numpy as np
import pandas as pd

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.dbscan import dbscan
from kmeans_lab.silhouette import silhouette_samples, silhouette_score
from kmeans_lab.soft import responsibilities

#: Three groups of whole numbers, no row twice.
X = np.random.default_rng(0).permutation(400)[:30].reshape(15, 2) % 20.0
X[5:10] += 100
X[10:] -= 100
CLUSTERS = np.repeat([0, 1, 2], 5)
TIMES = np.arange(1.0, 16.0)
NAMES = np.array(["x", "y", "z"])[CLUSTERS]
FRAME = pd.DataFrame(X, columns=["a", "b"])
SPARSE = pd.DataFrame({"a": pd.arrays.SparseArray(X[:, 0]), "b": pd.arrays.SparseArray(X[:, 1])})


def masked(values, *place):
    """Return an array whose value at a place is masked."""
    mask = np.zeros(np.shape(values), bool)
    mask[place] = True
    return np.ma.masked_array(values, mask)


class Tensor:
    """A tensor of which only DLPack is known."""

    def __init__(self, values, device=1):
        self.values, self.device = np.ascontiguousarray(values), device

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device, 0


class Unversioned(Tensor):
    """As before DLPack 1.0."""

    def __dlpack__(self, stream=None):
        return self.values.__dlpack__()


class Gradient(Tensor):
    """PyTorch's way: values come out once they are detached."""

    requires_grad = True

    def __array__(self, *options, **more):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    def detach(self):
        return Tensor(self.values)


class OnDevice(Tensor):
    """A tensor on a GPU, whose values nobody may fetch."""

    def __init__(self, values):
        super().__init__(values, device=2)

    def __array__(self, *options, **more):
        raise AssertionError("fetched")

    cpu = __dlpack__ = __array__


class Cuda:
    """What CuPy and Numba have on a GPU."""

    __cuda_array_interface__ = {"shape": (15, 2), "typestr": "<f8", "data": (0, True), "version": 3}  # noqa: RUF012

    def get(self):
        raise AssertionError("fetched")

    __array__ = get


class SparseCuda:
    """A sparse matrix of CuPy."""

    shape, ndim, dtype = (15, 2), 2, np.dtype(float)

    def get(self):
        raise AssertionError("fetched")

    toarray = tocsr = get


class Dask:
    """What has yet to be computed."""

    shape, ndim, dtype = (15, 2), 2, np.dtype(float)

    def compute(self):
        raise AssertionError("computed")

    __array__ = __dask_graph__ = compute

    def __len__(self):
        return 15


class InMemory:
    """xarray's way: it could compute, and has nothing to."""

    chunks = None

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values

    def compute(self):
        raise AssertionError("computed")

    __dask_graph__ = compute


#: What takes rows, as a function of these rows.
TAKE_X = {
    "kmeans": lambda X: kmeans(X, 3, random_state=0).labels,
    "init": lambda X: kmeans(rows(), len(rows()), init=X).labels,
    "init function": lambda X: kmeans(rows(), len(rows()), init=lambda *_: X).labels,
    "KMeans": lambda X: KMeans(3, random_state=0).fit(X).labels_,
    "KMeans.predict": lambda X: FITTED[0].predict(X),
    "KMeans.transform": lambda X: FITTED[0].transform(X),
    "KMeans.score": lambda X: FITTED[0].score(X),
    "KMeans init": lambda X: KMeans(len(rows()), init=X).fit(rows()).labels_,
    "KMeans init function": lambda X: (
        KMeans(len(rows()), init=lambda *_, random_state: X, n_init=1).fit(rows()).inertia_
    ),
    "MiniBatchKMeans": lambda X: MiniBatchKMeans(3, random_state=0).fit(X).labels_,
    "MiniBatchKMeans.partial_fit": lambda X: (
        MiniBatchKMeans(3, random_state=0).partial_fit(X).partial_fit(X).labels_
    ),
    "MiniBatchKMeans.predict": lambda X: FITTED[1].predict(X),
    "MiniBatchKMeans init": lambda X: MiniBatchKMeans(len(rows()), init=X).fit(rows()).labels_,
    "dbscan": lambda X: dbscan(X, 20.0, 2).labels,
    "silhouette_score": lambda X: silhouette_score(X, CLUSTERS),
    "silhouette_samples": lambda X: silhouette_samples(X, CLUSTERS),
    "responsibilities": lambda X: responsibilities(X, rows()[:3], 9.0),
    "responsibilities of": lambda X: responsibilities(rows(), X, 9.0),
}
FITTED = [it(3, random_state=0).fit(X) for it in (KMeans, MiniBatchKMeans)]


def rows():
    return X


#: What takes weights.
TAKE_WEIGHTS = {
    "kmeans": lambda w: kmeans(X, 3, random_state=0, sample_weight=w).centers,
    "KMeans": lambda w: KMeans(3, random_state=0).fit(X, sample_weight=w).cluster_centers_,
    "KMeans.fit_predict": lambda w: KMeans(3, random_state=0).fit_predict(X, sample_weight=w),
    "KMeans.score": lambda w: FITTED[0].score(X, sample_weight=w),
    "MiniBatchKMeans": lambda w: (
        MiniBatchKMeans(3, random_state=0).fit(X, sample_weight=w).cluster_centers_
    ),
    "MiniBatchKMeans.partial_fit": lambda w: (
        MiniBatchKMeans(3, random_state=0).partial_fit(X, sample_weight=w).cluster_centers_
    ),
}
