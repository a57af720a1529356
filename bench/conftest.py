"""What the suites share: the workload, the certificates, and the lab's own table."""

from collections.abc import Iterator
from typing import Any

import pytest
import threadpoolctl

from bench import machine
from bench.table import Row, print_tables
from kmeans_lab.presets import Workload, find_preset
from kmeans_lab.registry import KERNELS, state_of

ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()
NOTES: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.stash[NOTES] = []


@pytest.fixture(scope="session", autouse=True)
def one_thread(pytestconfig: pytest.Config) -> Iterator[None]:
    """Hold every thread pool at one thread; prove it before the first clock, after the last."""
    with threadpoolctl.threadpool_limits(1):
        assert all(pool["num_threads"] == 1 for pool in machine.pools()), machine.pools()
        yield
        assert all(pool["num_threads"] == 1 for pool in machine.pools()), machine.pools()
        pytestconfig.stash[NOTES].extend(machine.lines())


@pytest.fixture(scope="session")
def workload(pytestconfig: pytest.Config) -> Workload:
    """Generate the preset named on the command line, once."""
    return find_preset(pytestconfig.getoption("--preset")).load()


@pytest.fixture(scope="session")
def settings(workload: Workload, pytestconfig: pytest.Config) -> dict[str, Any]:
    """Return the arguments of ``kmeans`` that every kernel is given."""
    return workload.settings(to_rest=pytestconfig.getoption("--to-rest"))


@pytest.fixture
def rows(pytestconfig: pytest.Config) -> list[Row]:
    """Collect the rows of the lab's table."""
    return pytestconfig.stash[ROWS]


@pytest.fixture
def notes(pytestconfig: pytest.Config) -> list[str]:
    """Collect the lines below the lab's table."""
    return pytestconfig.stash[NOTES]


@pytest.fixture(params=list(KERNELS))
def kernel_name(request: pytest.FixtureRequest) -> str:
    """Name a kernel that is ready; skip, or fail under ``--require-kernels=all``, otherwise."""
    name: str = request.param
    state, why = state_of(name)
    if state == "ready":
        return name
    group = request.node.get_closest_marker("benchmark").kwargs["group"]
    request.config.stash[ROWS].append(Row(group, name, certificate=f"{state}: {why}"))
    if state == "broken" or request.config.getoption("--require-kernels") == "all":
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    # The clock frequency of the moment is noise, and is a different one in every run.
    for key in [key for key in machine_info.get("cpu", {}) if key.startswith("hz_actual")]:
        del machine_info["cpu"][key]
    machine_info["kmeans_lab"] = machine.card()


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Print the lab's own table below the plugin's."""
    yield
    if config.stash[ROWS]:
        preset = config.getoption("--preset")
        print_tables(terminalreporter, config.stash[ROWS], config.stash[NOTES], preset)
