"""What the suites share: the workload, the certificates, and the lab's own table."""

from collections.abc import Iterator
from typing import Any

import pytest
import threadpoolctl

from bench.table import Row, print_tables
from kmeans_lab.isolation.availability import state_of
from kmeans_lab.isolation.pools import busy_pools
from kmeans_lab.measure import machine, record
from kmeans_lab.measure.rounds import PairedRun
from kmeans_lab.presets import Workload, find_preset
from kmeans_lab.registry import KERNELS

ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()
NOTES: pytest.StashKey[list[str]] = pytest.StashKey()
PAIRED: pytest.StashKey[list[PairedRun]] = pytest.StashKey()

BASELINE = "cpp"
#: A kernel whose whole fit would take longer is left out, and the table says so.
PATIENCE = 180.0


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    config.stash[NOTES] = []
    config.stash[PAIRED] = []


@pytest.fixture(scope="session", autouse=True)
def one_thread(pytestconfig: pytest.Config) -> Iterator[None]:
    """Hold every thread pool at one thread; prove it before the first clock, after the last."""
    with threadpoolctl.threadpool_limits(1):
        assert not busy_pools()
        yield
        assert not busy_pools()
        pytestconfig.stash[NOTES].extend(machine.lines())


@pytest.fixture(scope="session")
def workload(pytestconfig: pytest.Config) -> Workload:
    """Generate the preset named on the command line, once."""
    return find_preset(pytestconfig.getoption("--preset")).load()


@pytest.fixture(scope="session")
def paired(request: pytest.FixtureRequest, workload: Workload) -> PairedRun:
    """Run whole fits of all kernels that were asked for, in paired rounds, once."""
    functions = [it for it in request.session.items if isinstance(it, pytest.Function)]
    asked = {it.callspec.params["kernel_name"] for it in functions if it.originalname == "test_fit"}
    ready = [name for name in KERNELS if state_of(name)[0] == "ready"]
    run = PairedRun(
        workload,
        request.config.getoption("--preset"),
        [name for name in KERNELS if name in asked],
        BASELINE if BASELINE in ready else ready[0],
        to_rest=request.config.getoption("--to-rest"),
        patience=PATIENCE,
    )
    request.config.stash[PAIRED].append(run)
    run.run()
    if run.partial:
        raise KeyboardInterrupt
    return run


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


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, object]
) -> None:
    card, runs = machine.card(), config.stash[PAIRED]
    output_json["kmeans_lab"] = record.to_dict(runs, card) if runs else {"machine": card}


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Print the lab's own table below the plugin's."""
    yield
    rows, runs = config.stash[ROWS], [record.run_dict(run) for run in config.stash[PAIRED]]
    if rows or runs:
        preset = config.getoption("--preset")
        print_tables(terminalreporter, runs, rows, config.stash[NOTES], preset)
