"""Processes that compute for the server: started fresh, listened to by a pipe, killed for good.

A worker is a session of its own, so that Ctrl-C in a terminal does not reach it, and killing it
takes whatever it started along. One that loses its server ends itself, however the server went.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

#: Fresh interpreters: a fork would copy the server's threads' locks, and import time is not timed.
_CONTEXT: Any = get_context("spawn")

#: What a worker runs: it is given its end of the pipe.
Task = Callable[..., None]


class Worker:
    """A process that runs ``task(connection, *arguments)``; a killed one stays killed."""

    def __init__(self, task: Task, *arguments: Any) -> None:
        self.connection: Connection
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(
            target=_begin, args=(task, theirs, arguments), daemon=True, name=task.__name__
        )
        self.process.start()
        theirs.close()  # so that its end is noticed here

    def kill(self) -> None:
        """End it and all that it started, whatever they do, and wait until it is gone."""
        pid = self.process.pid
        if self.process.is_alive():
            with suppress(ProcessLookupError, PermissionError):  # it may not lead a session yet
                os.killpg(pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        """Kill it and give back what it held here."""
        self.kill()
        self.connection.close()
        self.process.close()

    def how_it_ended(self) -> str:
        """Say how the process ended, once it did."""
        self.process.join()
        code = self.process.exitcode
        return f"ended by signal {-code}" if code < 0 else f"ended with exit status {code}"


def shared(n_bytes: int) -> Any:
    """Return memory that workers can be handed; it is gone when nobody uses it any more."""
    return _CONTEXT.RawArray(ctypes.c_byte, max(1, n_bytes))


def available_cores() -> list[int]:
    """Return the cores that this process may use, by number."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cores: list[int]) -> None:
    """Keep this process to these cores, where the system can do that."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def _begin(task: Task, connection: Connection, arguments: tuple[Any, ...]) -> None:
    if hasattr(os, "setsid"):
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    task(connection, *arguments)


def _end_with_the_server() -> None:
    server = parent_process()
    assert server is not None  # we were started by one
    wait([server.sentinel])
    if hasattr(os, "killpg"):
        os.killpg(os.getpgid(0), signal.SIGKILL)
    os._exit(1)
