"""Detection of other work on the machine during a measurement, and the sentence that reports it."""

import os
from collections.abc import Sequence
from statistics import mean

from kmeans_lab.formatting import plural

#: From which share of the time on a processor was waited for, or processors were taken by others.
WAITED, TAKEN = 0.1, 0.5


def running() -> int | None:
    """Return how many threads of the machine want a processor at this moment; None if unknown.

    The one that asks is among them.
    """
    try:
        with open("/proc/loadavg", encoding="ascii") as line:
            return int(line.read().split()[3].split("/")[0])
    except (OSError, ValueError, IndexError):
        return None  # not Linux


def load_sentence(waited: Sequence[float], others: Sequence[int]) -> str:
    """Say that the machine was loaded; nothing where it was not.

    Parameters
    ----------
    waited : sequence of float
        For several measurements: the share of its time in which it had no processor.
    others : sequence of int
        For several moments: how many threads of others wanted one.
    """
    share = max(waited, default=0.0)
    cores = os.cpu_count() or 1
    said = []
    if share >= WAITED:
        said.append(f"fits waited for a processor in {share:.0%} of their time")
    if others and mean(others) / cores >= TAKEN:
        said.append(
            f"{mean(others):.1f} threads of other programs wanted its {plural(cores, 'processor')}"
        )
    if not said:
        return ""
    return (
        f"the machine was busy with other work ({', and '.join(said)}): times are too long and "
        "small differences are not seen; run again when it is quiet"
    )
