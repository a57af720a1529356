"""Rows that are not an array: files and functions that give some of them at a time.

``kmeans`` takes what ``RowSource`` says, and paths; see ``docs/scale.md``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kmeans_lab.rows.containers import Hdf5Rows, SafetensorsRows, ZarrRows
    from kmeans_lab.rows.files import JoinedRows, NpyRows, RawRows
    from kmeans_lab.rows.source import ArrayRows, CalledRows, RowSource
    from kmeans_lab.rows.tables import ParquetRows

__all__ = [
    "ArrayRows",
    "CalledRows",
    "Hdf5Rows",
    "JoinedRows",
    "NpyRows",
    "ParquetRows",
    "RawRows",
    "RowSource",
    "SafetensorsRows",
    "ZarrRows",
]

_PLACES = {
    **dict.fromkeys(("ArrayRows", "CalledRows", "RowSource"), "source"),
    **dict.fromkeys(("JoinedRows", "NpyRows", "RawRows"), "files"),
    **dict.fromkeys(("Hdf5Rows", "SafetensorsRows", "ZarrRows"), "containers"),
    "ParquetRows": "tables",
}


def __getattr__(name: str) -> Any:
    """Import a class when it is asked for: those who stream nothing import none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
