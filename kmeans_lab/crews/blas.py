"""Keep BLAS to the calling thread while any fit needs that; restore its threads afterwards.

A signal handler may fit, or raise, between any two steps of what is done here, and another thread
may fork the process. So each fit is counted by the lifetime of an object of its own, which ends
however the fit ends, and setting or restoring the limit can be started again at any time.
"""

import os
import threading
import weakref
from functools import cache
from typing import Any

#: Seconds to wait for another thread, which needs microseconds: where it takes longer, a signal
#: handler interrupted it and may itself wait for this thread.
_PATIENCE = 1.0


@cache
def _pools() -> list[Any]:
    """Return what controls the thread pools of the BLAS libraries that are loaded: 1 ms, once."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


class _Turn:
    """The context of one fit; BLAS gets its threads back at the latest when it is destroyed."""

    def __init__(self, alone: "_Alone") -> None:
        self._alone = alone
        self.thread = threading.get_ident()

    def __enter__(self) -> None:
        try:
            self._alone.begin(self)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        fit = weakref.ref(self)
        try:
            self._alone.forget(fit)
        finally:  # no effect unless a signal handler raised in the line above
            self._alone.forget(fit)


class _Alone:
    """Keeps BLAS to one thread from the first fit that needs it to the end of the last."""

    def __init__(self) -> None:
        self.renew_lock()
        # Changed by single calls of C functions, which neither threads nor signals interrupt.
        self._fits: set[weakref.ref[_Turn]] = set()
        self._before: dict[str, list[int]] = {}  # "threads" of the libraries, until restored
        self._limited = False

    def __call__(self) -> _Turn:
        return _Turn(self)

    def begin(self, turn: _Turn) -> None:
        """Keep BLAS to one thread as long as the turn lasts."""
        _pools()  # before the lock: it may import
        self._fits.add(weakref.ref(turn, self.forget))
        self._settle()

    def forget(self, fit: "weakref.ref[_Turn]") -> None:
        """Give BLAS its threads back unless another fit needs the limit."""
        self._fits.discard(fit)
        self._settle()

    def renew(self) -> None:
        """Keep the fits of the only thread of a forked child; the old lock may stay held."""
        self.renew_lock()
        for fit in tuple(self._fits):
            turn = fit()
            if turn is None or turn.thread != threading.get_ident():
                self._fits.discard(fit)
        self._settle()

    def renew_lock(self) -> None:
        """Replace the lock by a free one; a signal handler may take it again in the same thread."""
        self._lock = threading.RLock()

    def _settle(self) -> None:
        lock = self._lock
        try:
            if not lock.acquire(timeout=_PATIENCE):
                self.renew_lock()  # so that no other thread waits as long
            while not self._settled():
                if self._fits:
                    self._limit()
                else:
                    self._restore()
        finally:
            try:  # noqa: SIM105 (suppress() is a call, and a signal handler may raise in any)
                lock.release()
            except RuntimeError:
                pass  # the wait was too long, or ended by an exception

    def _settled(self) -> bool:
        return self._limited if self._fits else not self._before

    def _limit(self) -> None:
        # A signal handler's fit may have limited BLAS since this line began: then the first counts.
        self._before.setdefault("threads", [pool.num_threads for pool in _pools()])
        for pool in _pools():
            _set_threads(pool, 1)
        self._limited = True

    def _restore(self) -> None:
        self._limited = False
        for pool, n_threads in zip(_pools(), self._before.get("threads", ()), strict=False):
            _set_threads(pool, n_threads)
        if self._fits:
            self._limited = False  # a fit has begun since, and may have found BLAS limited
        else:
            self._before.pop("threads", None)


def _set_threads(pool: Any, n_threads: int) -> None:
    """Set a library's number of threads.

    The public method obeys only the first thread that called it, as long as that lives, while the
    last of several fits may end in another one; and its lock is not safe in signal handlers.
    """
    getattr(pool, "_real_set_num_threads", pool.set_num_threads)(n_threads)


#: A context in which BLAS computes in the thread that calls it. Otherwise a fit with n_threads=1
#: would keep every core busy, one with two threads four; and threads that share a product may
#: round it differently.
one_blas_thread = _Alone()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=one_blas_thread.renew)
