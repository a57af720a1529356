"""The kernel that ``kernel="auto"`` means for a fit, where this machine has been calibrated.

``kmeans-lab map FILE --calibrate`` writes, for each cell of a map, which of the tuned kernels is
the fastest. Their results have the same bits, so that a calibration changes seconds and nothing
else. The first fit of a process reads it; without one, nothing is read and nothing changes.

A file is used on the machine, with the instruction set and by the version that it was made for;
otherwise it is ignored, with one warning. ``KMEANS_LAB_AUTO`` names another file, or is "off".
"""

from __future__ import annotations  # NumPy is not imported for a name

import os
import sys
import warnings
from functools import cache, lru_cache
from math import inf, log
from pathlib import Path
from typing import Any

from kmeans_lab.isolation.hardware import hardware
from kmeans_lab.registry import ALIKE, FLAGSHIP, load_kernel

VARIABLE, OFF = "KMEANS_LAB_AUTO", "off"
FORMAT, VERSION = "kmeans-lab auto", 1
#: A cell decides for shapes that differ from it by at most this factor along each axis.
REACH = 4.0
_MOST_BYTES = 1 << 20

#: X, n_clusters, n_threads, mode, metric and sample_weight of ``kmeans``, unchecked.
Fit = tuple[Any, Any, Any, Any, Any, Any] | None


def name_for(fit: Fit) -> str | None:
    """Return the kernel that a calibration chooses; None where it does not say.

    A map has fits of arrays without weights, by distance, in the threads of the kernel.
    """
    if fit is None or (table := _table()) is None:
        return None
    X, k, threads, mode, metric, weights = fit
    if mode not in (None, "serial") or metric != "euclidean" or weights is not None:
        return None
    sizes = (*getattr(X, "shape", ()), k, 1 if threads is None else threads)
    if len(sizes) != 4 or not all(hasattr(it, "__index__") for it in sizes):
        return None
    dtype = "float32" if str(getattr(X, "dtype", "")) == "float32" else "float64"
    return _nearest(table, dtype, *(int(it) for it in sizes))


#: (dtype, threads) to the logarithms of n, d and k of each cell, and its kernel.
Table = dict[tuple[str, int], list[tuple[float, float, float, str]]]


class _Hashed(Table):
    """A table that a cache can tell from another."""

    __hash__ = object.__hash__  # type: ignore[assignment]


@lru_cache(maxsize=256)
def _nearest(table: _Hashed, dtype: str, n: int, d: int, k: int, threads: int) -> str | None:
    if min(n, d, k) < 1:
        return None  # which is refused later
    x, y, z = log(n), log(d), log(k)
    best, name = inf, None
    for a, b, c, kernel in table.get((dtype, threads), ()):
        apart = abs(a - x), abs(b - y), abs(c - z)
        if max(apart) <= log(REACH) and sum(apart) < best:
            best, name = sum(apart), kernel
    return name


@cache
def _table() -> _Hashed | None:
    """Read the calibration of this machine, once; None without one, and for one that is wrong."""
    if (path := file_here()) is None:
        return None
    try:
        return read(path)
    except FileNotFoundError:
        if os.environ.get(VARIABLE):
            _ignore(path, "there is no such file")
        return None
    except (OSError, ValueError) as error:
        _ignore(path, " ".join(str(error).split()) or type(error).__name__)
        return None


def _ignore(path: Path, why: str) -> None:
    warnings.warn(
        f"{path}, which says what kernel='auto' is, is ignored: {why}; kmeans-lab map MAP.json "
        f"--calibrate writes a new one, {VARIABLE}={OFF} asks for none",
        RuntimeWarning,
        stacklevel=7,
    )


def forget_read() -> None:
    """Let the next fit read the calibration again."""
    _table.cache_clear()


def file_here() -> Path | None:
    """Return where the calibration of this machine lies, or would lie; None where it is off.

    The name has a digest of processor and instruction set: machines may share a home folder.
    """
    named = os.environ.get(VARIABLE, "")
    if named:
        return None if is_off() else Path(named)
    folder = folder_here()
    if folder is None or not folder.is_dir():  # as nearly everywhere: nothing else is looked at
        return None
    return folder / file_name()


def is_off() -> bool:
    """Whether the environment asks for no calibration."""
    return os.environ.get(VARIABLE, "") == OFF


def folder_here() -> Path | None:
    """Return the folder of calibrations of this user; None without a home."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # as the specification of these folders demands
        base = os.path.expanduser("~/.config")
    return Path(base, "kmeans-lab") if os.path.isabs(base) else None


def file_name() -> str:
    """Return the name of this machine's calibration."""
    from hashlib import sha256

    digest = sha256(repr(sorted(identity().items())).encode()).hexdigest()
    return f"auto-{digest[:12]}.json"


def version_here() -> str:
    """Return the version of the package, which imports this module before it is complete."""
    return str(sys.modules["kmeans_lab"].__version__)


def identity() -> dict[str, Any]:
    """Return what a calibration has to agree with: machine and instruction set."""
    here = hardware()
    try:
        isa = str(load_kernel(FLAGSHIP).isa())  # type: ignore[attr-defined]
    except Exception:  # it cannot run here, whatever the reason
        isa = "none"
    return {"cpu": here["cpu"], "cores": here["cores"], "system": here["system"], "isa": isa}


def read(path: Path) -> _Hashed:
    """Return a calibration; ``ValueError`` where it is damaged, or made for something else."""
    import json

    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError("it is too large for a calibration")
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is damaged: it is not JSON") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError("it is no calibration of kmeans-lab")
    if data.get("version") != VERSION or data.get("kmeans_lab") != version_here():
        made_by = data.get("kmeans_lab")
        raise ValueError(f"it was made by kmeans_lab {made_by}, and this is {version_here()}")
    if data.get("machine") != identity():
        raise ValueError("it was made on another machine, or with another instruction set")
    try:
        return _table_of(data["choices"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError("it is damaged: a choice is not as it was written") from None


def _table_of(choices: Any) -> _Hashed:
    found = _Hashed()
    for it in choices:
        sizes = [it[axis] for axis in ("n", "d", "k", "threads")]
        if not all(type(size) is int and size >= 1 for size in sizes):
            raise ValueError(f"{sizes} are no sizes")
        if it["kernel"] not in ALIKE or it["dtype"] not in ("float64", "float32"):
            raise ValueError(f"{it['kernel']} has results with other bits")
        n, d, k = map(log, sizes[:3])
        found.setdefault((it["dtype"], sizes[3]), []).append((n, d, k, it["kernel"]))
    return found
