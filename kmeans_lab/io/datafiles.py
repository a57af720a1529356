"""Read data files: text files, .npy files and images.

Every refusal is a sentence. Output files are written by ``outputs.py``.
"""

import tokenize
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import checks
from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.images import read_picture
from kmeans_lab.io.paths import either, known_suffix, refuse_unreadable
from kmeans_lab.io.text_tables import TextFormat, read_table

__all__ = [
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
DATA_SUFFIXES = (*TEXT_SUFFIXES, ".npy", *IMAGE_SUFFIXES)


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
) -> NDArray[Any]:
    """Read a data file.

    Parameters
    ----------
    path : Path
        A text file of numbers, an .npy file, or an image: its pixels as rows R, G, B, of the
        first frame where there are several, upright, an alpha channel left out.
    skip_rows : int, default 0
        Lines to leave out at the top of a text file. This and all options that follow apply to text
        files only.
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
        The columns that are wanted, in this order, or those that are not: names, numbers from 1
        on, ranges of numbers like 2-5, or several of them with commas between.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Finite numbers: float64; from .npy whatever it holds.

    Raises
    ------
    Refused
        The file is not there, not readable, or not what its suffix says; or a value is missing.
    MissingExtra
        It is an image, and Pillow is not installed.
    """
    refuse_unreadable(path)
    suffix = known_suffix(path, DATA_SUFFIXES)
    if skip_rows < 0:
        raise Refused(f"--skip-rows {skip_rows} must be at least 0")
    chosen = tuple(columns), tuple(drop_columns)
    form = TextFormat(skip_rows, delimiter, decimal, thousands, header, *chosen)
    if suffix in TEXT_SUFFIXES:
        return read_table(path, form)
    if form != TextFormat():
        given = [name for name, value in vars(TextFormat()).items() if getattr(form, name) != value]
        raise Refused(
            f"--{given[0].replace('_', '-')} has no meaning for {path}: it is for "
            f"{either(TEXT_SUFFIXES)}; leave it out"
        )
    if suffix == ".npy":
        return _read_npy(path)
    return read_picture(path).pixels[..., :3].reshape(-1, 3).astype(np.float64)


def _read_npy(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic.startswith(b"PK"):
            raise Refused(f"{path} is an .npz archive and not one array; save that with numpy.save")
        if magic != b"\x93NUMPY":
            raise Refused(f"{path} is not an .npy file; write it with numpy.save")
        try:
            array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        # All that damaged headers have been seen to raise.
        except (ValueError, TypeError, SyntaxError, EOFError, tokenize.TokenError) as error:
            if "Object arrays" in str(error):
                why = "holds Python objects and must hold numbers; save array.astype(float)"
            else:
                why = f"is truncated or damaged ({error}); write it again with numpy.save"
            raise Refused(f"{path} {why}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit says it again
            checks.samples(array, ("float32", "float64"))
    except (TypeError, ValueError) as error:
        raise Refused(f"{path}: {error}") from None
    return array
