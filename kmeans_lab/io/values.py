"""Find values in arrays that are masked, missing, rounded or not numbers."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]

#: Above this, float64 does not hold every integer.
EXACT = 2**53
#: Types whose values are missing only where they differ from themselves.
PLAIN = {bool, int, float, complex, str, bytes}


def place(name: str, index: Iterable[Any], column: str = "") -> str:
    """Return the name of a value: ``X[3, 1]``, and the name of its column if it has one."""
    where = ", ".join(str(i) for i in index)
    if not where:
        return name
    joined = f"{name[:-1]}, {where}]" if name.endswith("]") else f"{name}[{where}]"
    return joined + (f" (column {column})" if column else "")


def strangers(values: Values) -> NDArray[np.bool_]:
    """Return which objects are not real numbers."""
    from decimal import Decimal  # here: few callers have objects

    def is_strange(value: Any) -> bool:
        known = isinstance(value, Real | Decimal | np.bool_)
        return not known or isinstance(value, np.timedelta64)  # which NumPy derives from integers

    return np.asarray(np.frompyfunc(is_strange, 1, 1)(values), dtype=bool)


def rounded(values: Values) -> NDArray[np.bool_]:
    """Return which values, beyond ±2⁵³, float64 does not hold as they are."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        size = np.where(values < 0, -values, values) if values.dtype.kind == "i" else values
        size = size.astype(np.uint64)  # of −2⁶³, too, whose negative is itself
        lowest = np.maximum(size & (~size + np.uint64(1)), np.uint64(1))
        return np.asarray(size // lowest > EXACT)
    if values.dtype == np.longdouble and values.dtype.itemsize > 8:
        with np.errstate(all="ignore"):
            held = values.astype(np.float64).astype(np.longdouble)
        return np.asarray((np.abs(values) > EXACT) & np.isfinite(held) & (held != values))
    if values.dtype == object:
        with np.errstate(all="ignore"):  # of long doubles, among others
            return np.asarray(np.frompyfunc(_is_rounded, 1, 1)(values), dtype=bool)
    return np.zeros(values.shape, dtype=bool)


def may_round(values: Values) -> bool:
    """Return whether some value could be one that ``rounded`` finds, from a faster look."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        return values.size > 0 and bool(values.max() > EXACT or values.min() < -EXACT)
    return values.dtype == object or values.dtype == np.longdouble != np.float64


def says_rounded(name: str, index: Iterable[Any], value: Any, column: str = "") -> str:
    """Return the warning of a value that float64 rounds."""
    return (
        f"{place(name, index, column)} is {value}, which float64 rounds, so that different values "
        "beyond 2**53 may become equal; subtract the smallest value of each column, as an integer, "
        "first"
    )


def _is_rounded(value: Any) -> bool:
    try:
        return bool(
            abs(value) > EXACT and value != float(value) and abs(float(value)) < float("inf")
        )
    except (TypeError, ValueError, ArithmeticError):  # not a number, or too large for a float
        return False


def refuse_masked(name: str, data: Values) -> None:
    """Raise ``ValueError`` where an array of NumPy or Astropy says that a value is masked."""
    mask = None if type(data) is np.ndarray else getattr(data, "mask", None)
    if not isinstance(mask, np.ndarray | np.bool_) or mask.dtype != bool or not mask.any():
        return
    where = np.argwhere(np.broadcast_to(mask, data.shape))
    raise ValueError(
        f"{place(name, where[0])} is masked and no value may be masked{_others(len(where))}; "
        "drop such rows, or replace what is masked with .filled(value)"
    )


def refuse_missing(name: str, values: Values) -> None:
    """Raise ``ValueError`` where an object stands for a missing value."""
    missing = np.asarray(np.frompyfunc(_is_missing, 1, 1)(values), dtype=bool)
    if values.ndim and missing.any():
        say_missing(name, missing)


def say_missing(
    name: str, missing: NDArray[np.bool_], f: int | None = None, column: str = ""
) -> None:
    """Raise ``ValueError`` for the first value that is missing; ``f`` is a frame's column."""
    where = np.argwhere(missing)
    index = where[0] if f is None else (*where[0], f)
    raise ValueError(
        f"{place(name, index, column)} is missing and no value may be "
        f"missing{_others(len(where))}; drop or fill such rows first"
    )


def _is_missing(value: Any) -> bool:
    """Return True for None, NaN, NaT, NA and a masked element."""
    if value is None or value is np.ma.masked:
        return True
    if type(value) in PLAIN:
        return bool(value != value)
    try:
        return bool(np.ndim(value) == 0 and value != value)
    except (TypeError, ValueError, ArithmeticError):
        return True  # whether NA equals itself is NA, and neither true nor false


def _others(count: int) -> str:
    return f" ({count} are)" if count > 1 else ""
