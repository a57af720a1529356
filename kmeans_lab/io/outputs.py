"""Write files completely or not at all, and never over an existing one without permission.

A file is written under another name in the folder that it goes to, and renamed when it is on the
disk: a full disk or a kill leaves what was there before. A link is followed, so that the file it
names is replaced, with its permissions; anything that is not a file, such as a device, is refused.

A fit's result goes to one .npz, or to two .csv files: labels, and centers beside them. Every check
that can refuse an output is made before the work, which may be long.
"""

import io
import os
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EEXIST
from pathlib import Path
from secrets import token_hex
from stat import S_IMODE

import numpy as np

from kmeans_lab.io.errors import Refused
from kmeans_lab.io.paths import known_suffix
from kmeans_lab.result import KMeansResult


@dataclass(frozen=True, slots=True)
class Output:
    """Files that are going to be written, all or none."""

    paths: tuple[Path, ...]
    force: bool

    def write(self, contents: Iterable[bytes]) -> None:
        """Write all files, or raise and leave what was there before."""
        finished: list[tuple[Path, Path]] = []
        try:
            for name, content in zip(self.paths, contents, strict=True):
                path = _behind(name)
                # In the same folder, because a rename is atomic within one file system only.
                temporary = path.with_name(f".kmeans-lab-{token_hex(8)}.tmp")
                finished.append((temporary, path))
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())  # some disks say only now that they are full
                    with suppress(FileNotFoundError):
                        os.chmod(temporary, S_IMODE(path.stat().st_mode))
            with _no_interrupt():
                _publish(finished, self.force)
        except FileExistsError as error:
            why = f"{error.filename} appeared meanwhile and is kept; use --force to replace it"
            raise Refused(why) from None
        except OSError as error:
            why = f"{self.paths[0]} cannot be written ({error.strerror or error})"
            raise Refused(f"{why}; make room or choose another --output") from None
        finally:
            for temporary, _ in finished:
                temporary.unlink(missing_ok=True)


def plan_result(path: Path, source: Path, force: bool) -> Output:
    """Say where a fit's result goes: one .npz file, or two .csv files."""
    paths = [path]
    if known_suffix(path, (".npz", ".csv"), "name it so") == ".csv":
        paths.append(path.with_suffix(".centers.csv"))
    return plan_output(paths, [source], force)


def result_files(path: Path, result: KMeansResult) -> Iterator[bytes]:
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


def plan_output(paths: Sequence[Path], sources: Sequence[Path], force: bool) -> Output:
    """Say where output goes; ``Refused`` for whatever can be refused before the work."""
    try:
        for target in paths:
            _refuse_target(target, sources, force)
        tempfile.TemporaryFile(
            dir=_behind(paths[0]).parent
        ).close()  # access may say yes where this fails
    except OSError as error:
        raise Refused(
            f"{paths[0]} cannot be written ({error.strerror}); choose another --output"
        ) from None
    return Output(tuple(paths), force)


def write_file(path: Path, content: bytes | str) -> None:
    """Write one file, or replace it, whole or not at all."""
    data = content.encode() if isinstance(content, str) else content
    Output((path,), force=True).write([data])


def _refuse_target(path: Path, sources: Sequence[Path], force: bool) -> None:
    folder = path.parent
    if path.name == "-":
        raise Refused("--output - is no name of a file; leave it out, and --json prints instead")
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder} is a file and must be a folder to hold {path}; choose another")
    if not folder.is_dir():
        raise Refused(f"there is no folder {folder} for {path}; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"the folder {folder} is not writable; choose another --output")
    if not os.path.lexists(path):
        return
    if path.is_dir():
        raise Refused(f"{path} is a folder; choose another --output")
    if path.exists() and not path.is_file():  # a rename would put a file in its place
        raise Refused(f"{path} is a device or a pipe and must be a file; choose another --output")
    if path.exists() and any(_is_stream(path, number) for number in range(3)):
        raise Refused(f"{path} is where this command reads or prints; choose another --output")
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            raise Refused(f"{path} is the input and is never replaced; choose another name")
    if not force:
        raise Refused(f"{path} exists and is kept; use --force to replace it")


def _behind(path: Path) -> Path:
    """Return the path of the file that a link names, which need not be there; or the path."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_stream(path: Path, number: int) -> bool:
    with suppress(OSError):  # closed
        return os.path.samestat(path.stat(), os.fstat(number))
    return False


def plan_folder(folder: Path, force: bool) -> None:
    """``Refused`` unless files can be written to a folder, which is made where it is missing."""
    try:
        there = next(it for it in (folder, *folder.absolute().parents) if it.exists())
        if not there.is_dir():
            missing = "" if there == folder else f" and must be a folder to hold {folder}"
            raise Refused(f"{there} is a file{missing}; choose another --output")
        if not os.access(there, os.W_OK | os.X_OK):
            raise Refused(f"the folder {there} is not writable; choose another --output")
        if there == folder and any(folder.iterdir()) and not force:
            raise Refused(
                f"the folder {folder} has files, which are kept; use --force to write among them, "
                "or choose another --output"
            )
    except OSError as error:
        raise Refused(f"{folder} cannot be written ({error.strerror}); choose another") from None


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
                _take_name(temporary, path)
                undo.callback(path.unlink)
            os.replace(temporary, path)  # nothing, where it is the same file: the caller unlinks
        undo.pop_all()


def _take_name(temporary: Path, path: Path) -> None:
    """Give a finished file a second name, unless that is taken: a rename would not refuse it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(EEXIST, os.strerror(EEXIST), str(path)) from None
    except OSError:  # no hard links on this file system
        path.open("xb").close()


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
