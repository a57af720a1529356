"""Frames of pandas and Polars, and Arrow tables, recognised by their methods and never imported."""

from __future__ import annotations

from collections import Counter
from typing import Any


def is_frame(kind: type) -> bool:
    """Return True for frames of pandas and Polars, and Arrow tables."""
    by_place = hasattr(kind, "iloc") or hasattr(kind, "column_names")
    return hasattr(kind, "columns") and (by_place or hasattr(kind, "get_columns"))


def columns_of(data: Any) -> list[Any]:
    """Return the columns of a frame."""
    if hasattr(type(data), "iloc"):
        return [data.iloc[:, f] for f in range(len(data.columns))]
    return list(data.get_columns() if hasattr(type(data), "get_columns") else data.columns)


def column_name(data: Any, f: int) -> str:
    """Return the name of a frame's column as it is written in code; "" where there is none."""
    return repr(_names(data)[f]) if is_frame(type(data)) else ""


def repeated_column(data: Any) -> str:
    """Return the first name that several columns of a frame have; "" where there is none."""
    if not is_frame(type(data)):
        return ""
    return next((repr(name) for name, count in Counter(_names(data)).items() if count > 1), "")


def _names(data: Any) -> list[Any]:
    return list(data.column_names if hasattr(type(data), "column_names") else data.columns)


def is_column(kind: type) -> bool:
    """Return True for columns of pandas, Polars and Arrow."""
    return hasattr(kind, "to_numpy") and (hasattr(kind, "isna") or hasattr(kind, "is_null"))


def is_sparse_column(column: Any) -> bool:
    """Return True for a sparse column of pandas."""
    return str(dtype_of(column)).startswith("Sparse")


def dtype_of(column: Any) -> Any:
    """Return the dtype of a column, which Arrow calls its type."""
    return getattr(column, "dtype", getattr(column, "type", None))
