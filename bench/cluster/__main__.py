"""What a pass over a cluster costs beside its arithmetic: ``python -m bench.cluster``.

Passes of ``kmeans_lab.dask`` whose tasks compute nothing: centers go out, whole numbers of the
right size come back and are added up eight at a time. Seconds are fitted as a + b · tasks +
c · bytes on small simulated clusters, whose workers share one process, and checked against real
ones, with a process for each worker; then as many workers are simulated as asked for. Printed are
the minimum of the passes, since load from elsewhere only adds to it, and the processor seconds of
client and scheduler, which share a process: workers on machines of their own do not add to these.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from statistics import median
from time import perf_counter, process_time
from typing import Any, NamedTuple

from bench.cluster.model import Costs, Job, bytes_sent, bytes_through_scheduler, fit
from kmeans_lab.formatting import digits, milliseconds
from kmeans_lab.io.streams import spell_out
from kmeans_lab.measure import machine

FITTED = (2, 4, 8, 16)  # simulated workers
TASKS = (1, 4)  # steps of each worker
SIZES = ((100, 16), (1000, 64))  # clusters and features
CLOSE = 0.3  # of a prediction that holds


class Spent(NamedTuple):
    """What a pass took, in seconds."""

    job: Job
    wall: float
    own: float  # processor seconds of client and scheduler


class Model(NamedTuple):
    """What a way of sending costs: fitted to seconds, and to processor seconds."""

    wall: Costs
    own: Costs


def job_of(n_workers: int, tasks: int, size: tuple[int, int], scattered: bool) -> Job:
    """Return a job of no rows."""
    n_clusters, n_features = size
    return Job(0, n_features, n_clusters, n_workers, tasks, tasks, scattered)


def measured(client: Any, jobs: Sequence[tuple[Any, Job]], n_passes: int) -> dict[Any, list[Spent]]:
    """Measure jobs in turns, a pass of each at a time, after a pass that is not counted."""
    from bench.cluster.passes import Passes

    runs = [(way, job, Passes(client, job, way)) for way, job in jobs]
    spent: list[list[tuple[float, float]]] = [[] for _ in runs]
    for _ in range(n_passes + 1):
        for (_, _, run), times in zip(runs, spent, strict=True):
            start, before = perf_counter(), process_time()
            run()
            times.append((perf_counter() - start, process_time() - before))
    found: dict[Any, list[Spent]] = {}
    for (way, job, _), times in zip(runs, spent, strict=True):
        wall, own = zip(*times[1:], strict=True)
        found.setdefault(way, []).append(Spent(job, min(wall), median(own)))
    return found


def small(
    cluster: Any, workers: Sequence[int], ways: Sequence[Any], n_passes: int
) -> dict[Any, list[Spent]]:
    """Measure every number of tasks and size of centers on clusters of so many workers."""
    found: dict[Any, list[Spent]] = {way: [] for way in ways}
    for n_workers in workers:
        kinds = product(ways, TASKS, SIZES)
        jobs = [(way, job_of(n_workers, n, size, way.scattered)) for way, n, size in kinds]
        with cluster(n_workers) as running:
            for way, spent in measured(running.client, jobs, n_passes).items():
                found[way] += spent
    return found


def fitted(spent: Sequence[Spent]) -> Model:
    """Fit the costs of one way of sending."""
    tasks = [it.job.tasks for it in spent]
    wall = fit(tasks, [bytes_sent(it.job) for it in spent], [it.wall for it in spent])
    own = fit(tasks, [bytes_through_scheduler(it.job) for it in spent], [it.own for it in spent])
    return Model(wall, own)


def predicted(model: Model, job: Job) -> tuple[float, float]:
    """Return seconds and processor seconds of client and scheduler."""
    return (
        model.wall.seconds(job.tasks, bytes_sent(job)),
        model.own.seconds(job.tasks, bytes_through_scheduler(job)),
    )


def costs(model: Model) -> str:
    """Return the coefficients as a line."""
    return "; ".join(
        f"{what} {milliseconds(it.fixed)} ms + {milliseconds(it.per_task)} ms · tasks + "
        f"{digits(it.per_byte * 1e9)} ms · MB"
        for what, it in (("wall", model.wall), ("client and scheduler", model.own))
    )


def report(spent: Spent, model: Model) -> list[float]:
    """Print a pass beside its prediction; return by how much each of the two is off."""
    job, expected = spent.job, predicted(model, spent.job)
    off = [p / found - 1 for p, found in zip(expected, (spent.wall, spent.own), strict=True)]
    print(
        f"{job.n_workers:>7}{job.steps:>7}{job.tasks:>7}{bytes_sent(job) / 1e6:>9.2f}"
        f"{milliseconds(spent.wall):>10}{milliseconds(expected[0]):>10}{off[0]:>+7.0%}"
        f"{milliseconds(spent.own):>10}{milliseconds(expected[1]):>10}{off[1]:>+7.0%}",
        flush=True,
    )
    return off


HEADER = (
    f"{'workers':>7}{'steps':>7}{'tasks':>7}{'MB':>9}{'wall, ms':>10}{'predicted':>10}{'off':>7}"
    f"{'own, ms':>10}{'predicted':>10}{'off':>7}"
)


def counts(text: str) -> list[int]:
    """Return the numbers in "2,4,8"; none in ""."""
    try:
        found = [int(part) for part in text.split(",") if part]
    except ValueError:
        found = [0]
    if any(n < 1 for n in found):
        raise argparse.ArgumentTypeError(f"{text!r} must be numbers of workers, such as 2,4,8")
    return found


def arguments_of(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.cluster", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument("--workers", type=counts, default="2,4,8", help="real ones, to check")
    parser.add_argument("--simulate", type=counts, default="", help="workers in few processes")
    parser.add_argument("--passes", type=int, default=15, help="of each kind (default: 15)")
    parser.add_argument("--scatter", action="store_true", help="simulate scattered centers, too")
    parser.add_argument("--processes", type=int, default=1, help="of simulated workers")
    return parser.parse_args(argv)


def check(models: dict[Any, Model], workers: Sequence[int], n_passes: int, cluster: Any) -> None:
    """Measure real workers beside what was predicted for them."""
    found = small(cluster, workers, list(models), n_passes)
    for way, spent in found.items():
        print(f"\n{way}; real workers\n{HEADER}")
        off = [report(it, models[way]) for it in spent]
        for what, errors in zip(
            ("wall", "client and scheduler"), zip(*off, strict=True), strict=True
        ):
            close = sum(abs(error) <= CLOSE for error in errors)
            print(
                f"{what}: {close} of {len(errors)} within {CLOSE:.0%}, "
                f"median {median(map(abs, errors)):.0%} off"
            )


def simulate(models: dict[Any, Model], n_workers: int, n_passes: int, cluster: Any) -> None:
    """Measure many simulated workers with one step each."""
    start = perf_counter()
    with cluster(n_workers) as running:
        print(f"\n{n_workers} simulated workers, up after {perf_counter() - start:.1f} s\n{HEADER}")
        for way, model in models.items():
            job = job_of(n_workers, 1, SIZES[0], way.scattered)
            print(way)
            (spent,) = measured(running.client, [(way, job)], n_passes)[way]
            report(spent, model)


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, check and simulate."""
    arguments = arguments_of(argv)
    try:
        from bench.cluster.clusters import real, simulated
        from bench.cluster.passes import WAYS
    except ImportError:
        sys.exit("python -m bench.cluster: error: this needs 'kmeans-lab[dask]'")

    def together(n_workers: int) -> Any:
        return simulated(n_workers, min(n_workers, arguments.processes))

    found = small(together, FITTED, WAYS, arguments.passes)
    models = {way: fitted(spent) for way, spent in found.items()}
    print(f"Fitted to {len(found[WAYS[0]])} kinds of passes of {FITTED} simulated workers")
    for way, model in models.items():
        print(f"{way}: {costs(model)}", flush=True)
    if arguments.workers:
        check(models, arguments.workers, arguments.passes, real)
    # A thousand workers that fetch centers from one are a million open files of few processes.
    many = {way: it for way, it in models.items() if arguments.scatter or not way.scattered}
    for n_workers in arguments.simulate:
        simulate(many, n_workers, min(3, arguments.passes), together)
    print(*machine.lines(), sep="\n")


if __name__ == "__main__":
    spell_out()
    main()
