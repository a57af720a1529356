"""The instrument measured by itself: ``python -m bench.selftest [KERNEL …]``.

Three questions on the standard preset. Does a slowdown of 3 % that was planted into a kernel show
within a minute? Does the baseline's twin, in the same run, differ from it? Does certifying every
fit off the clock change what the clock says: of one run, every other round goes without?
"""

import os
import sys
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

from kmeans_lab.io.streams import spell_out
from kmeans_lab.measure.certify import Certificate
from kmeans_lab.measure.rounds import PairedRun, Progress
from kmeans_lab.measure.statistics import is_resolved, ratio
from kmeans_lab.presets import find_preset
from kmeans_lab.registry import FLAGSHIP, KERNELS

KERNEL_NAMES = ("cpp", "numba", "cython", "cython-tiled", FLAGSHIP)
SLOWDOWN, SECONDS = 0.03, 55.0


def paired(name: str, kernels: list[str], seconds: float) -> PairedRun:
    """Run as many rounds as fit into that time."""
    workload = find_preset("standard").load()
    trial = PairedRun(workload, "standard", kernels, name, n_rounds=9)
    start = perf_counter()
    trial.run()
    spent = perf_counter() - start
    run = PairedRun(workload, "standard", kernels, name, n_rounds=int(9 * seconds / spent))
    run.run()
    return run


def main(names: list[str]) -> None:
    """Print an answer for each kernel."""
    for name in names:
        spec = KERNELS[name]
        made_of_it = replace(spec, module="bench.slowed", requires=(*spec.requires, "kmeans_lab"))
        with patch.dict(KERNELS, slowed=made_of_it):
            fit = paired(name, [name], 3.0).find(name)
            of_assign = median(fit.phases["assign"]) / median(fit.seconds)
            start = perf_counter()
            with patch.dict(os.environ, SLOWED=f"{name} {SLOWDOWN / of_assign}"):
                run = paired(name, ["slowed"], SECONDS)
            spent = perf_counter() - start
            times, twin = run.ratio_of("slowed"), run.ratio_of(f"{name} again")
        assert times is not None
        assert twin is not None
        assert run.floor is not None
        said = "resolved" if is_resolved(times, run.floor) else "not resolved"
        print(
            f"{name}: {SLOWDOWN:.0%} slower is {said} in {spent:.0f} s: {times.middle - 1:+.1%} "
            f"({times.low - 1:+.1%} to {times.high - 1:+.1%}); twin {twin.low - 1:+.1%} to "
            f"{twin.high - 1:+.1%}"
        )
        print(f"{name}: rounds with certificates against rounds without: {certifying(name)}")


def certifying(name: str) -> str:
    """Certify every other round, and compare it with the next one."""
    real, on = Certificate.recheck, [True]

    def watch(it: Progress) -> None:
        on[0] = it.done // 2 % 2 == 0  # two fits a round: the kernel and its twin

    def recheck(*arguments: Any) -> None:
        if on[0]:
            real(*arguments)

    workload = find_preset("standard").load()
    run = PairedRun(workload, "standard", [name], name, n_rounds=400)
    with patch.object(Certificate, "recheck", recheck):
        run.run(watch)
    spent = run.find(name).seconds
    change = ratio(spent[::2], spent[1::2])
    assert run.floor is not None
    return (
        f"{change.middle - 1:+.1%} ({change.low - 1:+.1%} to {change.high - 1:+.1%}), "
        f"A/A floor {run.floor - 1:.1%}"
    )


if __name__ == "__main__":
    spell_out()
    main(sys.argv[1:] or list(KERNEL_NAMES))
