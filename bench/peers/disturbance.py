"""Measurement of processor time taken by programs that are not part of the comparison."""

import os
from collections.abc import Iterable
from pathlib import Path
from time import monotonic


def machine_seconds() -> float:
    """Return the processor seconds that everything on this machine has used (Linux)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]  # idle, and waiting for a disk
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float:
    """Return the processor seconds of all threads of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Disturbance:
    """Watches from its creation to ``cores``; None where the system does not tell."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = [os.getpid(), *pids]
        self._start = monotonic()
        self._before = self._others()

    def cores(self) -> float | None:
        """Return how many cores other programs kept busy meanwhile."""
        after = self._others()
        if after is None or self._before is None:
            return None
        return max(0.0, (after - self._before) / (monotonic() - self._start))

    def _others(self) -> float | None:
        try:
            own = sum(process_seconds(pid) for pid in self._pids)
            return machine_seconds() - own
        except (OSError, IndexError, ValueError):
            return None  # not Linux, or a process has ended
