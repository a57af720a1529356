"""Check paths given on the command line: that they can be read, and have an allowed suffix."""

import json
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from kmeans_lab.io.errors import Refused


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


def known_suffix(path: Path, allowed: tuple[str, ...], remedy: str = "convert it") -> str:
    """Return the suffix of a path in small letters; ``Refused`` unless it is allowed."""
    suffix = "".join(path.suffixes[-2:]).lower()  # of two parts, like .mtx.gz
    if suffix not in allowed:
        suffix = path.suffix.lower()
    if suffix not in allowed:
        rule = f"must have {either(allowed)}"
        raise Refused(f"{path} has the suffix {path.suffix!r} and {rule}; {remedy}")
    return suffix


def either(names: tuple[str, ...]) -> str:
    """Return names as "a, b or c"."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def encoding_of(beginning: bytes) -> str:
    """Return the encoding of a text by its byte-order mark or its zero bytes, else UTF-8.

    The rule is that of JSON (RFC 4627), which holds for any text that begins with two ASCII
    characters. PowerShell's ``>`` and Excel's "Unicode Text" write UTF-16.
    """
    return json.detect_encoding(beginning)
