"""Processes that compute for the server: fresh interpreters, each with a pipe to the server.

A worker is a session of its own, so that Ctrl-C in a terminal does not reach it, and killing it
takes whatever it started along. A kernel may hold the interpreter's lock for ever, so that a worker
cannot be relied on to notice that its server is gone: Linux kills it then, and on every POSIX
system a small process that imports nothing kills its group, however the server ended.
"""

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from kmeans_lab.isolation.child_side import end_with
from kmeans_lab.isolation.children import read

#: Fresh interpreters: a fork would copy the server's threads' locks, and import time is not timed.
_CONTEXT: Any = get_context("spawn")

#: Seconds and bytes that one message may take.
_PATIENCE, _MOST = 10.0, 2**26

#: What a worker runs: it is given its end of the pipe.
Task = Callable[..., None]


class Silenced(Exception):
    """No more messages will come from a worker; the text says what its process did."""


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

        _tell_the_guard("+", self.process.pid)

    def kill(self) -> None:
        """Kill the process and all that it started, and wait until it is gone."""
        pid = self.process.pid
        if self.process.is_alive():
            with suppress(ProcessLookupError, PermissionError):  # it may not lead a session yet
                os.killpg(pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def close(self) -> None:
        """Kill the process and release its resources here."""
        self.kill()
        _tell_the_guard("-", self.process.pid)
        self.connection.close()
        self.process.close()

    def hear(self) -> Any:
        """Wait for a message and return it: plain data and arrays, never code.

        Raises
        ------
        Silenced
            The process has ended, or it sent something else: code in it may write to the pipe, too.
        """
        # A message that is begun and never ended would keep us waiting for ever.
        timer = threading.Timer(_PATIENCE, self.process.kill)
        timer.start()
        try:
            return read(self.connection.recv_bytes(_MOST))
        except (EOFError, OSError):
            timer.cancel()  # or the next line might wait for it, and tell of our own signal
            raise Silenced(self._how_it_ended()) from None
        except Exception:
            raise Silenced("sent an invalid answer") from None
        finally:
            timer.cancel()

    def _how_it_ended(self) -> str:
        self.process.join(1.0)
        if self.process.exitcode is None:
            return "closed its pipe"
        code = self.process.exitcode
        return f"ended by signal {-code}" if code < 0 else f"ended with exit status {code}"


def shared(n_bytes: int) -> Any:
    """Return memory that workers can share; it is freed with its last reference."""
    return _CONTEXT.RawArray(ctypes.c_byte, max(1, n_bytes))


def core_ids() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cores: list[int]) -> None:
    """Keep this process to these cores, where the system can do that."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


#: Reads "+group" and "-group" until the server is gone, then kills the groups that are left.
_GUARD = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass  # it ended with the server
"""
_guarding = threading.Lock()


@cache
def _guard() -> Any:
    """Start the process that ends workers whose server is gone; it ends with this one."""
    command = (sys.executable, "-I", "-S", "-c", _GUARD)
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, process_group=0)
    atexit.register(guard.communicate)
    return guard.stdin


def _tell_the_guard(sign: str, group: int) -> None:
    if os.name != "posix":
        return
    with _guarding, suppress(OSError):  # without it, Linux still ends them
        _guard().write(f"{sign}{group}\n")
        _guard().flush()


def _begin(task: Task, connection: Connection, arguments: tuple[Any, ...]) -> None:
    server = parent_process()
    assert server is not None  # we were started by one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        os.setsid()
        end_with(server.pid or 0)
    else:
        threading.Thread(target=_end_with, args=(server.sentinel,), daemon=True).start()
    task(connection, *arguments)


def _end_with(sentinel: int) -> None:
    """End when the server does; a kernel that holds the interpreter's lock can delay that."""
    wait([sentinel])
    os._exit(1)
