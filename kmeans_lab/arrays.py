"""Convert arrays, frames, columns, tensors and nested lists to plain NumPy arrays.

Objects of other libraries are recognised by their methods, so that no package has to be imported
for them. Masked and missing values are refused with their position; data that are sparse, on a
device or not yet computed are refused before anything is loaded.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from kmeans_lab.io.frames import (
    column_name,
    columns_of,
    dtype_of,
    is_column,
    is_frame,
    is_sparse_column,
)
from kmeans_lab.io.values import (
    EXACT,
    PLAIN,
    Values,
    place,
    refuse_masked,
    refuse_missing,
    rounded,
    say_missing,
    strangers,
)

#: Methods of objects whose data are not in memory yet → the call that loads them.
_TO_COMPUTE = {
    "toPandas": "toPandas()",  # PySpark
    "to_spark": "to_pandas()",  # pandas on Spark
    "compute": "compute()",  # Dask
    "__dask_graph__": "compute()",
    "collect": "collect()",  # Polars' lazy frames, which execute, too
    "execute": "execute()",  # Ibis
}
#: How tensors of PyTorch, CuPy, Numba and cuDF are copied to the processor's memory.
_TO_HOST = ("cpu", "get", "copy_to_host", "to_pandas")
#: DLPack's device numbers of memory that the processor reads: its own, CUDA's and ROCm's pinned.
_HOST_DEVICES = (1, 3, 11)
#: Other methods by which an element of a list is converted before NumPy reads the list.
_PROTOCOLS = (
    *("__array__", "__dlpack__", "__cuda_array_interface__", "__dask_graph__"),
    *("toarray", "todense"),  # sparse
)
_NUMERIC = "buif"


def read(name: str, data: Any) -> Values:
    """Return ``data`` as a plain array; a view where possible.

    Where NumPy would round integers of a list, or turn them into strings, an array of objects is
    returned.

    Raises
    ------
    ValueError
        A value is masked or missing, or rows differ in length; the sentence says where. Or the
        values are mapped from a file that has become too short.
    TypeError
        ``data`` is sparse, on a device, not in memory, an iterator or no array at all; or a frame
        has columns that are not numeric.
    """
    if isinstance(data, np.ndarray):
        refuse_masked(name, data)
        array = whole(name, np.asarray(data))
    elif isinstance(data, list | tuple):
        array = _from_list(name, data)
    else:
        _refuse_elsewhere(name, data)  # before anything is loaded
        if is_frame(type(data)):
            return _from_frame(name, data)
        array = (_from_column if is_column(type(data)) else _from_protocol)(name, data)
    if array.dtype == object:
        refuse_missing(name, array)
    return array


def whole(name: str, array: Values) -> Values:
    """Return the array; ``ValueError`` where the file that it is mapped from was cut short.

    Reading past the end of a mapped file would end the process (SIGBUS).
    """
    root, base = array, array.base
    while isinstance(base, np.ndarray):
        root, base = base, base.base
    base = base.obj if isinstance(base, memoryview) else base
    if base is None or array.size == 0:
        return array
    from mmap import ALLOCATIONGRANULARITY, mmap  # here: few arrays have a foreign base

    if not isinstance(base, mmap):
        return array
    try:
        size, start = base.size(), np.frombuffer(base, np.uint8).ctypes.data
    except (OSError, ValueError):  # there is no file behind it, or the object is closed
        return array
    offset = getattr(root, "offset", 0)
    start -= offset - offset % ALLOCATIONGRANULARITY  # where the file's first byte would lie
    needed = byte_bounds(array)[1] - start
    if needed > size:
        file = getattr(root, "filename", None) or "the mapped file"
        raise ValueError(
            f"{name} needs the first {needed} bytes of {file}, which has become shorter since it "
            f"was mapped and has only {size}; write the file again and map it anew"
        )
    return array


def _refuse_elsewhere(name: str, data: Any) -> None:
    """Refuse data that must be fetched, computed or consumed first, without touching the values."""
    kind, what = type(data), _described(name, data)
    in_memory = hasattr(kind, "chunks") and not data.chunks  # xarray: no chunks, so in memory
    for method, call in _TO_COMPUTE.items():
        if hasattr(kind, method) and not in_memory:
            raise TypeError(
                f"{what} whose values are not in memory, where they must be; use {name}.{call}"
            )
    if hasattr(kind, "__next__"):
        raise TypeError(
            f"{what}, which can be read only once, and must be an array; use list({name})"
        )
    _refuse_sparse(name, data)
    if _on_device(data):
        ways = (f"{name}.{way}()" for way in _TO_HOST if hasattr(kind, way))
        raise TypeError(
            f"{what} on a device and must be in the processor's memory; copy it with "
            + next(ways, f"np.asarray({name})")
        )


def _described(name: str, data: Any) -> str:
    if data is None:
        return f"{name} is None"
    kind = type(data)
    module = str(kind.__module__ or "builtins").partition(".")[0]  # ctypes names none
    module = "" if module == "builtins" else f"{module}."
    what = module + kind.__qualname__
    return f"{name} is a{'n' * (what[0].lower() in 'aeiou')} {what}"


def _refuse_sparse(name: str, data: Any) -> None:
    kind, call = type(data), ""
    if hasattr(kind, "toarray") and hasattr(kind, "get") and not _is_scipys(kind):
        raise TypeError(
            f"{_described(name, data)} on a device and must be in the processor's memory; copy it "
            f"with {name}.get()"
        )
    if hasattr(kind, "toarray"):  # SciPy
        call = "toarray()"
    elif hasattr(kind, "todense"):  # the package sparse
        call = "todense()"
    elif getattr(data, "is_sparse", False) is True:  # PyTorch
        call = "to_dense()"
    elif is_sparse_column(data):
        call = "sparse.to_dense()" if hasattr(kind, "sparse") else "to_dense()"  # a column
    if call:
        raise TypeError(f"{name} is sparse and must be dense; convert it with {name}.{call}")


def _is_scipys(kind: type) -> bool:
    return any(str(base.__module__).partition(".")[0] == "scipy" for base in kind.__mro__)


def _on_device(data: Any) -> bool:
    if hasattr(type(data), "__dlpack_device__"):
        with suppress(TypeError, ValueError, RuntimeError, BufferError):  # it has no DLPack form
            return int(data.__dlpack_device__()[0]) not in _HOST_DEVICES
    marked = hasattr(type(data), "__cuda_array_interface__")  # by PyTorch on the processor, too
    return marked and getattr(data, "__cuda_array_interface__", None) is not None


def _from_frame(name: str, data: Any) -> Values:
    kinds = set(getattr(data, "dtypes", ()))
    if len(kinds) == 1 and isinstance(kind := kinds.pop(), np.dtype) and kind.kind in _NUMERIC:
        return _from_protocol(name, data)  # a view, where one block holds it all
    columns = columns_of(data)
    if not columns:
        return np.empty((len(data), 0))
    if any(sparse := [is_sparse_column(column) for column in columns]):
        # The accessor of pandas is there only where all columns are sparse.
        if all(sparse) and hasattr(type(data), "sparse"):
            raise TypeError(
                f"{name} is a sparse frame and must be a matrix; convert it with "
                f"{name}.sparse.to_coo() where sparse matrices are taken, or "
                f"{name}.sparse.to_dense()"
            )
        raise TypeError(
            f"{name} is sparse in some columns and must be dense; convert it with "
            f"{name}.astype(float)"
        )
    values = [
        _from_column(name, column, f, column_name(data, f)) for f, column in enumerate(columns)
    ]
    strange = [
        f"{column_name(data, f)} ({dtype_of(columns[f])})"
        for f, array in enumerate(values)
        if array.dtype.kind not in _NUMERIC and (array.dtype != object or strangers(array).any())
    ]
    if strange:
        raise TypeError(
            f"{name} has columns that are not numeric, {', '.join(strange)}, and every column must "
            "be; leave them out or turn them into numbers"
        )
    return _side_by_side(values)


def _side_by_side(columns: list[Values]) -> Values:
    """Return a matrix of the narrowest dtype that holds all columns; objects where that rounds."""
    dtype = np.result_type(*columns)
    if dtype.kind == "f" and any(rounded(column).any() for column in columns):
        dtype = np.dtype(object)
    array = np.empty((len(columns[0]), len(columns)), dtype)
    for f, column in enumerate(columns):
        array[:, f] = column
    return array


def _from_column(name: str, data: Any, f: int | None = None, column: str = "") -> Values:
    """Return a column of pandas, Polars or Arrow; ``f`` and ``column`` say where in a frame."""
    _refuse_elsewhere(name, data)
    dtype = getattr(data, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in _NUMERIC:
        return whole(name, np.asarray(data))
    absent = np.asarray(data.isna() if hasattr(type(data), "isna") else data.is_null(), dtype=bool)
    if absent.any():
        say_missing(name, absent, f, column)
    narrow = getattr(dtype, "numpy_dtype", None)  # of what pandas stores with a mask, or as Arrow
    if isinstance(narrow, np.dtype) and narrow.kind in _NUMERIC:
        return np.asarray(data.to_numpy(dtype=narrow))
    return _from_protocol(name, data)


def _from_protocol(name: str, data: Any) -> Values:
    """Return an object with an array or buffer protocol, or a sequence, as NumPy reads it."""
    if hasattr(type(data), "requires_grad"):  # PyTorch exports values that are detached
        data = data.detach()
    kind = type(data)
    only_dlpack = hasattr(kind, "__dlpack__") and not hasattr(kind, "__array__")
    try:
        array = np.from_dlpack(data) if only_dlpack else np.asarray(data)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        reason = " ".join(str(error).split())
        raise TypeError(
            f"{_described(name, data)} that NumPy cannot read ({reason}); convert it to an array"
        ) from error
    if array.dtype == object and array.ndim == 0:
        raise TypeError(f"{_described(name, data)} and must be an array; {_remedy(name, kind)}")
    return whole(name, array)


def _remedy(name: str, kind: type) -> str:
    for way in ("to_numpy", "to_pandas", "numpy"):
        if hasattr(kind, way):
            return f"use {name}.{way}()"
    if hasattr(kind, "__arrow_c_stream__"):
        return f"use pyarrow.table({name})"
    return "make an array, a list or a frame of it"


def _from_list(name: str, data: Any) -> Values:
    unpacked = _unpacked(name, data)
    try:
        array = np.asarray(unpacked)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot be read as a matrix ({error}); give every row the same length"
        ) from None
    large = array.dtype.kind == "f" and bool((np.abs(array) >= EXACT).any())
    if large or array.dtype.kind in "US":
        objects = np.asarray(unpacked, dtype=object)
        kinds = set(map(type, objects.flat))
        merged = not any(all(issubclass(kind, text) for kind in kinds) for text in (str, bytes))
        if bool(rounded(objects).any()) if large else merged:
            return objects
    return array


def _unpacked(name: str, data: Any, depth: int = 64) -> Any:
    """Return nested lists with their arrays, columns and tensors converted; any may be refused."""
    if isinstance(data, list | tuple):
        if depth == 0 or all(k in PLAIN or issubclass(k, np.generic) for k in set(map(type, data))):
            return data
        return [_unpacked(place(name, [i]), item, depth - 1) for i, item in enumerate(data)]
    if isinstance(data, np.ndarray) or any(hasattr(type(data), p) for p in _PROTOCOLS):
        return read(name, data)
    return data
