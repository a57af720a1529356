"""The code that runs in a child process: a loop that answers calls until its pipe closes.

The parent's end is ``kmeans_lab.isolation.children``.

A child loads only this file, which imports only the standard library: the package around it, and
NumPy, are imported with the first function that needs them.
"""

import os
import pickle
import signal
import struct
import sys
from typing import IO, Any

#: What begins every message: its length in bytes.
LENGTH = struct.Struct("<Q")
PIECE = 2**20  # bytes read at once

_answers: IO[bytes] | None = None  # where answers go


def _write(stream: IO[bytes], data: bytes) -> None:
    stream.write(LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes | bytearray | None:
    """Return the next message; None at the end of the pipe."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (left,) = LENGTH.unpack(head)
    data = bytearray()
    while left:
        piece = stream.read(min(left, PIECE))
        if not piece:
            return None
        data += piece
        left -= len(piece)
    return data


def end_with(parent: int) -> None:
    """Let the system end this process when the thread that started it ends (Linux).

    ``parent`` is the process that started it: where it is gone already, this one ends at once.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def say(item: Any) -> None:
    """Send an item to the parent during a call in this child."""
    assert _answers is not None  # a child is asked
    _write(_answers, _packed("item", item))


def serve(parent: int) -> None:
    """Answer calls until the pipe closes: the main function of a child."""
    global _answers
    end_with(parent)
    orders, _answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # The code that runs here must not use the pipes as its input and output.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # there is no stderr
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    while (data := _read(orders)) is not None:
        try:
            function, arguments = pickle.loads(data)
            message = _packed("answer", function(*arguments))
        except BaseException as error:
            message = _packed("raised", (_kinds(error), _said(error)))
        try:
            _write(_answers, message)
        except OSError:  # the parent has gone, or the code has closed the pipe
            os._exit(1)
    os._exit(0)  # without the code's exit handlers


def _packed(what: str, value: Any) -> bytes:
    return pickle.dumps((what, value), protocol=5)


def _kinds(error: BaseException) -> tuple[str, ...]:
    return tuple(kind.__name__ for kind in type(error).__mro__)


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # its own __str__ may fail
        return ""
