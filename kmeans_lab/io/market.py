"""Read MatrixMarket files, .mtx: arrays, or the coordinates of what is not zero.

The format is that of Boisvert, Pozo and Remington (NISTIR 5935, 1996). SciPy's own reader, 1.17, is
several times as fast and not used: a zero byte, or a damaged last line, ends the process, and
``1e`` is read as 1. NumPy's ``loadtxt`` refuses both with the number of the line.
"""

import warnings
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.io.errors import Refused, refusing_damage
from kmeans_lab.io.sparse_files import compressed, scipy_sparse

MARKET_SUFFIXES = (".mtx", ".mtx.gz")

_KINDS = {"real": "f8", "double": "f8", "integer": "i8", "unsigned-integer": "u8", "pattern": ""}
_SYMMETRIES = ("general", "symmetric", "skew-symmetric")
_LONGEST = 1 << 16  # characters of a line above the values


class _Header(NamedTuple):
    form: str
    kind: str
    symmetry: str
    shape: tuple[int, int]
    n_values: int


def read_market(path: Path) -> Any:
    """Return an array as it is, (n_samples, n_features), and coordinates as a ``csr_array``."""
    remedy = "write it again with scipy.io.mmwrite"
    with refusing_damage(path, remedy), _opened(path) as file:
        header = _header(path, file)
        if header.form == "array":
            return _dense(file, header)
        sparse = scipy_sparse(path)
        values, places = _coordinates(file, header)
        return compressed(path, sparse.coo_array((values, places), shape=header.shape))


def _opened(path: Path) -> Any:
    if path.suffix.lower() != ".gz":
        return path.open(encoding="latin-1")  # which has a character for every byte
    import gzip  # here: few files are

    return gzip.open(path, "rt", encoding="latin-1")


def _header(path: Path, file: TextIO) -> _Header:
    banner = file.readline(_LONGEST).lower().split()
    if banner[:1] != ["%%matrixmarket"]:
        raise Refused(f"{path} is not a MatrixMarket file; write it with scipy.io.mmwrite")
    what, form, kind, symmetry = (banner[1:] + 4 * [""])[:4]
    if what != "matrix" or form not in ("array", "coordinate"):
        raise Refused(f"{path} holds a {what} by {form} and must hold a matrix; convert it")
    if kind not in _KINDS or symmetry not in _SYMMETRIES or (form, kind) == ("array", "pattern"):
        raise Refused(
            f"{path} holds numbers that are {kind} and {symmetry}, and they must be "
            f"{', '.join(_KINDS)}, and {', '.join(_SYMMETRIES)}; convert them"
        )
    line = "%"
    while line.startswith("%") or line.isspace():
        line = file.readline(_LONGEST)
    sizes = [int(word) for word in line.split()]
    if len(sizes) != (2 if form == "array" else 3) or min(sizes) < 0:
        raise ValueError(f"its sizes are {line.strip()!r}")
    n_rows, n_columns = sizes[:2]
    if symmetry != "general" and n_rows != n_columns:
        raise ValueError(f"{symmetry} and {n_rows} × {n_columns}, which is not square")
    n_values = sizes[2] if form == "coordinate" else _n_values(n_rows, n_columns, symmetry)
    return _Header(form, _KINDS[kind], symmetry, (n_rows, n_columns), n_values)


def _n_values(n_rows: int, n_columns: int, symmetry: str) -> int:
    """Return how many values an array has in a file: of a symmetric one, the lower triangle."""
    diagonal = 0 if symmetry == "skew-symmetric" else n_rows
    return n_rows * n_columns if symmetry == "general" else n_rows * (n_rows - 1) // 2 + diagonal


def _table(file: TextIO, header: _Header, fields: list[tuple[str, str]]) -> NDArray[Any]:
    """Return the lines below the header, whose number must be as promised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no lines: counted here
        warnings.simplefilter("error", DeprecationWarning)  # an index like 1.5, for NumPy 2.0
        lines = np.loadtxt(file, fields, comments="%", ndmin=1)  # max_rows would be allocated
    if len(lines) != header.n_values:
        more = f"only {len(lines)}" if len(lines) < header.n_values else "more"
        raise ValueError(f"it promises {header.n_values} values and has {more}")
    return lines


def _dense(file: TextIO, header: _Header) -> NDArray[Any]:
    values = _table(file, header, [("value", header.kind)])["value"]
    n_rows, n_columns = header.shape
    if header.symmetry == "general":
        return values.reshape(n_columns, n_rows).T  # column by column
    skew = header.symmetry == "skew-symmetric"
    matrix = np.zeros(header.shape, values.dtype)
    columns, rows = np.triu_indices(n_rows, int(skew))
    matrix[rows, columns] = values
    matrix[columns, rows] = -values if skew else values
    return matrix


def _coordinates(file: TextIO, header: _Header) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return values, and the places (2, n_values) at which they are, counted from 0."""
    fields = [("row", "i8"), ("column", "i8")] + [("value", header.kind)] * bool(header.kind)
    lines = _table(file, header, fields)
    values = lines["value"] if header.kind else np.ones(len(lines))
    places = np.stack([lines["row"], lines["column"]]) - 1
    outside = np.flatnonzero(((places < 0) | (places >= np.array([header.shape]).T)).any(axis=0))
    if len(outside):
        row, column = (places[:, outside[0]] + 1).tolist()
        size = " × ".join(map(str, header.shape))
        raise ValueError(f"value {outside[0] + 1} is at {row}, {column} of a matrix {size}")
    if header.symmetry != "general":
        mirrored = places[0] != places[1]
        sign = -1 if header.symmetry == "skew-symmetric" else 1
        values = np.concatenate([values, sign * values[mirrored]])
        places = np.hstack([places, places[::-1, mirrored]])
    return values, places
