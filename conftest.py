"""One ``pytest`` for two suites: tests by default, benchmarks with ``--benchmark-only``."""

import importlib.machinery
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

if "tests.support" not in sys.modules:  # it is where a plugin of ours comes first
    pytest.register_assert_rewrite("tests.support")  # its asserts tell as much as those of tests

MEASURING = "--benchmark-only" in sys.argv
if MEASURING:
    import bench  # noqa: F401 (one thread for everybody, before tests/conftest.py imports NumPy)

CHECKOUT = Path(__file__).parent
#: Modules that every installation compiles.
COMPILED = (
    *("_cpp_kernel", "_cpp_dbscan", "sparse._cpp_kernel", "tuned.simd", "sparse.simd"),
    *("_cy_kernel", "sparse._cy_kernel", "tuned.cython_baseline"),
)

#: pytest-benchmark's defaults, changed where the lab needs it: option → (default, ours).
BENCHMARK_DEFAULTS = {
    "benchmark_time_unit": (None, "ms"),
    "benchmark_disable_gc": (False, True),
    "benchmark_columns": (None, ["min", "median", "max", "rounds"]),
    "benchmark_sort": ("min", "name"),
}


def choose_package() -> str | None:
    """Import the package that is to be measured or tested; return a sentence where there is none.

    pytest puts the checkout before everything that is installed. After ``pip install .`` the
    sources there have no compiled modules beside them, and most kernels would be missing: then
    the benchmarks measure the installed package. The tests are the checkout's and need it built.
    """
    if not missing_modules(CHECKOUT / "kmeans_lab"):
        return None
    build = "pip install --editable '.[dev]' builds it"
    if not MEASURING:
        return f"this checkout is not built, and its tests need its compiled modules; {build}"
    elsewhere = [place for place in sys.path if Path(place or ".").resolve() != CHECKOUT]
    found = importlib.machinery.PathFinder.find_spec("kmeans_lab", elsewhere)
    if found is None or found.origin is None:
        return f"this checkout is not built, and no other kmeans_lab is installed; {build}"
    installed = Path(found.origin).parent
    if missing := missing_modules(installed):
        return (
            f"kmeans_lab in {installed} lacks its compiled modules {', '.join(missing)}; "
            "pip install --force-reinstall --no-deps . builds them"
        )
    before = sys.path[:]
    sys.path[:] = elsewhere
    import kmeans_lab  # noqa: F401 (from now on the one that is installed)

    sys.path[:] = before
    os.environ["PYTHONSAFEPATH"] = "1"  # the same for processes that are started in this folder
    return None


def missing_modules(package: Path) -> list[str]:
    """Return the compiled modules that a package lacks for this Python."""
    suffixes = importlib.machinery.EXTENSION_SUFFIXES
    return [
        name
        for name in COMPILED
        if not any((package / (name.replace(".", "/") + end)).is_file() for end in suffixes)
    ]


NO_PACKAGE = choose_package()  # before tests/conftest.py imports it


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
    if NO_PACKAGE:
        raise pytest.UsageError(NO_PACKAGE)
    for option, (default, ours) in BENCHMARK_DEFAULTS.items():
        if config.getoption(option, default=ours) == default:
            setattr(config.option, option, ours)
    if config.pluginmanager.hasplugin("benchmark"):
        _keep_warnings_of_the_plugin(config)
    no_path_given = config.args_source is not pytest.Config.ArgsSource.ARGS
    if config.getoption("benchmark_only", default=False):
        _check_preset(config.getoption("--preset"))
        if no_path_given:
            config.args[:] = [str(CHECKOUT / "bench")]


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Say what pytest-benchmark compares only with the same: nothing that differs by the minute.

    Here and not in bench/conftest.py, which is not there yet when a saved run is loaded.
    """
    from kmeans_lab.measure import machine

    cpu = machine_info.get("cpu", {})  # without the frequency of the moment
    machine_info["cpu"] = {k: v for k, v in cpu.items() if not k.startswith("hz_")}
    # Load, commit and compilers are in the lab's own part of the JSON: bench/conftest.py.
    machine_info["kmeans_lab"] = machine.hardware()


def pytest_report_header() -> str:
    """Say which installation is tested or measured."""
    import kmeans_lab

    return f"kmeans_lab: {Path(kmeans_lab.__file__).parent}"


def _keep_warnings_of_the_plugin(config: pytest.Config) -> None:
    """Leave it to the user to judge what pytest-benchmark warns of: another machine, say.

    Saved runs are loaded where an error would end the run in INTERNALERROR, without a sentence.
    """
    from pytest_benchmark.logger import PytestBenchmarkWarning as Kind

    warnings.filterwarnings("default", category=Kind)  # while pytest is configured
    config.addinivalue_line("filterwarnings", f"default::{Kind.__module__}.{Kind.__name__}")


def _check_preset(name: str) -> None:
    from kmeans_lab.presets import find_preset  # imports NumPy: only where it is needed

    try:
        find_preset(name)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
