"""Convert sparse matrices of SciPy to ``SparseRows``, checked: no kernel reads out of bounds.

SciPy is not imported: whoever has one of its matrices has done so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.arrays import whole
from kmeans_lab.io.values import refuse_masked
from kmeans_lab.kernel import Array
from kmeans_lab.sparse.rows import SparseRows

#: The arrays that a matrix consists of, by format.
_PARTS = {
    **dict.fromkeys(("csr", "csc", "bsr"), ("indptr", "indices", "data")),
    "coo": ("row", "col", "data"),
    "dia": ("offsets", "data"),
    "lil": ("rows", "data"),
}
#: Columns are counted in int32.
_MOST_FEATURES = np.iinfo(np.int32).max
_BLOCK_VALUES = 1 << 20  # columns that are compared at once


def is_sparse(data: Any) -> bool:
    """Return whether ``data`` is a sparse array or matrix of SciPy, or rows read from one."""
    return isinstance(data, SparseRows) or _is_scipys(data)


def _is_scipys(data: Any) -> bool:
    kind = type(data)
    if not (hasattr(kind, "tocsr") and hasattr(kind, "toarray")):
        return False
    return "scipy" in {str(base.__module__).partition(".")[0] for base in kind.__mro__}


def read_sparse(name: str, data: Any, dtypes: tuple[str, ...]) -> SparseRows:
    """Return the rows of a sparse matrix; its arrays are shared where they need no conversion.

    CSC, COO and other formats are converted once; so are columns that do not ascend within their
    row. Values of a place that is stored several times are added up, as SciPy does. float16 becomes
    float32; integers, booleans and long doubles become float64; a dtype outside ``dtypes`` becomes
    float64.

    Raises
    ------
    ValueError
        X has not two dimensions, no rows or no columns; its arrays do not fit each other, or a
        column lies outside the matrix; a value is masked; or an array is mapped from a file that
        has become too short.
    TypeError
        The values are no real numbers.
    """
    if isinstance(data, SparseRows):
        return data
    if (ndim := len(data.shape)) != 2:
        way = f"{name}.reshape(1, -1) for a single row"
        if ndim > 2:
            way = f"{name}.reshape(-1, {name}.shape[-1]) where the last axis holds the features"
        raise ValueError(
            f"{name} has {ndim} dimension{'s' * (ndim != 1)} and must have 2, (n_samples, "
            f"n_features); use {way}"
        )
    if 0 in data.shape:
        raise ValueError(
            f"{name} has shape {data.shape} and must have at least one row and one column; "
            "check the selection that made it"
        )
    _refuse_parts(name, data)
    if data.dtype.kind not in "buif":
        raise TypeError(
            f"{name} has dtype {data.dtype} and must be numeric (real); convert it with "
            + (f"{name}.real" if data.dtype.kind == "c" else f"{name}.astype(float)")
        )
    if data.shape[1] > _MOST_FEATURES:
        raise ValueError(
            f"{name} has {data.shape[1]} columns and may have {_MOST_FEATURES}; number them anew, "
            "without those that are empty"
        )
    if data.format != "csr":
        data = _in_rows(name, data)
    _refuse_what_does_not_fit(name, data)
    if not _ascend(data):
        data = data.copy()
        data.sum_duplicates()
    return SparseRows(
        _read_only(_values(data.data, dtypes)),
        _read_only(np.asarray(data.indices, dtype=np.int32)),
        _read_only(np.asarray(data.indptr, dtype=np.int64)),
        int(data.shape[1]),
    )


def _refuse_parts(name: str, data: Any) -> None:
    """Refuse arrays that are none, that are masked, or whose file was cut short."""
    if data.format == "coo" and len(data.coords) != 2:
        raise _misfit(name, data)
    for part in _PARTS.get(data.format, ()):
        array = getattr(data, part)
        if not isinstance(array, np.ndarray):
            raise _misfit(name, data)
        refuse_masked(f"{name}.{part}", array)
        whole(name, array)
    if data.format in _PARTS:
        ndim = {"bsr": 3, "dia": 2}.get(data.format, 1)
        if data.data.ndim != ndim or 0 in data.data.shape[1:]:
            raise _misfit(name, data)


def _misfit(name: str, data: Any) -> ValueError:
    *some, last = _PARTS.get(data.format, ("rows", "columns", "values"))
    more = ""
    if "indptr" in some:
        more = "indptr must begin with 0, never decrease and end with the number of values: "
    return ValueError(
        f"{name} is a sparse matrix whose {', '.join(some)} and {last} do not fit each other or "
        f"its shape {data.shape}; {more}make the matrix anew from rows, columns and values"
    )


def _in_rows(name: str, data: Any) -> Any:
    """Return the matrix as CSR; other formats may be damaged, too."""
    if data.format == "coo":  # whose conversion writes where these say
        for part, size in zip(("row", "col"), data.shape, strict=True):
            numbers = np.asarray(getattr(data, part))
            if numbers.shape != data.data.shape or numbers.dtype.kind not in "iu":
                raise _misfit(name, data)
            _refuse_outside(name, numbers, size, part)
    if data.format in ("csc", "bsr"):
        _refuse_what_does_not_fit(name, data)
    if (data.format == "lil" and not _lists_fit(data)) or (
        data.format == "dia" and data.offsets.shape != data.data.shape[:1]
    ):
        raise _misfit(name, data)
    try:
        return data.tocsr()
    except MemoryError:
        raise
    except Exception as error:  # SciPy raises whatever damaged parts lead it to
        raise _misfit(name, data) from error


def _lists_fit(data: Any) -> bool:
    """Return whether each row of a matrix of lists has a list of columns and one of values."""
    rows, values = data.rows, data.data
    if not rows.shape == values.shape == data.shape[:1]:
        return False
    return all(
        isinstance(columns, list) and isinstance(its, list) and len(columns) == len(its)
        for columns, its in zip(rows, values, strict=True)
    )


def _refuse_what_does_not_fit(name: str, data: Any) -> None:
    """Refuse arrays by which compiled code would read or write out of bounds."""
    major, minor = data.shape[:: -1 if data.format == "csc" else 1]
    if data.format == "bsr":
        major, minor = (size // side for size, side in zip(data.shape, data.blocksize, strict=True))
    indptr, indices = np.asarray(data.indptr), np.asarray(data.indices)
    fits = indptr.ndim == indices.ndim == 1 and indptr.dtype.kind == indices.dtype.kind == "i"
    fits = fits and len(data.data) == len(indices)
    fits = fits and len(indptr) == major + 1 and indptr[0] == 0 and indptr[-1] <= len(indices)
    if not (fits and (indptr[1:] >= indptr[:-1]).all()):
        raise _misfit(name, data)
    _refuse_outside(name, indices[: indptr[-1]], minor, "row" if data.format == "csc" else "column")


def _refuse_outside(name: str, numbers: NDArray[Any], size: int, what: str) -> None:
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < size:
        wrong = numbers[(numbers < 0) | (numbers >= size)][0]
        raise ValueError(
            f"{name} stores a value in {what} {wrong} and has the shape in which it must be at "
            f"least 0 and below {size}; mend its indices or its shape"
        )


def _ascend(data: Any) -> bool:
    """Return whether columns strictly ascend within each row; no flag of the matrix is trusted."""
    indices, indptr = np.asarray(data.indices), np.asarray(data.indptr)
    for first in range(1, int(indptr[-1]), _BLOCK_VALUES):
        last = min(first + _BLOCK_VALUES, int(indptr[-1]))
        falls = indices[first:last] <= indices[first - 1 : last - 1]
        begin, end = np.searchsorted(indptr, (first, last))
        falls[indptr[begin:end] - first] = False  # where a row begins, columns may fall
        if falls.any():
            return False
    return True


def _values(values: NDArray[Any], dtypes: tuple[str, ...]) -> Array:
    dtype = "float32" if values.dtype.name in ("float16", "float32") else "float64"
    with np.errstate(over="ignore"):  # a long double that overflows is reported as infinite
        return np.require(values, dtype if dtype in dtypes else "float64", requirements=["C", "A"])


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def as_scipy(rows: SparseRows) -> Any:
    """Return rows as a ``csr_array`` of SciPy's, which shares their values and columns."""
    from scipy.sparse import csr_array  # whoever has sparse rows has imported it

    data, indices = rows.stored()
    indptr = rows.indptr - rows.indptr[0]
    if len(data) <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    return csr_array((data, indices.astype(indptr.dtype, copy=False), indptr), rows.shape)
