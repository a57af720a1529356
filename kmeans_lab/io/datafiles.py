"""Read data files: text, arrays, tables and images, dense or sparse.

Every refusal is a sentence. Output files are written by ``outputs.py``.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_lab import checks
from kmeans_lab.io.array_files import ARCHIVE_SUFFIXES, read_npy, read_npz, read_safetensors
from kmeans_lab.io.arrow_tables import ARROW_SUFFIXES, read_arrow
from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.images import read_picture
from kmeans_lab.io.market import MARKET_SUFFIXES, read_market
from kmeans_lab.io.paths import either, known_suffix, refuse_unreadable
from kmeans_lab.io.text_tables import TextFormat, read_table

__all__ = [
    "ARCHIVE_SUFFIXES",
    "ARROW_SUFFIXES",
    "DATA_SUFFIXES",
    "IMAGE_SUFFIXES",
    "TEXT_SUFFIXES",
    "MissingExtra",
    "Refused",
    "known_suffix",
    "read_rows",
    "refuse_unreadable",
]

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
DATA_SUFFIXES = (
    *TEXT_SUFFIXES,
    ".npy",
    *ARCHIVE_SUFFIXES,
    *ARROW_SUFFIXES,
    *MARKET_SUFFIXES,
    *IMAGE_SUFFIXES,
)
#: Options that other files than text have, and those files.
_FOR = {
    "columns": (*TEXT_SUFFIXES, *ARROW_SUFFIXES),
    "drop_columns": (*TEXT_SUFFIXES, *ARROW_SUFFIXES),
    "array": ARCHIVE_SUFFIXES,
}


def read_rows(
    path: Path,
    skip_rows: int = 0,
    *,
    delimiter: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    header: str = "auto",
    columns: Sequence[str] = (),
    drop_columns: Sequence[str] = (),
    array: str | None = None,
) -> Any:
    """Read a data file.

    Parameters
    ----------
    path : Path
        A text file of numbers; an array: .npy, .npz or .safetensors; a table: Parquet or Arrow; a
        matrix that SciPy or MatrixMarket wrote; or an image: its pixels as rows R, G, B, of the
        first frame where there are several, upright, an alpha channel left out.
    skip_rows : int, default 0
        Lines to leave out at the top of a text file. This and the options that follow apply to text
        files only, unless they say so.
    delimiter : str, optional
        What separates columns: a character, or comma, semicolon, tab, space (any white space) or
        pipe. By default whichever of these there is, as long as only one gives numbers.
    decimal : {".", ","}, optional
        The decimal sign; a point by default.
    thousands : {",", ".", " ", "'", "_"}, optional
        What separates groups of three digits; nothing by default.
    header : {"auto", "yes", "no"}, default "auto"
        Whether the first line holds the columns' names: by default if it holds no number.
    columns, drop_columns : sequence of str, optional
        The columns of a text file or a table that are wanted, in this order, or those that are not:
        names, numbers from 1 on, ranges of numbers like 2-5, or several of them with commas
        between.
    array : str, optional
        The name of the array in an .npz or .safetensors file; by default that of the only matrix.

    Returns
    -------
    ndarray or scipy.sparse.csr_array of shape (n_samples, n_features)
        Finite numbers: float64; from files of arrays whatever they hold, but for bfloat16 and
        float16 of safetensors, which become float32; from tables float32 where nothing is wider.
        Sparse where the file is: the indices are in range, the values are not looked at.

    Raises
    ------
    Refused
        The file is not there, not readable, or not what its suffix says; or a value is missing.
    MissingExtra
        The package that reads it is not installed: Pillow, SciPy, pyarrow or safetensors.
    """
    refuse_unreadable(path)
    suffix = known_suffix(path, DATA_SUFFIXES)
    if skip_rows < 0:
        raise Refused(f"--skip-rows {skip_rows} must be at least 0")
    chosen = tuple(columns), tuple(drop_columns)
    form = TextFormat(skip_rows, delimiter, decimal, thousands, header, *chosen)
    _refuse_without_meaning(path, suffix, vars(form) | {"array": array})
    if suffix in TEXT_SUFFIXES:
        return read_table(path, form)
    if suffix in ARROW_SUFFIXES:
        return read_arrow(path, *chosen)
    if suffix in IMAGE_SUFFIXES:
        return read_picture(path).pixels[..., :3].reshape(-1, 3).astype(np.float64)
    if suffix in MARKET_SUFFIXES:
        return _checked(path, read_market(path))
    if suffix in ARCHIVE_SUFFIXES:
        read = read_npz if suffix == ".npz" else read_safetensors
        return _checked(path, read(path, array))
    return _checked(path, read_npy(path))


def _refuse_without_meaning(path: Path, suffix: str, options: dict[str, Any]) -> None:
    defaults = vars(TextFormat()) | {"array": None}
    for name, value in options.items():
        meant_for = _FOR.get(name, TEXT_SUFFIXES)
        if value != defaults[name] and suffix not in meant_for:
            raise Refused(
                f"--{name.replace('_', '-')} has no meaning for {path}: it is for "
                f"{either(meant_for)}; leave it out"
            )


def _checked(path: Path, rows: Any) -> Any:
    """Return dense rows that ``kmeans`` would take, and sparse ones, which it checks itself."""
    if not isinstance(rows, np.ndarray):
        return rows
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit says it again
            checks.samples(rows, ("float32", "float64"))
    except (TypeError, ValueError) as error:
        raise Refused(f"{path}: {error}") from None
    return rows
