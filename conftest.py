"""One ``pytest`` for two suites: tests by default, benchmarks with ``--benchmark-only``."""

import sys
from pathlib import Path

import pytest

if "--benchmark-only" in sys.argv:
    import bench  # noqa: F401 (one thread for everybody, before tests/conftest.py imports NumPy)

#: pytest-benchmark's defaults, changed where the lab needs it: option → (default, ours).
BENCHMARK_DEFAULTS = {
    "benchmark_time_unit": (None, "ms"),
    "benchmark_disable_gc": (False, True),
    "benchmark_columns": (None, ["min", "median", "max", "rounds"]),
    "benchmark_sort": ("min", "name"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the lab's own options."""
    group = parser.getgroup("kmeans_lab")
    group.addoption(
        "--require-kernels",
        choices=("available", "all"),
        default="available",
        help="'all' turns an unavailable kernel into a failure instead of a skip",
    )
    group.addoption(
        "--preset",
        default="standard",
        help="the workload that the benchmarks run on (kmeans-lab presets lists them)",
    )
    group.addoption(
        "--to-rest",
        action="store_true",
        help="run the preset until no center moves (tol=0) instead of by its own stop rule",
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-benchmark reads its options
def pytest_configure(config: pytest.Config) -> None:
    """Set pytest-benchmark's defaults; collect bench/ where only benchmarks are wanted."""
    for option, (default, ours) in BENCHMARK_DEFAULTS.items():
        if config.getoption(option, default=ours) == default:
            setattr(config.option, option, ours)
    no_path_given = config.args_source is not pytest.Config.ArgsSource.ARGS
    if config.getoption("benchmark_only", default=False):
        _check_preset(config.getoption("--preset"))
        if no_path_given:
            config.args[:] = [str(Path(__file__).parent / "bench")]


def _check_preset(name: str) -> None:
    from kmeans_lab.presets import find_preset  # imports NumPy: only where it is needed

    try:
        find_preset(name)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
