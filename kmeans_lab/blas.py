"""BLAS in the thread that calls it, for as long as any fit wants that; then as it was before."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def _pools() -> Any:
    """Return what controls the thread pools of the libraries that are loaded; found once: 1 ms."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Alone:
    """Keeps BLAS to one thread from the first fit that wants it to the end of the last."""

    def __init__(self) -> None:
        self.renew()
        self._fits = 0
        self._limit: Any = None

    def renew(self) -> None:
        """Take a lock of our own: in a forked child, nobody is left to open the parent's."""
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._fits == 0:
                self._limit = _pools().limit(limits=1, user_api="blas")
            self._fits += 1
        try:
            yield
        finally:
            with self._lock:
                self._fits -= 1
                if self._fits == 0:
                    _release_pools()
                    self._limit.restore_original_limits()
                    _release_pools()


def _release_pools() -> None:
    """Let any thread set the limit next.

    threadpoolctl obeys the thread alone that set OpenBLAS's limit first, until that is over; and
    the last of several fits may end in another thread than the first began in.
    """
    for pool in _pools().lib_controllers:
        release = getattr(pool, "clear_controlling_thread", None)  # new in threadpoolctl 3.8
        if release is not None:
            release(force=True)


#: A context in which BLAS computes in the thread that calls it. Otherwise a fit with n_threads=1
#: would keep every core busy, one with two threads four; and threads that share a product may
#: round it differently.
one_blas_thread = _Alone()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=one_blas_thread.renew)
