"""Whether a file is still the one that was opened."""

from __future__ import annotations

from pathlib import Path

from kmeans_lab.io.errors import Refused
from kmeans_lab.io.paths import refuse_unreadable


class FileState:
    """Size and time of change of a file, as it was opened.

    Raises
    ------
    Refused
        There is no such file, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        refuse_unreadable(path)
        self._path, self._state = path, self._found(path)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._state[0]

    def check(self) -> None:
        """Raise ``Refused`` where the file is not the one that was opened."""
        if self._found(self._path) != self._state:
            raise Refused(
                f"{self._path} has changed since the fit began, and all passes must read the same "
                "rows; fit again when nobody writes to it"
            )

    @staticmethod
    def _found(path: Path) -> tuple[int, int]:
        try:
            found = path.stat()
        except OSError as error:
            why = f"{path} is gone ({error.strerror})"
            raise Refused(f"{why} and must stay where it is; fit again") from None
        return found.st_size, found.st_mtime_ns
