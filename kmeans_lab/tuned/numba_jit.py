# mypy: disable-error-code="no-untyped-call"
"""Compile Numba's kernels: the GIL is released, and the code is cached on disk where possible."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

from kmeans_lab.crews.helpers import refuse_without_room
from kmeans_lab.registry import KERNELS, KernelUnavailable

F = TypeVar("F", bound=Callable[..., Any])
_config: Any = numba.config
#: Bytes that must be free where code is loaded or compiled: LLVM ends the process without memory.
_ROOM = 16 << 20
_said = False  # in this process


def jit(**options: Any) -> Callable[[F], F]:
    """Return ``numba.njit(nogil=True, …)`` with a cache on disk whose failures cost time alone.

    Raises
    ------
    KernelUnavailable
        Numba is told to leave functions as they are: interpreted Python would pass for its code.
    """

    def decorate(function: F) -> F:
        _refuse_to_interpret(function.__module__)
        dispatcher: Any = numba.njit(nogil=True, **options)(function)
        try:
            dispatcher._cache = _Cache(function)
        except RuntimeError:  # what Numba calls "no locator available"
            dispatcher._cache = _NoCache()
        return cast("F", dispatcher)

    return decorate


def _refuse_to_interpret(module: str) -> None:
    if not _config.DISABLE_JIT:
        return
    # The files of a kernel are named after its module: numba.py, numba_loops.py.
    kernel = next((it for it, spec in KERNELS.items() if module.startswith(spec.module)), module)
    setting = os.environ.get("NUMBA_DISABLE_JIT", "")
    told, remedy = (
        (f"NUMBA_DISABLE_JIT={setting} tells", "unset the variable")
        if setting.strip("0")
        else ("numba.config.DISABLE_JIT or disable_jit in .numba_config.yaml tells", "set it to 0")
    )
    raise KernelUnavailable(
        f"kernel {kernel!r} is not available: {told} Numba to compile nothing; {remedy}"
    )


class _Cache(FunctionCache):
    """Numba's cache, for which a damaged file or a full disk causes a warning, not an error.

    Compiled code holds that of the functions that it calls. Numba notices a change of the file of
    the function alone; this cache, of any file of the kernel.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file: Any = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=(
                self._impl.locator.get_source_stamp(),
                _digest(Path(function.__code__.co_filename).parent),
            ),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the code compiled earlier; None where there is none, or it cannot be read."""
        refuse_without_room(_ROOM, "Numba's compiled code")
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # anything may come out of a damaged pickle
            with suppress(OSError):
                self.flush()
            _say_once("read", _text(error), f"remove {self.cache_path}, or ")
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save compiled code, where possible."""
        try:
            super().save_overload(sig, data)
        except Exception as error:
            _say_once("keep", _text(error))


class _NoCache(NullCache):
    """Takes the place of the cache where there is no folder for it."""

    def load_overload(self, sig: Any, target_context: Any) -> None:
        """Return nothing: it will be compiled."""
        refuse_without_room(_ROOM, "Numba's compiled code")

    def save_overload(self, sig: Any, cres: Any) -> None:
        """Warn that the compiled code is not saved: the next process compiles again."""
        _say_once(
            "keep", "neither the folder of kmeans_lab nor the home directory can be written to"
        )


@cache
def _digest(folder: Path) -> str:
    """Return a digest of the sources of kernels in a folder; in a zip file, of nothing."""
    digest = sha256()
    for path in sorted(folder.glob("*numba*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _say_once(what: str, why: str, also: str = "") -> None:
    global _said
    if _said:
        return
    _said = True
    # Without a line of code in the text, which would be this one.
    warnings.warn_explicit(
        f"Numba cannot {what} compiled code ({why}), so that its kernels are compiled anew; "
        f"{also}set NUMBA_CACHE_DIR to a folder that can be written to",
        RuntimeWarning,
        __file__,
        0,
    )
