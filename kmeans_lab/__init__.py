"""kmeans_lab: a comparative kernel laboratory for k-means.

One Python driver runs Lloyd's algorithm; the two steps inside it are swappable kernels.
Importing this package imports NumPy and nothing heavier: kernels load when first asked for.
"""

from typing import Any

from kmeans_lab.driver import kmeans
from kmeans_lab.registry import KERNELS, KernelUnavailable, load_kernel
from kmeans_lab.result import KMeansResult

# Without KMeans, so that a star import needs no scikit-learn.
__all__ = ["KERNELS", "KMeansResult", "KernelUnavailable", "kmeans", "load_kernel"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # reads the installed metadata: not at import

        return version("kmeans-lab")
    if name == "KMeans":
        try:
            from kmeans_lab.estimator import KMeans
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "sklearn":
                raise
            raise ModuleNotFoundError(
                "kmeans_lab.KMeans needs scikit-learn, which is not installed; type "
                "pip install 'kmeans-lab[sklearn]'",
                name="sklearn",
            ) from None
        return KMeans
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
