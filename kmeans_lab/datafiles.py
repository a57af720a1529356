"""Data files in: every refusal is a sentence.

Rows come from .csv, .npy and image files. What goes out is in ``outputs.py``.
"""

import re
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
DATA_SUFFIXES = (".csv", ".npy", *IMAGE_SUFFIXES)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|infinity|nan)", re.I | re.A)


class Refused(ValueError):
    """A file or an option is not acceptable; the message says why and what to do."""


class MissingExtra(ImportError):
    """An optional package is not installed; the message says what to type."""

    def __init__(self, who: str, package: str, extra: str = "cli") -> None:
        remedy = f"pip install 'kmeans-lab[{extra}]'"
        super().__init__(f"{who} the package {package}, which is not installed; {remedy}")


def read_rows(path: Path, skip_rows: int = 0) -> NDArray[Any]:
    """Read a data file.

    Parameters
    ----------
    path : Path
        A .csv file of numbers, an .npy file, or an image: its pixels as rows R, G, B, of the
        first frame where there are several, an alpha channel left out.
    skip_rows : int, default 0
        Lines to leave out at the top of a .csv file.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        float64; from .npy whatever it holds. ``kmeans`` checks whether the values are finite.

    Raises
    ------
    Refused
        The file is not there, not readable, or not what its suffix says.
    MissingExtra
        It is an image, and Pillow is not installed.
    """
    refuse_unreadable(path)
    suffix = known_suffix(path, DATA_SUFFIXES)
    if skip_rows < 0:
        raise Refused(f"--skip-rows {skip_rows} must be at least 0")
    if suffix == ".csv":
        return _read_csv(path, skip_rows)
    if skip_rows:
        raise Refused(f"--skip-rows has no meaning for {path}: it is for .csv; leave it out")
    return _read_npy(path) if suffix == ".npy" else _read_image(path)


def refuse_unreadable(path: Path) -> None:
    """``Refused`` unless a path is a file that can be read."""
    try:
        mode = path.stat().st_mode
        if S_ISDIR(mode):
            raise Refused(f"{path} is a folder and must be a file; name a file in it")
        if not S_ISREG(mode):  # a pipe is read once, and finding the fault in a CSV takes twice
            raise Refused(f"{path} is not a regular file; save the data to one first")
        path.open("rb").close()
    except FileNotFoundError:
        raise Refused(f"there is no file {path}; check the path") from None
    except OSError as error:
        why = f"{path} cannot be read ({error.strerror})"
        raise Refused(f"{why}; check the path and its permissions") from None


def known_suffix(path: Path, allowed: tuple[str, ...]) -> str:
    """Return the suffix of a path in small letters; ``Refused`` unless it is allowed."""
    suffix = path.suffix.lower()
    if suffix not in allowed:
        rule = f"must have {', '.join(allowed[:-1])} or {allowed[-1]}"
        raise Refused(f"{path} has the suffix {path.suffix!r} and {rule}; convert it")
    return suffix


def _read_csv(path: Path, skip_rows: int) -> NDArray[np.float64]:
    rows = np.empty((0, 0))
    try:
        with warnings.catch_warnings(), suppress(OverflowError):  # skip_rows beyond a C long
            warnings.simplefilter("ignore", UserWarning)  # no data: an error of its own, below
            rows = np.loadtxt(
                str(path),
                delimiter=",",
                comments=None,
                encoding="utf-8-sig",
                ndmin=2,
                skiprows=skip_rows,
            )
    except UnicodeDecodeError as error:
        raise Refused(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except ValueError as error:
        _explain(path, skip_rows, error)
    if rows.size == 0:
        left, check = (" left", "--skip-rows") if skip_rows else ("", "the file")
        raise Refused(f"{path} has no row of numbers{left} and needs one; check {check}")
    return rows


def _explain(path: Path, skip_rows: int, error: ValueError) -> NoReturn:
    """Read the file again, line by line: NumPy's row numbers leave out empty and skipped lines."""
    first, width = 0, 0
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if number <= skip_rows or line == "\n":
                continue
            fields = [field.strip() for field in line.split(",")]
            first, width = first or number, width or len(fields)
            if len(fields) != width:
                raise Refused(
                    f"{path}, line {number} has {len(fields)} column{'s' * (len(fields) > 1)} and "
                    f"must have {width} like line {first}; correct it or drop it"
                ) from None
            for column, field in enumerate(fields, start=1):
                if not _NUMBER.fullmatch(field):
                    fault = _fault(field, number if number == first else None)
                    raise Refused(f"{path}, line {number}, column {column} {fault}") from None
    raise Refused(f"{path} cannot be read as a table of numbers: {error}") from error


def _fault(field: str, header: int | None) -> str:
    """Say what is wrong with a field; ``header`` is its line's number if the first one read."""
    shown = repr(field if len(field) <= 30 else field[:30] + "…")
    if not field:
        return "is empty and every field must be a number; fill it in or drop the line"
    if field[0] in "\"'" and _NUMBER.fullmatch(field.strip("\"'")):
        return f"holds {shown} and numbers must stand without quotes; save the file without quotes"
    if all(_NUMBER.fullmatch(part) for part in re.split(r"\s*[;\s]\s*", field)):
        return f"holds {shown} and commas must separate the columns; save the file with commas"
    remedy = f"if this is a header, use --skip-rows {header}" if header else "correct it or drop it"
    return f"holds {shown} and every field must be a number; {remedy}"


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
    return array


@contextmanager
def opened_image(path: Path) -> Iterator[Any]:
    """Open an image with Pillow, and turn whatever comes of reading it into ``Refused``.

    Raises ``MissingExtra`` where there is no Pillow.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise MissingExtra(f"reading {path} needs", "pillow") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata, size and transparency
            with Image.open(path) as image:
                _refuse_program(path, image.format)
                yield image
    except Image.DecompressionBombError as error:
        raise Refused(f"{path} is too large an image ({error}); scale it down") from None
    except (MemoryError, Refused):
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise Refused(
            f"{path} is damaged or not an image that Pillow can read; check or convert it"
        ) from error


def _refuse_program(path: Path, kind: str | None) -> None:
    if kind == "EPS":  # Pillow would have Ghostscript run it
        raise Refused(f"{path} is a PostScript program and must be an image; convert it")


def _read_image(path: Path) -> NDArray[np.float64]:
    with opened_image(path) as image:
        if image.mode[0] in "IF":  # Pillow would clip these to 0 … 255
            raise Refused(
                f"{path} has more than 8 bits per channel (mode {image.mode}) and must have 8; "
                "convert it, or save its pixels with numpy.save"
            )
        return np.asarray(image.convert("RGB"), dtype=np.float64).reshape(-1, 3)
