"""The libraries by name: the peers, kmeans_lab's own kernels, and ``module:Class`` for yours."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

from bench.peers import others
from bench.peers.base import Library, Outcome
from kmeans_lab.registry import FLAGSHIP

if TYPE_CHECKING:  # peers are opened without kmeans_lab
    from kmeans_lab.presets import FitSettings


class Ours(Library):
    """One of kmeans_lab's kernels; a subclass per name is made by ``open_library``."""

    distribution = "kmeans-lab"
    kernel = FLAGSHIP

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        from kmeans_lab import kmeans
        from kmeans_lab.registry import find_spec, load_kernel

        load_kernel(self.kernel)
        spec = find_spec(self.kernel)
        self.dtypes = tuple(dtype for dtype in Library.dtypes if dtype in spec.dtypes)
        self.sparse = bool(spec.sparse)
        crew = {"own": "serial", "nogil": "threads", "gil": "processes"}[spec.threading]
        self.kmeans = kmeans
        self.settings: FitSettings = {
            "mode": crew if threads > 1 else "serial",
            "n_threads": threads,
        }

    def train(self, X: Any, start: Any, n_iter: int) -> Any:
        """Run exactly n_iter iterations from the starting centers."""
        settings = self.settings | {"init": start, "max_iter": n_iter, "tol": 0.0}
        return self.kmeans(X, len(start), kernel=self.kernel, **settings)

    def read(self, model: Any, X: Any) -> Outcome:
        """Take the result out of the model."""
        return Outcome(model.centers, model.labels, model.n_iter, model.inertia)

    def whole(self, X: Any, n_clusters: int, seed: int) -> Any:
        """Fit with k-means++ and the default tolerance."""
        settings = self.settings | {"random_state": seed}
        result = self.kmeans(X, n_clusters, kernel=self.kernel, **settings)
        return result.centers, result.n_iter

    def seeding(self, X: Any, n_clusters: int, seed: int) -> Any:
        """Choose starting centers by greedy k-means++."""
        import numpy as np

        from kmeans_lab.seeding import greedy
        from kmeans_lab.sparse.reading import is_sparse, read_sparse

        X = read_sparse("X", X, self.dtypes) if is_sparse(X) else X
        return greedy(X, n_clusters, np.random.default_rng(seed))


def _mlpack(algorithm: str) -> type[Library]:
    return type("Mlpack", (others.Mlpack,), {"algorithm": algorithm})


#: The other libraries, in the order of the table.
PEERS: dict[str, type[Library]] = {
    "scikit-learn": others.ScikitLearn,
    "scikit-learn-elkan": others.ScikitLearnElkan,
    "intelex": others.Intelex,
    "faiss": others.Faiss,
    "mlpack-naive": _mlpack("naive"),
    "mlpack-elkan": _mlpack("elkan"),
    "mlpack-hamerly": _mlpack("hamerly"),
    "mlpack-pelleg-moore": _mlpack("pelleg-moore"),
    "mlpack-dualtree": _mlpack("dualtree"),
    "superkmeans-exact": others.SuperKMeansExact,
    "superkmeans": others.SuperKMeans,
    "superkmeans-default": others.SuperKMeansDefault,
    "clostera": others.Clostera,
}


def open_library(name: str, threads: int) -> Any:
    """Import a library by its name in ``PEERS``, a kernel's name, or ``module:Class``."""
    if name in PEERS:
        return PEERS[name](threads)
    module, colon, attribute = name.partition(":")
    if colon:
        return getattr(import_module(module), attribute)(threads)
    return type("Kernel", (Ours,), {"kernel": name})(threads)


def version_of(library: Library) -> str:
    """Return "distribution version", the version as the installer recorded it."""
    try:
        return f"{library.distribution} {metadata.version(library.distribution)}"
    except (metadata.PackageNotFoundError, ValueError):
        return library.distribution
