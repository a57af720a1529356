"""Input validation: every refusal is one sentence with the fact, the rule and the remedy.

X is never modified. Integers, Fortran order, strides and foreign byte order are accepted and
converted once, here.
"""

from __future__ import annotations  # NumPy imports numpy.random when it is asked for

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def integer(name: str, value: Any, least: int) -> int:
    """Return value as an int that is at least ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name}={value!r} must be an integer ≥ {least}")
    if number < least:
        raise ValueError(f"{name}={number} must be at least {least}")
    return number


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return value when it is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(choices)}")
    return str(value)


def function(name: str, value: Any) -> Any:
    """Return value when it can be called or is None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}={value!r} must be a function of one Iteration, or None")
    return value


def generator(random_state: Any) -> np.random.Generator:
    """Return the generator behind a seed, or the generator itself."""
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            f"random_state={random_state!r} must be None, an integer ≥ 0 or "
            "a numpy.random.Generator"
        ) from None


def samples(data: Any, dtypes: tuple[str, ...]) -> Array:
    """Return X as a finite, C-contiguous, native float matrix; a view where that is enough.

    float16 becomes float32; integers, booleans and long doubles become float64; a dtype
    outside ``dtypes`` becomes float64. Values whose squared distances would overflow to infinity,
    or all vanish, are refused.
    """
    rows = _matrix("X", data, dtypes)
    largest = _largest("X", rows)
    _refuse_overflow(largest, rows)
    _refuse_underflow(largest, rows)
    return rows


def _matrix(name: str, data: Any, dtypes: tuple[str, ...]) -> Array:
    array = _numeric(name, data)
    if array.ndim != 2:
        raise ValueError(
            f"{name} has {array.ndim} dimension{'s' * (array.ndim != 1)} and must have 2, "
            f"(n_samples, n_features); use {name}.reshape(-1, 1) for a single feature"
        )
    if 0 in array.shape:
        raise ValueError(
            f"{name} has shape {array.shape} and must have at least one row and one column; "
            "check the selection that made it"
        )
    dtype = "float32" if array.dtype.name in ("float16", "float32") else "float64"
    if dtype not in dtypes:
        dtype = "float64"
    with np.errstate(over="ignore"):  # a long double that overflows is reported as infinite
        return np.require(array, dtype=dtype, requirements=["C", "A"])


def _numeric(name: str, data: Any) -> NDArray[Any]:
    if hasattr(data, "toarray"):
        raise TypeError(f"{name} is sparse and must be dense; convert it with {name}.toarray()")
    if isinstance(data, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array and must be a plain one; fill or drop the mask")
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot be read as a matrix ({error}); give every row the same length"
        ) from None
    if array.dtype.kind not in "buif":
        raise TypeError(
            f"{name} has dtype {array.dtype} and must be numeric (real); "
            f"convert it with {name}.astype(float)"
        )
    return array


def _largest(name: str, rows: Array) -> float:
    """Return the largest absolute value; refuse NaN and infinity, which survive min and max."""
    low, high = float(rows.min()), float(rows.max())
    if np.isfinite(low) and np.isfinite(high):
        return max(-low, high)
    where = np.argwhere(~np.isfinite(rows))
    i, f = where[0]
    others = f" ({len(where)} are not)" if len(where) > 1 else ""
    raise ValueError(
        f"{name}[{i}, {f}] is {rows[i, f]} and every value must be finite{others}; "
        "drop or fill such rows first"
    )


def _refuse_overflow(largest: float, like: Array) -> None:
    # A squared distance in the dtype, the sum of all of them in float64, and two bits to spare.
    one = float(np.finfo(like.dtype).max) / like.shape[1]
    limit = float(np.sqrt(min(one, float(np.finfo(np.float64).max) / like.size))) / 4
    if largest > limit:
        raise ValueError(
            f"a value of {largest:.3g} overflows in a squared distance; {like.dtype} in this shape "
            f"{like.shape} takes values up to {limit:.3g}: scale X down" + _or_float64(like)
        )


def _refuse_underflow(largest: float, rows: Array) -> None:
    info = np.finfo(rows.dtype)
    least = float(np.sqrt(float(info.tiny) / float(info.eps)))
    if 0 < largest < least:
        raise ValueError(
            f"no value is larger than {largest:.3g}, which underflows in a squared distance; "
            f"{rows.dtype} needs one of at least {least:.3g}: scale X up" + _or_float64(rows)
        )


def _or_float64(rows: Array) -> str:
    return " or use float64" if rows.dtype == np.float32 else ""


def weights(sample_weight: Any, n_samples: int) -> NDArray[np.float64] | None:
    """Return the weights of rows (n_samples,) as float64; None where all of them are 1."""
    if sample_weight is None:
        return None
    try:
        values = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError("sample_weight must be numbers, one for each row of X") from None
    if values.ndim == 0:
        values = np.full(n_samples, values)
    if values.shape != (n_samples,):
        raise ValueError(
            f"sample_weight has shape {values.shape} and must have ({n_samples},): one for each row"
        )
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        raise ValueError(
            f"sample_weight[{bad[0]}] is {values[bad[0]]} and must be a finite number ≥ 0; "
            "remove the row or weigh it 0"
        )
    if not values.any():
        raise ValueError("sample_weight is 0 for every row; at least one row must count")
    return None if (values == 1).all() else values


def clusters(n_clusters: Any, n_samples: int) -> int:
    """Return n_clusters as an int between 1 and n_samples."""
    number = integer("n_clusters", n_clusters, 1)
    if number > n_samples:
        raise ValueError(
            f"n_clusters={number} must be at most n_samples={n_samples}; ask for fewer clusters"
        )
    return number


def initial_centers(centers: Any, n_clusters: int | None, like: Array, source: str) -> Array:
    """Return centers as a new array of the dtype of X, in X's own coordinates; None: any number."""
    array = _matrix(source, centers, ("float32", "float64"))
    expected = (n_clusters or len(array), like.shape[1])
    if array.shape != expected:
        raise ValueError(
            f"{source} has shape {array.shape} and must have shape "
            f"(n_clusters, n_features)={expected}"
        )
    _refuse_overflow(_largest(source, array), like)
    return array.astype(like.dtype)


def no_overflow(X: Array) -> None:
    """Refuse rows whose squared distances would overflow to infinity, and those not finite."""
    _refuse_overflow(_largest("X", X), X)
