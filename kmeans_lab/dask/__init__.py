"""k-means on a cluster of Dask's ``distributed``: the bits of one machine. Needs the extra dask."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmeans_lab.dask.estimator import KMeans
    from kmeans_lab.dask.fit import kmeans

__all__ = ["KMeans", "kmeans"]

_PLACES = {"KMeans": "estimator", "kmeans": "fit"}


def __getattr__(name: str) -> Any:
    """Import Dask when it is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
