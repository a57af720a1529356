"""The cores that this process may use, and so the number of workers that make sense."""

import os
from functools import cache
from math import ceil, inf
from pathlib import Path

#: Threads or processes at most, on up to a quarter as many cores: results do not depend on the
#: number, so that a few too many are harmless, and thousands exhaust the system.
_MOST_WORKERS = 64


def available_cores() -> int:
    """Count the cores that this process may use: its affinity, and a container's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, ceil(min(cores, _quota("/sys/fs/cgroup"))))


@cache
def _quota(root: str) -> float:
    """Return the cores' worth of time that Linux's control groups grant; infinite without them."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # version 2, 1
        try:
            quota, period = " ".join(Path(root, file).read_text() for file in files).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return int(quota) / int(period)
    return inf


def refuse_too_many(shown: str, n_workers: int) -> None:
    """Raise ValueError for more workers than a machine of this size can be asked for."""
    if n_workers <= _MOST_WORKERS:  # as nearly always: to ask the system for its cores takes 10 µs
        return
    cores = available_cores()
    most = max(_MOST_WORKERS, 4 * cores)
    if n_workers > most:
        raise ValueError(
            f"{shown} must be at most {most}, since this process may use "
            f"{cores} core{'s' * (cores > 1)} and more workers only wait for each other; ask for "
            "fewer"
        )
