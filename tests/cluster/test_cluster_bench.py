"""``python -m bench.cluster``: passes that compute nothing, on two workers of one process."""

from itertools import product

import pytest

pytest.importorskip("distributed", reason="pip install 'kmeans-lab[dask]'")
from bench.cluster import __main__ as command
from bench.cluster.clusters import simulated
from bench.cluster.passes import WAYS, Passes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def together():
    with simulated(2, 1) as cluster:
        yield cluster


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_pass_adds_up_an_answer_of_each_step(together, way):
    job = command.job_of(2, 5, (3, 2), way.scattered)
    run = Passes(together.client, job, way)
    run()
    run()
    assert len(run.blocks) == 10
    assert set(together.client.who_has(run.blocks[:5]).values()) != set(
        together.client.who_has(run.blocks[5:]).values()
    )
    run.steps += 1
    with pytest.raises(RuntimeError, match=r"^11 answers of ones add up to 10$"):
        run()


def test_what_is_measured_is_fitted_and_printed(together, capsys):
    kinds = product((1, 3), ((3, 2), (50, 40)))
    jobs = [(WAYS[0], command.job_of(2, tasks, size, scattered=False)) for tasks, size in kinds]
    spent = command.measured(together.client, jobs, 2)[WAYS[0]]
    assert [it.job for it in spent] == [job for _, job in jobs]
    assert all(it.wall > 0 and it.own > 0 for it in spent)
    model = command.fitted(spent)
    assert "ms · tasks" in command.costs(model)
    off_by = command.report(spent[0], model)
    shown = capsys.readouterr().out.split()
    assert shown[:3] == ["2", "2", "2"]
    assert shown[6::3] == [f"{off:+.0%}" for off in off_by]


def test_arguments():
    found = command.arguments_of(["--workers", "2,4", "--simulate", ""])
    assert (found.workers, found.simulate, found.passes) == ([2, 4], [], 15)
    assert command.arguments_of([]).workers == [2, 4, 8]


@pytest.mark.parametrize("given", ["0", "2,x", "-3"])
def test_numbers_of_workers_are_whole(given, capsys):
    with pytest.raises(SystemExit):
        command.arguments_of([f"--workers={given}"])
    assert "must be numbers of workers, such as 2,4,8" in capsys.readouterr().err
