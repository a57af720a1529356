"""Does a fit let other Python threads run? ``python -m bench.gil``.

A thread that only counts is timed alone and beside a fit, in turns; what it keeps of its speed is
given as the median of the turns with its interval. Beside it, what the fit loses: between two
passes the driver needs the interpreter's lock back, and a thread that does nothing but compute in
Python hands it over every five milliseconds only (``sys.setswitchinterval``).
"""

import argparse
import sys
import threading
from statistics import median
from time import perf_counter

import numpy as np

from kmeans_lab import kmeans
from kmeans_lab.presets import PRESETS
from kmeans_lab.registry import KERNELS, find_spec, state_of

TURNS = 9


class Counter(threading.Thread):
    """Counts until it is told to stop; ``rate`` is counts per second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.stopped = False

    def run(self):
        """Count."""
        count, start = 0, perf_counter()
        while not self.stopped:
            count += 1
        self.rate = count / (perf_counter() - start)


def counted(task):
    """Run a task beside a counter; return the counter's rate and the task's seconds."""
    counter = Counter()
    counter.start()
    start = perf_counter()
    task()
    seconds = perf_counter() - start
    counter.stopped = True
    counter.join()
    return counter.rate, seconds


def measure(name, workload, seconds):
    """Return what the counter keeps, and how many times longer the fit takes, for each turn."""
    settings = workload.settings() | {"stop": "max-iter", "tol": None, "kernel": name}

    def fits(n_iter):
        options = settings | {"max_iter": n_iter}
        return lambda: kmeans(workload.X, len(workload.centers), **options)

    fits(2)()
    start = perf_counter()
    fits(4)()
    n_iter = max(4, round(4 * seconds / (perf_counter() - start)))
    idle = threading.Event()
    kept, longer = [], []
    for _ in range(TURNS):
        alone, _ = counted(lambda: idle.wait(seconds))
        start = perf_counter()
        fits(n_iter)()
        undisturbed = perf_counter() - start
        beside, disturbed = counted(fits(n_iter))
        kept.append(beside / alone)
        longer.append(disturbed / undisturbed)
    return kept, longer


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="wide-64-256")
    parser.add_argument("--seconds", type=float, default=0.4, help="of a fit, about")
    arguments = parser.parse_args()
    workload = PRESETS[arguments.preset].load()
    print(f"{arguments.preset}, one thread, switch interval {sys.getswitchinterval() * 1e3:g} ms")
    print(f"{'kernel':<16} counter keeps (low … high)   fit takes")
    for name in KERNELS:
        if state_of(name)[0] != "ready" or name == "numpy-broadcast":
            continue
        if find_spec(name).threading == "gil":
            continue  # it holds the lock by design
        kept, longer = (np.sort(values) for values in measure(name, workload, arguments.seconds))
        print(
            f"{name:<16} {median(kept):7.0%} ({kept[1]:.0%} … {kept[-2]:.0%})"
            f"{'':6} {median(longer):6.2f} ×",
            flush=True,
        )


if __name__ == "__main__":
    main()
