"""How much a fit slows other Python threads down: ``python -m bench.gil``.

A thread that only counts is timed beside a fit in the same process, and beside the same fit in
another process, in turns. The second tells what the machine has to give when two things compute;
what the first keeps of that is what the interpreter's lock leaves, as the median of the turns with
their range. Beside it, how much longer the fit takes for sharing the lock: between two passes the
driver needs it back, and a thread that does nothing but compute in Python hands it over every five
milliseconds only (``sys.setswitchinterval``).

In an interpreter without the lock both should be 1, and kernels in Python take part. To compare
kernels in two interpreters, see ``kmeans-lab bench --python``.
"""

import argparse
import multiprocessing
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter

from kmeans_lab import kmeans
from kmeans_lab.crews.lock import lock_is_on, threads_help
from kmeans_lab.formatting import digits
from kmeans_lab.io.streams import spell_out
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.measure import machine
from kmeans_lab.presets import PRESETS
from kmeans_lab.registry import KERNELS, find_spec

TURNS = 7


class Counter(threading.Thread):
    """Counts until it is told to stop; ``rate`` is counts per second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopped, self.rate = False, 0.0

    def run(self) -> None:
        """Count."""
        count, start = 0, perf_counter()
        while not self.stopped:
            count += 1
        self.rate = count / (perf_counter() - start)


def counted(task: Callable[[], float]) -> tuple[float, float]:
    """Run a task beside a counter; return the counter's rate and the task's own seconds."""
    counter = Counter()
    counter.start()
    seconds = task()
    counter.stopped = True
    counter.join()
    return counter.rate, seconds


class Fits:
    """Fits of so many iterations with one kernel."""

    def __init__(self, name: str, preset: str, seconds: float) -> None:
        workload = PRESETS[preset].load()
        self.X, self.n_clusters = workload.X, len(workload.centers)
        self.kernel = name
        self.settings = workload.settings() | {"stop": "max-iter", "tol": None}
        self.n_iter = 2
        self()
        self.n_iter = max(2, round(2 * seconds / self()))

    def __call__(self) -> float:
        """Return the seconds that a fit takes."""
        settings = self.settings | {"max_iter": self.n_iter}
        start = perf_counter()
        kmeans(self.X, self.n_clusters, kernel=self.kernel, **settings)
        return perf_counter() - start


def serve(pipe: Connection, name: str, preset: str, seconds: float) -> None:
    """Fit in another process whenever it is asked to."""
    fits = Fits(name, preset, seconds)
    pipe.send(fits.n_iter)
    while pipe.recv():
        pipe.send(fits())


def measure(name: str, preset: str, seconds: float) -> tuple[list[float], list[float]]:
    """Return what the counter keeps, and how many times longer the fit takes, for each turn."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=serve, args=(there, name, preset, seconds), daemon=True)
    process.start()
    there.close()
    fits = Fits(name, preset, seconds)
    fits.n_iter = here.recv()

    def elsewhere() -> float:
        here.send(True)
        return float(here.recv())

    kept, longer = [], []
    for turn in range(TURNS):
        tasks: tuple[Callable[[], float], ...] = (
            (fits, elsewhere) if turn % 2 else (elsewhere, fits)
        )
        found = {task: counted(task) for task in tasks}
        kept.append(found[fits][0] / found[elsewhere][0])
        longer.append(found[fits][1] / found[elsewhere][1])
    here.send(False)
    process.join()
    return sorted(kept), sorted(longer)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="wide-64-256")
    parser.add_argument("--seconds", type=float, default=0.3, help="of a fit, about")
    arguments = parser.parse_args()
    interval = f"switch interval {sys.getswitchinterval() * 1e3:g} ms"
    lock = interval if lock_is_on() else "no lock"
    print(f"{arguments.preset}, one thread, {lock}")
    print(f"{'kernel':<14}{'counter keeps':>24}{'fit takes':>28}")
    for name in KERNELS:
        if state_of(name)[0] != "ready" or find_spec(name).broadcasts:
            continue
        if not threads_help(find_spec(name)):
            continue  # it holds the lock by design
        kept, longer = measure(name, arguments.preset, arguments.seconds)
        print(
            f"{name:<14}{median(kept):10.0%} ({kept[0]:.0%} … {kept[-1]:.0%})"
            f"{digits(median(longer)):>14} × ({digits(longer[0])} … {digits(longer[-1])})",
            flush=True,
        )
    print(*machine.lines(), sep="\n")


if __name__ == "__main__":
    spell_out()
    main()
