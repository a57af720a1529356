"""Data files in, result files out: every refusal is a sentence, every output whole or absent.

Rows come from .csv, .npy and image files. A result goes to one .npz, or to two .csv files: labels,
and centers beside them. Whatever can refuse an output is asked before the fit, which may be long.
"""

import io
import os
import re
import signal
import threading
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from stat import S_ISDIR, S_ISREG
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.result import KMeansResult

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
    _refuse_unreadable(path)
    suffix = _suffix(path, DATA_SUFFIXES)
    if skip_rows < 0:
        raise Refused(f"--skip-rows {skip_rows} must be at least 0")
    if suffix == ".csv":
        return _read_csv(path, skip_rows)
    if skip_rows:
        raise Refused(f"--skip-rows has no meaning for {path}: it is for .csv; leave it out")
    return _read_npy(path) if suffix == ".npy" else _read_image(path)


def _refuse_unreadable(path: Path) -> None:
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


def _suffix(path: Path, allowed: tuple[str, ...]) -> str:
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


def _read_image(path: Path) -> NDArray[np.float64]:
    pixels = np.asarray(open_image(path).convert("RGB"), dtype=np.float64)
    return pixels.reshape(-1, 3)


def open_image(path: Path) -> Any:
    """Return an image file as Pillow's image in mode RGB or RGBA, its first frame, loaded.

    Raises
    ------
    Refused
        It is damaged, too large, or has more than 8 bits per channel.
    MissingExtra
        Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise MissingExtra(f"reading {path} needs", "pillow") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata, size and transparency
            with Image.open(path) as image:
                mode = image.mode
                if mode[0] not in "IF":  # Pillow would clip these to 0 … 255
                    clear = image.has_transparency_data
                    upright = ImageOps.exif_transpose(image)
                    loaded = upright.convert("RGBA" if clear else "RGB")
    except Image.DecompressionBombError as error:
        raise Refused(f"{path} is too large an image ({error}); scale it down") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise Refused(
            f"{path} is damaged or not an image that Pillow can read; check or convert it"
        ) from error
    if mode[0] in "IF":
        raise Refused(
            f"{path} has more than 8 bits per channel (mode {mode}) and must have 8; convert it, "
            "or save its pixels with numpy.save"
        )
    return loaded


@dataclass(frozen=True, slots=True)
class Output:
    """Where a result goes: one .npz file, or two .csv files."""

    paths: tuple[Path, ...]
    force: bool

    def write(self, result: KMeansResult) -> None:
        """Write all files, or raise and leave what was there before."""
        self.write_bytes(_contents(self.paths[0], result))

    def write_bytes(self, contents: Iterable[bytes]) -> None:
        """Write what each file holds, or raise and leave what was there before."""
        finished: list[tuple[Path, Path]] = []
        try:
            for path, content in zip(self.paths, contents, strict=True):
                # In the same folder, because a rename is atomic within one file system only.
                temporary = path.with_name(f".kmeans-lab-{token_hex(8)}.tmp")
                finished.append((temporary, path))
                with temporary.open("xb") as file:
                    file.write(content)
            with _no_interrupt():
                _publish(finished, self.force)
        except FileExistsError as error:
            why = f"{error.filename} appeared during the fit and is kept; use --force to replace it"
            raise Refused(why) from None
        except OSError as error:
            why = f"{self.paths[0]} cannot be written ({error.strerror or error})"
            raise Refused(f"{why}; make room or choose another --output") from None
        finally:
            for temporary, _ in finished:
                temporary.unlink(missing_ok=True)


def plan_output(
    path: Path, source: Path, force: bool, suffixes: tuple[str, ...] = (".npz", ".csv")
) -> Output:
    """Say where a result goes; ``Refused`` for whatever can be refused before the fit."""
    paths = [path]
    if _suffix(path, suffixes) == ".csv":
        paths.append(path.with_suffix(".centers.csv"))
    folder = path.parent
    if not folder.is_dir():
        raise Refused(f"there is no folder {folder} for {path}; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"the folder {folder} is not writable; choose another --output")
    for target in paths:
        if not os.path.lexists(target):
            continue
        if target.is_dir():
            raise Refused(f"{target} is a folder; choose another --output")
        if target.exists() and source.exists() and target.samefile(source):
            raise Refused(f"{target} is the input and is never replaced; choose another name")
        if not force:
            raise Refused(f"{target} exists and is kept; use --force to replace it")
    return Output(tuple(paths), force)


def _contents(path: Path, result: KMeansResult) -> Iterator[bytes]:
    """Yield what goes into each file; a float's repr reads back as the very same float."""
    if path.suffix.lower() == ".csv":
        yield "\n".join(["label", *map(str, result.labels.tolist()), ""]).encode()
        rows = (",".join(map(repr, row)) for row in result.centers.tolist())
        yield "\n".join([*rows, ""]).encode()
        return
    archive = io.BytesIO()
    names = ("labels", "centers", "inertia", "n_iter")
    np.savez(archive, **{name: getattr(result, name) for name in names})
    yield archive.getvalue()


def _publish(finished: list[tuple[Path, Path]], force: bool) -> None:
    """Give every finished file its name, or none of them."""
    with ExitStack() as tidy, ExitStack() as undo:
        for temporary, path in finished:
            if force and os.path.lexists(path):
                old = temporary.with_suffix(".old")
                with suppress(OSError):  # no hard links on this file system: no way back
                    os.link(path, old)
                    tidy.callback(old.unlink, missing_ok=True)
                    undo.callback(os.replace, old, path)
            else:
                path.open("xb").close()  # unlike a rename, it refuses a name that is taken
                undo.callback(path.unlink)
            os.replace(temporary, path)
        undo.pop_all()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ignore Ctrl-C, which comes too late to stop the few renames inside."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
