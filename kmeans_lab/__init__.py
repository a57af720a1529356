"""kmeans_lab: a comparative kernel laboratory for k-means.

One Python driver runs Lloyd's algorithm; the two steps inside it are swappable kernels.
Importing this package imports NumPy and nothing heavier: kernels load when first asked for.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from kmeans_lab.driver import kmeans
from kmeans_lab.registry import KERNELS, KernelUnavailable, load_kernel
from kmeans_lab.result import KMeansResult
from kmeans_lab.spec import KernelSpec

# Without the estimators, so that a star import needs no scikit-learn.
__all__ = [
    "KERNELS",
    "KMeansResult",
    "KernelSpec",
    "KernelUnavailable",
    "get_include",
    "kmeans",
    "load_kernel",
]

_ESTIMATORS = {
    "KMeans": "kmeans_lab.estimators.kmeans",
    "MiniBatchKMeans": "kmeans_lab.estimators.minibatch",
}


def get_include() -> str:
    """Return the folder of the C++ sources, for compilers: other bindings include kmeans.cpp."""
    package = Path(__file__).parent
    checkout = package.parent / "cpp"
    return str(checkout if checkout.is_dir() else package / "_sources" / "cpp")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # reads the installed metadata: not at import

        return version("kmeans-lab")
    if name in _ESTIMATORS:
        try:
            return getattr(import_module(_ESTIMATORS[name]), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "sklearn":
                raise
            raise ModuleNotFoundError(
                f"kmeans_lab.{name} needs scikit-learn, which is not installed; type "
                "pip install 'kmeans-lab[sklearn]'",
                name="sklearn",
            ) from None
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
