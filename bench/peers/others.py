"""The other libraries, each asked for exactly n iterations over all rows at tol = 0."""

import logging
import os
from dataclasses import replace
from typing import Any

from bench.peers.base import LeftOut, Library, Outcome

#: For libraries that draw their starting centers themselves.
SEED = 7
_BLOCK_VALUES = 2**24


def densified(X: Any) -> Any:
    """Return a dense copy of sparse rows, made block by block; ``LeftOut`` where it is too large.

    It may take half of the memory that is free.
    """
    import numpy as np

    size, free = X.shape[0] * X.shape[1] * X.dtype.itemsize, _free_memory()
    if size > free / 2:
        raise LeftOut(
            f"it takes no sparse rows, and a dense copy of them has {size / 2**30:.1f} GiB where "
            f"{free / 2**30:.1f} are free"
        )
    dense = np.empty(X.shape, X.dtype)
    step = max(1, _BLOCK_VALUES // X.shape[1])
    for first in range(0, len(dense), step):
        X[first : first + step].toarray(out=dense[first : first + step])
    return dense


def _free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class ScikitLearn(Library):
    """scikit-learn's KMeans with Lloyd's algorithm."""

    distribution = "scikit-learn"
    sparse = True
    algorithm = "lloyd"
    remark = "assigns once more at the end, as kmeans_lab does: the difference cancels it"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from sklearn.cluster import KMeans, kmeans_plusplus

        self.estimator, self.plusplus = KMeans, kmeans_plusplus

    def train(self, X: Any, start: Any, n_iter: int) -> Any:
        """Run exactly n_iter iterations from the starting centers."""
        return self.estimator(
            len(start), init=start, n_init=1, max_iter=n_iter, tol=0.0, algorithm=self.algorithm
        ).fit(X)

    def read(self, model: Any, X: Any) -> Outcome:
        """Take the result out of the model."""
        n_iter, inertia = int(model.n_iter_), float(model.inertia_)
        return Outcome(model.cluster_centers_, model.labels_, n_iter, inertia)

    def whole(self, X: Any, n_clusters: int, seed: int) -> Any:
        """Fit with k-means++ and the default tolerance."""
        model = self.estimator(n_clusters, n_init=1, random_state=seed).fit(X)
        return model.cluster_centers_, int(model.n_iter_)

    def seeding(self, X: Any, n_clusters: int, seed: int) -> Any:
        """Choose starting centers by greedy k-means++."""
        return self.plusplus(X, n_clusters, random_state=seed)[0]


class ScikitLearnElkan(ScikitLearn):
    """The same with Elkan's bounds."""

    algorithm = "elkan"
    remark = "bounds: its first iterations, which the difference leaves out, cost more"


class Intelex(ScikitLearn):
    """scikit-learn-intelex: the same interface on oneDAL, watched for falling back."""

    distribution = "scikit-learn-intelex"
    remark = "oneDAL; a fit that fell back to scikit-learn would get no number"

    def __init__(self, threads: int) -> None:
        Library.__init__(self, threads)
        import daal4py
        from sklearnex.cluster import KMeans

        daal4py.daalinit(threads)
        self.estimator, self.daal = KMeans, daal4py
        self.log = logging.getLogger("sklearnex")
        self.log.propagate = False
        self.listener = _Listener()
        self.log.handlers[:] = [self.listener]
        self.log.setLevel(logging.INFO)

    def threads_set(self) -> int | None:
        """Return the library's own setting."""
        return int(self.daal.num_threads())

    def read(self, model: Any, X: Any) -> Outcome:
        """Take the result out of the model."""
        refused = "" if "accelerated" in self.listener.last else "fell back to scikit-learn"
        return replace(super().read(model, X), refused=refused)


class _Listener(logging.Handler):
    """Remembers the last message about which implementation ran."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        if ".fit" in record.getMessage():
            self.last = record.getMessage()


class Faiss(Library):
    """faiss.Kmeans without its silent subsampling above 256 points per centroid."""

    distribution = "faiss-cpu"
    dtypes = ("float32",)
    sparse = True
    remark = "gives no labels: judged by its centers; sparse rows become a dense copy, not timed"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        import faiss

        faiss.omp_set_num_threads(threads)
        self.faiss = faiss

    def accept(self, X: Any) -> Any:
        """Return X, or a dense copy of sparse rows."""
        return densified(X) if hasattr(X, "toarray") else X

    def threads_set(self) -> int | None:
        """Return the library's own setting."""
        return int(self.faiss.omp_get_max_threads())

    def train(self, X: Any, start: Any, n_iter: int) -> Any:
        """Run exactly n_iter iterations from the starting centers."""
        model = self.faiss.Kmeans(
            X.shape[1],
            len(start),
            niter=n_iter,
            max_points_per_centroid=10**9,
            min_points_per_centroid=1,
        )
        model.train(X, init_centroids=start)
        return model

    def read(self, model: Any, X: Any) -> Outcome:
        """Take the result out of the model."""
        return Outcome(model.centroids, None, len(model.obj))


class Mlpack(Library):
    """mlpack's binding; a subclass per algorithm is made by ``open_library``."""

    distribution = "mlpack"
    dtypes = ("float64",)
    algorithm = "naive"
    remark = "does not report its iterations: the trajectory proves them"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from mlpack import kmeans

        self.kmeans = kmeans

    def train(self, X: Any, start: Any, n_iter: int) -> Any:
        """Run exactly n_iter iterations from the starting centers."""
        # The centers returned may lie in the memory of the starting centers: keep it alive.
        return start, self.kmeans(
            input_=X,
            clusters=len(start),
            algorithm=self.algorithm,
            initial_centroids=start,
            max_iterations=n_iter,
            labels_only=True,
        )

    def read(self, model: Any, X: Any) -> Outcome:
        """Take the result out of the model."""
        _start, output = model
        return Outcome(output["centroid"].copy(), output["output"].astype(int))


class SuperKMeans(Library):
    """superkmeans with its default pruning, but all points, flat, and every iteration asked for."""

    distribution = "superkmeans"
    dtypes = ("float32",)
    exact = False
    own_start = True
    blas_only = False
    remark = "takes no starting centers: judged from its own; prunes by estimated distances"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from superkmeans import SuperKMeans

        self.estimator = SuperKMeans

    def train(self, X: Any, start: Any, n_iter: int) -> Any:
        """Run exactly n_iter iterations from a start of its own."""
        model = self.estimator(
            len(start),
            X.shape[1],
            iters=n_iter,
            hierarchical=False,
            sampling_fraction=1.0,
            max_points_per_cluster=10**9,
            early_termination=False,
            tol=0.0,
            use_blas_only=self.blas_only,
            n_threads=self.threads,
            seed=SEED,
        )
        return model, model.train(X)

    def read(self, model: Any, X: Any) -> Outcome:
        """Take the result out of the model."""
        estimator, centers = model
        sampled = estimator.sampled_indices
        fewer = sampled is not None and len(sampled) < len(X)
        refused = f"trained on {len(sampled)} of {len(X)} rows" if fewer else ""
        return Outcome(centers, None, len(estimator.iteration_stats), refused=refused)


class SuperKMeansExact(SuperKMeans):
    """The same by matrix products alone."""

    exact = True
    blas_only = True
    remark = "takes no starting centers: judged from its own"


class SuperKMeansDefault(SuperKMeans):
    """The same as its authors set it: a sample of the rows, and an end when little improves."""

    remark = "its own defaults: samples, prunes, ends early; takes no starting centers"

    def train(self, X: Any, start: Any, n_iter: int) -> Any:
        """Run at most n_iter iterations from a start of its own."""
        model = self.estimator(
            len(start), X.shape[1], iters=n_iter, n_threads=self.threads, seed=SEED
        )
        return model, model.train(X)


class Clostera(Library):
    """clostera's dense exact k-means."""

    distribution = "clostera"
    dtypes = ("float32",)
    own_start = True
    remark = "takes no starting centers: judged from its own"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from clostera import DenseKMeans

        self.estimator = DenseKMeans

    def train(self, X: Any, start: Any, n_iter: int) -> Any:
        """Run exactly n_iter iterations from a start of its own."""
        return self.estimator(k=len(start), iterations=n_iter, seed=SEED, init="random").fit(X)

    def read(self, model: Any, X: Any) -> Outcome:
        """Take the result out of the model."""
        return Outcome(model.cluster_centers_, model.labels_, len(model.inertia_history_))
