"""Mode "threads": the chunks are cut into shares, and each free thread takes the next one."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from kmeans_lab.crews.helpers import Helpers
from kmeans_lab.crews.serial import SerialCrew
from kmeans_lab.kernel import Array


class _Shares(Helpers):
    """The shares of a pass, and the threads that do them."""

    def __init__(self, crew: Any, wanted: int) -> None:
        super().__init__(crew, wanted)
        self.waiting: deque[Callable[[], object]] = deque()
        self.done: SimpleQueue[None] = SimpleQueue()

    def take(self) -> bool:
        """Do the next share; say whether there was one."""
        try:
            share = self.waiting.popleft()
        except IndexError:
            return False
        share()
        return True

    def help(self, seen: int) -> int:
        """Do shares until none is left."""
        while self.take():
            self.done.put(None)
        return seen


class ThreadCrew(SerialCrew):
    """Kernels that release the GIL run side by side; each thread does a share of the chunks.

    Where the interpreter has no such lock (see ``lock``), so do all others.
    """

    def _start(self) -> None:
        super()._start()
        self._shares = _Shares(self, self.n_workers - 1)

    def _run(self, order: str, centers: Array) -> None:
        shares = self._shares
        others = self.n_workers  # shares that other threads do
        try:
            shares.waiting.extend(partial(getattr(part, order), centers) for part in self._parts)
            shares.call()
            while shares.take():
                others -= 1
            while others > 0:
                with suppress(Empty):
                    shares.done.get(timeout=0.1)  # Python checks for signals in between
                    others -= 1
                shares.check()
            shares.check()
        except BaseException:  # Ctrl-C comes to this thread alone
            shares.waiting.clear()
            for part in self._parts:
                part.stopped = True
            raise

    def close(self, *, kill: bool = False) -> None:
        """End the threads."""
        self._shares.close()
        super().close(kill=kill)
