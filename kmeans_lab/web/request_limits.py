"""Limits on what a request may ask for, and the sentences that explain them."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from kmeans_lab.crews.lock import lock_is_on
from kmeans_lab.formatting import memory_size
from kmeans_lab.registry import KERNELS
from kmeans_lab.web.worker_process import core_ids

#: A field of a request, and what is wrong with it.
Complaint = tuple[str, str]

#: Copies of X that a lane may need: its own, the judge's, the driver's and the kernel's.
_COPIES = 4


class Refusal(Exception):
    """A request that is understood and not done; ``status`` says why in HTTP."""

    def __init__(self, status: int, sentence: str, errors: list[Complaint] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.errors = status, sentence, errors


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server.

    Attributes
    ----------
    rows, values : int
        Of X.
    features, clusters, iterations, lanes : int
    pairs : int
        Rows × clusters × features × iterations: half a minute of one core for compiled loops.
    pairs_python, pairs_broadcast : int
        The same for kernels that need hundreds, and tens, of times as long.
    temporary : int
        Rows × clusters × features where all differences lie in memory at once.
    drawn : int
        Rows that are shown.
    seconds : float
        The most that a lane may take.
    fits : float
        Seconds of fits that a measured lane is given at least.
    races, bytes : int
        How many races are kept, and how many bytes of them.
    streams : int
        Pages that may listen at once.
    connections : int
        At once.
    body : int
        Bytes of a request.
    listening : float
        Seconds after which a listener gives way to another, if all places are taken.
    asking, reading : float
        Seconds for the head of a request, and again for its body; and for a client that does not
        read what waits for it.
    """

    rows: int = 1_000_000
    values: int = 20_000_000
    features: int = 1024
    clusters: int = 1024
    iterations: int = 300
    lanes: int = 4
    pairs: int = 100_000_000_000
    pairs_python: int = 300_000_000
    pairs_broadcast: int = 5_000_000_000
    temporary: int = 120_000_000
    drawn: int = 5000
    seconds: float = 300.0
    fits: float = 0.5
    races: int = 20
    bytes: int = 100_000_000
    streams: int = 48
    connections: int = 256
    body: int = 16_384
    listening: float = 60.0
    asking: float = 10.0
    reading: float = 30.0

    def to_dict(self) -> dict[str, float]:
        """Return them by name, with the threads that a lane may use."""
        return asdict(self) | {"threads": len(core_ids())}

    def of_the_data(self, n: int, d: int, k: int) -> Iterator[Complaint]:
        """Yield what is wrong with the sizes of a workload."""
        if k > n:
            yield (
                "workload.n_clusters",
                f"n_clusters={k} must be at most n_samples={n}; ask for fewer clusters",
            )
        for name, value, most in (
            ("n_samples", n, self.rows),
            ("n_features", d, self.features),
            ("n_clusters", k, self.clusters),
        ):
            if value > most:
                yield (
                    f"workload.{name}",
                    f"{name}={value} must be at most {most:,} on this server; use fewer, or run "
                    "kmeans_lab yourself",
                )
        if n * d > self.values:
            yield (
                "workload",
                f"{n:,} × {d:,} are {n * d:,} values and must be at most {self.values:,}; use "
                "fewer rows or features",
            )

    def of_the_memory(self, n_values: int, at_once: int) -> Iterator[Complaint]:
        """Yield what is wrong with the memory that so many lanes at once need."""
        free = _memory_available()
        needed = 8 * n_values * (1 + _COPIES * at_once)
        if free is not None and needed > 0.8 * free:
            yield (
                "workload",
                f"the race needs about {memory_size(needed)} and this machine has "
                f"{memory_size(free)} left; use fewer rows, or measure the lanes one by one",
            )

    def of_a_lane(
        self, name: str, threading: str, n_threads: int, nkd: int, max_iter: int
    ) -> Iterator[tuple[str, str]]:
        """Yield ("kernel" or "threads", what is wrong with it)."""
        cores = len(core_ids())
        if n_threads > cores:
            yield (
                "threads",
                f"threads={n_threads} must be at most {cores}, the cores of this machine; use "
                "fewer",
            )
        if n_threads > 1 and threading == "gil" and lock_is_on():
            yield (
                "threads",
                f"{name} holds Python's lock, so that threads={n_threads} would have no effect; "
                "use 1",
            )
        most, why = self.pairs, ""
        if threading == "gil":
            most, why = self.pairs_python, f" with {name}, which needs hundreds of times as long"
        elif name in KERNELS and KERNELS[name].broadcasts:
            most, why = self.pairs_broadcast, f" with {name}, which needs ten times as long"
            if nkd > self.temporary:
                yield (
                    "kernel",
                    f"{name} holds rows × clusters × features = {nkd:,} values at once and may "
                    f"hold {self.temporary:,}; use fewer, or another kernel",
                )
        if nkd * max_iter > most:
            yield (
                "kernel",
                f"rows × clusters × features × iterations = {nkd * max_iter:.3g} must be at most "
                f"{most:.3g}{why}; use fewer, or another kernel",
            )


def _memory_available() -> int | None:
    """Return the bytes available without swapping; None where that is not known."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None
