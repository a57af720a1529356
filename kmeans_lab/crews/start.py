"""Choose the mode and the number of workers of a fit, and start its crew."""

from typing import cast

from kmeans_lab.crews.base import Crew, Job
from kmeans_lab.crews.cores import available_cores, refuse_too_many
from kmeans_lab.crews.lock import threads_help, why_locked
from kmeans_lab.crews.serial import SerialCrew
from kmeans_lab.spec import KernelSpec

MODES = ("serial", "threads", "processes", "stream")


def choose_workers(
    mode: str | None, n_threads: int | None, spec: KernelSpec, name: str
) -> tuple[str, int]:
    """Return the mode and the number of workers; refuse more than one where they could not help.

    Without a mode, n_threads says enough: a kernel with threads of its own is given them, one that
    releases the interpreter's lock runs in the driver's, and so does any where the interpreter has
    none. Processes have to be asked for.
    """
    several, own = n_threads is not None and n_threads > 1, spec.threading == "own"
    together = threads_help(spec)
    if mode == "stream" and spec.whole and not own:
        raise ValueError(
            f"kernel={name!r} takes all rows at once, and mode='stream' has some at a time; use "
            "another kernel"
        )
    if mode is None:
        if several and not together:
            raise ValueError(
                f"n_threads={n_threads} would not make kernel {name!r} faster: it holds Python's "
                f"lock{why_locked()} while it computes, and its threads would wait for each other; "
                "use mode='processes', or another kernel"
            )
        mode = "threads" if several and not own else "serial"
    if n_threads is None:
        return mode, 1 if mode in ("serial", "stream") else available_cores()
    if mode in ("serial", "stream") and several and not own:
        helps = "threads" if together else "processes"
        remedy = (
            f"use mode={helps!r}" if mode == "serial" else "use a kernel with threads of its own"
        )
        raise ValueError(
            f"n_threads={n_threads} has no effect in mode={mode!r} with kernel {name!r}; {remedy}"
        )
    refuse_too_many(f"n_threads={n_threads}", n_threads)
    return mode, n_threads


def start_crew(mode: str, job: Job) -> Crew:
    """Start the workers of a fit; a context manager that ends them."""
    held = getattr(job.rows, "source", job.rows)
    if (start := getattr(held, "start_crew", None)) is not None:
        return cast(Crew, start(job))
    if mode == "processes":
        from kmeans_lab.crews.processes import start_process_crew

        return start_process_crew(job)
    if mode == "threads":
        from kmeans_lab.crews.threads import ThreadCrew

        return ThreadCrew(job)
    if mode == "stream":
        from kmeans_lab.crews.stream import StreamCrew

        return StreamCrew(job)
    return SerialCrew(job)
