"""Input validation: every refusal is one sentence with the fact, the rule and the remedy.

X is never modified. Integers, Fortran order, strides and foreign byte order are accepted and
converted once, here.
"""

from __future__ import annotations  # NumPy imports numpy.random when it is asked for

import operator
import warnings
from collections.abc import Callable
from contextlib import suppress
from math import isfinite, isnan
from numbers import Real
from reprlib import repr as short
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.arrays import read
from kmeans_lab.io.frames import column_name
from kmeans_lab.io.values import may_round, place, rounded, says_rounded, strangers
from kmeans_lab.kernel import Array, MeasuresRows
from kmeans_lab.metric import unit_rows
from kmeans_lab.numerics.magnitudes import refuse_overflow, refuse_underflow, refuse_vanishing
from kmeans_lab.numerics.moments import Moments, moments_of
from kmeans_lab.rows.streamed import StreamedRows
from kmeans_lab.sparse.rows import SparseRows

#: What arrays of floats hold, by the names of their dtypes.
_FLOAT_TYPES = {"float32": np.float32, "float64": np.float64}

F = TypeVar("F", bound=Callable[..., Any])

#: Returns the generator of a fit.
Draws = Callable[[], "np.random.Generator"]


def numpys_own_errors(function: F) -> F:
    """Return a function that computes under NumPy's defaults, whatever the caller's ``np.seterr``.

    A product that underflows in here is no concern of the caller's.
    """
    settings = np.errstate(divide="warn", over="warn", invalid="warn", under="ignore")
    wrapped = settings(function)
    wrapped.__kwdefaults__ = function.__kwdefaults__  # the command line reads them
    return wrapped


def integer(name: str, value: Any, least: int) -> int:
    """Return value as an int that is at least ``least``."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):  # operator.index refuses NumPy's booleans
        raise TypeError(f"{name}={value!r} must be an integer ≥ {least}")
    if number.bit_length() > 1000:  # which Python may refuse to print
        raise ValueError(
            f"{name} has hundreds of digits and must be a number that can be counted to"
        )
    if number < least:
        raise ValueError(f"{name}={number} must be at least {least}")
    return number


def real(value: Any) -> float | None:
    """Return value as a float, infinite where it is too large; None where it is no real number."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, Real) or isinstance(value, bool | np.timedelta64):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return float("inf")


def flag(name: str, value: Any) -> bool:
    """Return value as True or False."""
    if not isinstance(value, bool | np.bool_ | int):
        raise TypeError(f"{name}={value!r} must be True or False")
    return bool(value)


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return value when it is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(choices)}")
    return str(value)


def function(name: str, value: Any) -> Any:
    """Return value when it can be called or is None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name}={value!r} must be a function of one Iteration, or None")
    return value


def generator(random_state: Any) -> np.random.Generator:
    """Return the generator behind a seed, or the generator itself."""
    if isinstance(random_state, np.ndarray) and random_state.ndim == 0:
        random_state = random_state[()]
    if not isinstance(random_state, bool):
        with suppress(TypeError, ValueError):
            return np.random.default_rng(random_state)
    raise ValueError(
        f"random_state={random_state!r} must be None, an integer ≥ 0 or a numpy.random.Generator"
    )


def drawing(random_state: Any) -> Draws:
    """Return a function that returns the same generator each time.

    A fresh seed takes 60 µs and is drawn at the first call: many fits draw nothing.
    """
    made = [] if random_state is None else [generator(random_state)]

    def draws() -> np.random.Generator:
        if not made:
            made.append(np.random.default_rng())
        return made[0]

    return draws


def samples(data: Any, dtypes: tuple[str, ...], metric: str = "euclidean") -> Array:
    """Return X as a finite, C-contiguous, native float matrix; a view where possible.

    float16 becomes float32; integers, booleans and long doubles become float64; a dtype
    outside ``dtypes`` becomes float64, with a warning where that rounds integers. Values whose
    squared distances would overflow to infinity, or all vanish, are refused where the metric is
    Euclidean.
    """
    rows = _matrix("X", data, dtypes)
    largest = _largest("X", rows, data)
    if metric == "euclidean":
        refuse_magnitudes(largest, rows)
    return rows


def measured_samples(
    data: Any,
    dtypes: tuple[str, ...],
    kernel: MeasuresRows | None,
    n_threads: int,
    metric: str = "euclidean",
) -> tuple[Array, Moments]:
    """Return what ``samples`` returns, and the moments of the columns, from the same look at X.

    With metric="cosine" the rows have length 1: X may hold values of any magnitude.
    """
    given = _matrix("X", data, dtypes)
    rows = unit_rows(given, kernel, n_threads) if metric == "cosine" else given
    moments = moments_of(rows, kernel, n_threads)
    largest = moments.largest()
    if isnan(largest):
        largest = _largest("X", given, data)
    if metric == "euclidean":
        refuse_magnitudes(largest, rows)
    return rows, moments


def refuse_magnitudes(largest: float, rows: Array | SparseRows | StreamedRows) -> None:
    """Refuse rows whose squared distances would overflow to infinity, or all vanish."""
    refuse_overflow(largest, rows)
    refuse_underflow(largest, rows)


def numbers(
    name: str, data: Any, values: NDArray[Any] | None = None, *, exact: bool = True
) -> NDArray[Any]:
    """Return what is in ``data`` as an array of real numbers; ``exact``: warn of rounded integers.

    ``values`` are what was read from ``data`` already.

    Raises
    ------
    ValueError, TypeError
        As ``kmeans_lab.arrays.read``; and where a value is no real number.
    """
    array = read(name, data) if values is None else values
    if array.dtype.kind not in "buifO":
        raise TypeError(
            f"{name} has dtype {array.dtype} and must be numeric (real); "
            + _to_numbers(name, data, array.dtype)
        )
    if exact:
        warn_of_rounding(name, data, array)
    return _from_objects(name, data, array) if array.dtype == object else array


def _to_numbers(name: str, data: Any, dtype: np.dtype[Any]) -> str:
    if dtype.names is not None:
        if any(wide in repr(dtype) for wide in ("i8'", "u8'")):
            return f"use {name}.tolist()"  # the other way rounds large ones silently
        return "convert it with structured_to_unstructured of numpy.lib.recfunctions"
    if dtype.kind == "M":
        return f"count from a first date, ({name} - {name}.min()) / np.timedelta64(1, 's')"
    if dtype.kind == "m":
        return f"count in a unit, {name} / np.timedelta64(1, 's')"
    if dtype.kind == "c":
        return f"use {name}.real, or np.hstack([{name}.real, {name}.imag]) for both parts"
    return f"convert it with {_expression(name, data)}.astype(float)"


def _expression(name: str, data: Any) -> str:
    return name if isinstance(data, np.ndarray) else f"np.asarray({name})"


def _from_objects(name: str, data: Any, values: NDArray[Any]) -> NDArray[np.float64]:
    strange = np.argwhere(strangers(values))
    if len(strange):
        where = place(name, strange[0], _column(data, strange[0]))
        if isinstance(values[tuple(strange[0])], np.ndarray | list | tuple):
            raise TypeError(
                f"{where} holds several values and must be a real number; use np.stack({name}) "
                "where each element holds the values of a row"
            )
        raise TypeError(
            f"{where} is {short(values[tuple(strange[0])])} and the argument must be free of "
            f"strings and whatever else is not a real number; turn them into numbers first"
        )
    try:
        with np.errstate(over="ignore"):  # a long double that overflows is reported as infinite
            return values.astype(np.float64)
    except OverflowError:
        raise ValueError(
            f"{name} has an integer that is too large for float64; scale {name} down"
        ) from None


def _column(data: Any, index: Any) -> str:
    return column_name(data, index[1]) if len(index) == 2 else ""


def warn_of_rounding(name: str, data: Any, array: NDArray[Any]) -> None:
    """Warn of integers that float64 does not hold; ``array`` is what was read from ``data``."""
    if not may_round(array) or not (inexact := rounded(array)).any():
        return
    index = np.argwhere(inexact)[0]
    warnings.warn(
        says_rounded(name, index, array[tuple(index)], _column(data, index)),
        UserWarning,
        stacklevel=7,  # the caller of a public function
    )


def _matrix(name: str, data: Any, dtypes: tuple[str, ...]) -> Array:
    array = numbers(name, data)
    if array.ndim != 2:
        refuse_dimensions(name, data, array.ndim)
    if 0 in array.shape:
        raise ValueError(
            f"{name} has shape {array.shape} and must have at least one row and one column; "
            "check the selection that made it"
        )
    dtype = "float32" if array.dtype.type in (np.float16, np.float32) else "float64"
    if dtype not in dtypes:
        dtype = "float64"
    laid_out = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
    if laid_out and array.dtype.type is _FLOAT_TYPES[dtype]:  # asking NumPy takes 15 µs
        return array
    with np.errstate(over="ignore"):  # a long double that overflows is reported as infinite
        return np.require(array, dtype=dtype, requirements=["C", "A"])


def refuse_dimensions(name: str, data: Any, ndim: int) -> NoReturn:
    """Raise ``ValueError`` for an array that is no matrix; say how it becomes one."""
    it = _expression(name, data)
    if ndim > 2:  # an image, say: the last axis is that of a pixel's channels
        way = f"{it}.reshape(-1, {it}.shape[-1]) where the last axis holds the features"
    else:
        way = f"{it}.reshape(-1, 1) for a single feature, .reshape(1, -1) for a single row"
    raise ValueError(
        f"{name} has {ndim} dimension{'s' * (ndim != 1)} and must have 2, "
        f"(n_samples, n_features); use {way}"
    )


def _largest(name: str, rows: Array, data: Any) -> float:
    """Return the largest absolute value; refuse NaN and infinity, which survive min and max."""
    low, high = float(rows.min()), float(rows.max())
    if isfinite(low) and isfinite(high):
        return max(-low, high)
    where = np.argwhere(~np.isfinite(rows))
    others = f" ({len(where)} are not)" if len(where) > 1 else ""
    raise ValueError(
        f"{place(name, where[0], _column(data, where[0]))} is {rows[tuple(where[0])]} and "
        f"every value must be finite{others}; drop or fill such rows first"
    )


def weights(
    sample_weight: Any, rows: Array | SparseRows | StreamedRows
) -> NDArray[np.float64] | None:
    """Return the weights of rows (n_samples,) as float64; None where all of them are 1."""
    if sample_weight is None:
        return None
    n_samples = len(rows)
    values = numbers("sample_weight", sample_weight, exact=False)
    with np.errstate(over="ignore"):  # a long double that overflows is reported as infinite
        values = np.asarray(values, dtype=np.float64)
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
    refuse_vanishing(values, rows)
    return None if (values == 1).all() else values


def clusters(n_clusters: Any, n_samples: int) -> int:
    """Return n_clusters as an int between 1 and n_samples."""
    number = integer("n_clusters", n_clusters, 1)
    if number > n_samples:
        raise ValueError(
            f"n_clusters={number} must be at most n_samples={n_samples}; ask for fewer clusters"
        )
    return number


def initial_centers(
    centers: Any,
    n_clusters: int | None,
    like: Array | SparseRows | StreamedRows,
    source: str,
    metric: str = "euclidean",
) -> Array:
    """Return centers as a new array of the dtype of X, in X's own coordinates; None: any number.

    With metric="cosine" they have length 1.
    """
    array = _matrix(source, centers, ("float32", "float64"))
    expected = (n_clusters or len(array), like.shape[1])
    if array.shape != expected:
        raise ValueError(
            f"{source} has shape {array.shape} and must have shape "
            f"(n_clusters, n_features)={expected}"
        )
    largest = _largest(source, array, centers)
    if metric == "cosine":
        wide = array.astype(np.float64)
        return unit_rows(wide, name=source, dtype=like.dtype).astype(like.dtype)
    refuse_overflow(largest, like)
    return array.astype(like.dtype)


def finite(rows: Array, name: str) -> None:
    """Refuse rows that are not finite."""
    _largest(name, rows, rows)
