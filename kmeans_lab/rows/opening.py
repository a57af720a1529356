"""What is taken for rows that are not an array, and whether a fit reads them at once."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_lab.io.errors import Refused
from kmeans_lab.io.paths import known_suffix, refuse_unreadable
from kmeans_lab.io.values import refuse_masked
from kmeans_lab.rows.source import ArrayRows, HoldsBlocks, RowSource

#: Files that are read some rows at a time.
ROW_SUFFIXES = (".npy", ".parquet", ".safetensors", ".h5", ".hdf5", ".zarr")


def rows_or_source(data: Any, mode: str | None, memory: Any) -> tuple[Any, RowSource | None, int]:
    """Return rows in memory; or their source, where they are read block by block, and its budget.

    Rows of a source that fit into the budget are read at once. Where they do not and no mode was
    asked for, a warning says what becomes of them.
    """
    mapped = isinstance(data, np.memmap) and mode != "stream" and memory is None
    source = None if mapped else as_source(data)  # the system reads what is mapped, where it can
    if source is None and mode != "stream":
        if memory is not None:
            raise ValueError(
                f"memory={memory!r} is for rows that are not an array, and X is in memory already; "
                "leave it out, or use mode='stream'"
            )
        return data, None, 0
    from kmeans_lab.rows.memory import budget
    from kmeans_lab.rows.streamed import fits

    room = budget(memory)
    if source is None:
        if isinstance(data, np.ndarray):
            refuse_masked("X", data)
        array = np.asarray(data)
        if array.ndim != 2 or array.dtype.kind not in "fiub":
            raise TypeError(
                f"X of type {type(data).__name__} cannot be read block by block, as mode='stream' "
                "does; give a path, an array, or an object with shape, dtype and read(start, stop)"
            )
        return data, ArrayRows(array), room
    shape = shape_of(source)
    if isinstance(source, HoldsBlocks):
        return data, source, room
    if mode not in (None, "stream"):
        if memory is not None:
            raise ValueError(
                f"memory={memory!r} has no meaning beside mode={mode!r}, which reads all rows at "
                "once; leave one of them out"
            )
        return at_once(source), None, 0
    if fits(shape, source.dtype, room):
        return at_once(source), None, 0
    if mode is None:
        warnings.warn(
            f"the {shape[0]:,} rows of {getattr(source, 'name', 'X')} do not fit into "
            f"{room / 1e6:,.0f} MB and are read in each pass; say mode='stream', or give more "
            "memory=",
            UserWarning,
            stacklevel=4,  # the caller of kmeans
        )
    return data, source, room


def shape_of(source: RowSource) -> tuple[int, int]:
    """Return the shape of a source, of which shape and dtype are checked."""
    name, shape = getattr(source, "name", type(source).__name__), source.shape
    sizes = isinstance(shape, tuple) and len(shape) == 2
    if not (sizes and all(isinstance(it, int | np.integer) and it > 0 for it in shape)):
        raise ValueError(
            f"{name}.shape is {shape!r} and must be (n_samples, n_features), at least one of each; "
            "check the source"
        )
    if not isinstance(source.dtype, np.dtype):
        raise TypeError(
            f"{name}.dtype is {source.dtype!r} and must be a dtype of NumPy; use numpy.dtype(…)"
        )
    return int(shape[0]), int(shape[1])


def at_once(source: RowSource) -> Any:
    """Return all rows, with the checks and of the dtype that they would have block by block."""
    from kmeans_lab.rows.rounding import Rounding
    from kmeans_lab.rows.streamed import StreamedRows, is_narrow

    dtype = np.dtype(np.float32 if is_narrow(source.dtype) else np.float64)
    rows = StreamedRows(source, dtype, rounding=Rounding())
    found = rows.uncentered(0, len(rows))
    rows.check()
    rows.warn_of_rounding()
    return found


def as_source(data: Any) -> RowSource | None:
    """Return rows that are not an array as a source; None for whatever else there is.

    A path, as a string or an ``os.PathLike``, names a file; a list of paths, files one after the
    other; an object with ``shape``, ``dtype`` and ``read`` is a source itself.

    Raises
    ------
    ValueError
        The file is not there, cannot be read, or is not what its suffix says.
    """
    paths = isinstance(data, str | os.PathLike)
    if paths or _are_paths(data) or isinstance(data, np.memmap):
        from kmeans_lab.rows import files

        if paths:
            return open_rows(Path(data))
        if isinstance(data, np.memmap):
            return files.mapped_rows(data)
        return files.JoinedRows([open_rows(Path(it)) for it in data])
    if callable(getattr(data, "read", None)) and hasattr(data, "shape") and hasattr(data, "dtype"):
        return data  # type: ignore[no-any-return]
    return None


def _are_paths(data: Any) -> bool:
    return (
        isinstance(data, list | tuple)
        and len(data) > 0
        and all(isinstance(it, str | os.PathLike) for it in data)
    )


#: Files that may hold several arrays, of which one is chosen by its name.
CONTAINERS = (".safetensors", ".h5", ".hdf5", ".zarr")


def open_rows(path: Path, array: str | None = None) -> RowSource:
    """Return the rows of a file, by its suffix.

    Parameters
    ----------
    path : Path
    array : str, optional
        The name of the array, of a file that may hold several.

    Raises
    ------
    Refused
        The file is not there, cannot be read, is shorter than it says, or has another suffix.
    """
    if path.is_dir() and path.suffix.lower() != ".zarr":
        return _rows_of_a_folder(path)
    if not path.is_dir():
        refuse_unreadable(path)
    remedy = "read it with kmeans_lab.io and give the array, or convert it"
    suffix = known_suffix(path, ROW_SUFFIXES, remedy)
    if suffix == ".parquet":
        from kmeans_lab.rows.tables import ParquetRows

        return ParquetRows(path)
    if suffix == ".npy":
        from kmeans_lab.rows.files import NpyRows

        return NpyRows(path)
    from kmeans_lab.rows import containers

    if suffix == ".safetensors":
        return containers.SafetensorsRows(path, array)
    kind = containers.ZarrRows if suffix == ".zarr" else containers.Hdf5Rows
    return kind(path, array)


def _rows_of_a_folder(folder: Path) -> RowSource:
    """Return the rows of the Parquet files of a folder, in the order of their names."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise Refused(f"{folder} is a folder without .parquet files; name a file, or such a folder")
    from kmeans_lab.rows.files import JoinedRows

    return JoinedRows([open_rows(path) for path in files])
