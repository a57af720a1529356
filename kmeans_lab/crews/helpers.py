"""Threads that help with a pass, started so that none can be left behind.

``Thread.start`` may be interrupted when the thread already runs and nothing refers to it yet, so
that a lower-level function starts these. They sleep in a ``SimpleQueue``, whose ``put`` is a single
call that no signal can interrupt, and end with the object that they serve: the callback of its weak
reference is that ``put``, without a line of Python that an exception could interrupt.
"""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from _thread import start_new_thread
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from mmap import mmap
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from types import FrameType
from typing import Any

#: Seconds between two checks where a signal may arrive without waking a thread.
_LOOK = 0.1
#: Bytes that must be free for a thread: its stack, and what it allocates where C libraries end the
#: process when they get none, such as their own data of each thread.
_ROOM = 24 << 20
#: Seconds to wait for a thread that has not begun; it ends by itself when it does.
_LATE = 1.0


def refuse_without_room(size: int, what: str) -> None:
    """Raise ``MemoryError`` if ``size`` bytes cannot be mapped; takes some microseconds."""
    try:
        mmap(-1, size).close()
    except OSError:
        raise MemoryError(
            f"{what} needs {size >> 20} MiB, which the system refuses; close what takes memory, or "
            "raise its limit (ulimit -v)"
        ) from None


def warn_of_fewer(started: int, wanted: int) -> None:
    """Warn of helper threads that the system has not started, at the line that called the lab."""
    frame, level = sys._getframe(), 1
    while _is_ours(frame) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"the system has started {started} of {wanted} helper threads, so that fewer share the "
        "work; ask for fewer n_threads, or raise its limits on threads and memory (ulimit -u, "
        "ulimit -v)",
        RuntimeWarning,
        stacklevel=level,
    )


def _is_ours(frame: FrameType) -> bool:
    """Say whether a frame is the lab's, or of what lies between it and its caller."""
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    return package in ("kmeans_lab", "numpy", "sklearn")  # errstate, _fit_context


class Helpers(ABC):
    """Up to ``wanted`` threads that call ``help`` whenever they are woken.

    They end with ``owner``, to which they hold no reference, or when ``close`` is called.

    Parameters
    ----------
    owner : object
        What they serve.
    wanted : int
        How many; a RuntimeWarning says so if the system starts fewer.
    """

    def __init__(self, owner: Any, wanted: int) -> None:
        self.wanted, self.n = wanted, 0  # started
        self.ended = False
        self._process = os.getpid()
        self._calls: SimpleQueue[Any] = SimpleQueue()
        self._news: SimpleQueue[Any] = SimpleQueue()
        self._begun: list[weakref.ref[Any]] = []  # one object per thread, alive as long as it
        self._failed: list[BaseException] = []
        self._gone = weakref.ref(owner, self._calls.put)

    @abstractmethod
    def help(self, seen: int) -> int:
        """Do the available work; ``seen`` is what the last call in this thread returned, or 0."""

    def call(self) -> None:
        """Wake all sleeping threads; the first time, start them."""
        if self.n < self.wanted:
            self._start()
        for _ in range(self.n - self._calls.qsize()):
            self._calls.put(None)

    def _start(self) -> None:
        wanted = self.wanted
        try:
            while self.n < wanted:
                refuse_without_room(_ROOM, "a thread")
                start_new_thread(self._serve, ())
                self.n += 1
        except (RuntimeError, MemoryError):
            self.wanted = self.n
            warn_of_fewer(self.n, wanted)

    def _serve(self) -> None:
        alive: set[None] = set()
        self._begun.append(weakref.ref(alive, self._news.put))
        seen = 0
        try:
            while not self.ended and self._calls.get() is None:
                try:
                    seen = self.help(seen)
                except BaseException as error:
                    self._failed.append(error)
                if self._news.qsize() == 0:
                    self._news.put(None)
            self._calls.put(self._gone)  # for the next thread to read
        finally:
            del alive  # now: the traceback of an error holds this frame

    @property
    def _there(self) -> bool:
        return any(ref() is not None for ref in self._begun)

    def wait(self) -> bool:
        """Wait a moment for one to return; say whether any is at work."""
        with suppress(Empty):
            self._news.get(timeout=_LOOK if self._there or self.n == 0 else _LATE)
        self.check()
        return self._there

    def check(self) -> None:
        """Raise what one of the threads has raised."""
        if self._failed:
            raise self._failed.pop()

    def wait_for(self, done: Callable[[], bool]) -> None:
        """Wait until ``done()``, which itself waits a little; raise what a thread has raised."""
        while not done():
            self.check()
            sleep(0)  # a helper's processor is doing something else
        self.check()

    def close(self) -> None:
        """End the threads and wait for them; a forked child has none."""
        if self._process != os.getpid():
            return
        self.ended = True
        self._calls.put(self._gone)
        late = monotonic() + _LATE
        while self._there or (len(self._begun) < self.n and monotonic() < late):
            with suppress(Empty):
                self._news.get(timeout=_LOOK)


class _Beside(Helpers):
    def __init__(self, owner: Any, wanted: int, task: Callable[[], object]) -> None:
        super().__init__(owner, wanted)
        self._task = task

    def help(self, seen: int) -> int:
        self._task()
        return seen


def run_beside(
    owner: Any,
    n_threads: int,
    task: Callable[[], object],
    done: Callable[[], bool],
    stop: Callable[[], object],
) -> None:
    """Leave a task to other threads, so that this one, where Python handles Ctrl-C, stays free.

    ``task`` is called in each of them until ``done()``; when ``stop()`` returns, none is running
    it.
    """
    helpers = _Beside(owner, n_threads, task)
    try:
        helpers.call()
        while not done():
            if not helpers.wait():
                task()
    except BaseException:
        stop()
        raise
    finally:
        helpers.close()


def undisturbed(task: Callable[[], object]) -> None:
    """Run a task to its end where no signal handler can raise: in another thread.

    What a handler raises meanwhile, in the main thread, is raised before the task has begun or
    when it has ended. Where the system starts no thread, this one does it.
    """
    begin: SimpleQueue[None] = SimpleQueue()
    ended: SimpleQueue[None] = SimpleQueue()
    failed: list[BaseException] = []
    begin.put(None)

    def run() -> None:
        try:
            begin.get_nowait()
        except Empty:  # no caller waits for it
            return
        try:
            task()
        except BaseException as error:
            failed.append(error)
        ended.put(None)
        ended.put(None)  # twice: an exception may lose the first

    try:
        start_new_thread(run, ())
        ended.get()
    except BaseException as error:
        try:
            begin.get_nowait()
        except Empty:
            ended.get()
            raise error from None  # without Empty as its cause
        if "new thread" not in str(error):
            raise
        task()
    if failed:
        raise failed.pop()
