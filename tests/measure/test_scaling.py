"""``kmeans-lab scaling``: speedups of certified fits, Amdahl's share, and growth along one axis."""

import json
from importlib.resources import files
from types import SimpleNamespace

import jsonschema
import pytest

from kmeans_lab import registry
from kmeans_lab.cli import main as cli
from kmeans_lab.measure import scaling as measure
from kmeans_lab.measure.scaling import Point, growth, scaling, serial_share
from kmeans_lab.measure.statistics import Interval
from kmeans_lab.presets import find_preset
from tests.support.planted import GOOD

SCHEMA = json.loads((files("kmeans_lab") / "measure" / "scaling.json").read_text())
BLOBS = "blobs-9000-4-8"


@pytest.mark.parametrize(
    ("kernel", "mode"),
    [
        pytest.param("cpp", "threads", marks=pytest.mark.slow),
        pytest.param("cpp-simd", "threads", marks=pytest.mark.slow),
        ("cpp", "processes"),
    ],
)
def test_each_worker_count_is_paired_with_the_serial_fit(kernel, mode):
    told = []
    watch = lambda *it: told.append(it)  # noqa: E731
    found = scaling(kernel, find_preset(BLOBS).load(), BLOBS, mode, [2, 3], n_rounds=2, watch=watch)
    assert [it.workers for it in found.points] == [1, 2, 3]
    first, second, _ = found.points
    assert (first.speedup.middle, first.speedup.low, first.work.high) == (1, 1, 1)
    assert first.efficiency == 1
    assert second.speedup.n == 2
    assert second.efficiency == second.speedup.middle / 2
    assert 0 < first.start_up < first.seconds
    assert 0 <= found.serial_share <= 1
    assert first.machine == 1
    assert 0 < second.machine < 10
    assert [done for _, done, _ in told] == list(range(6))
    if mode == "processes":  # a worker is a Python that starts
        assert second.start_up > first.start_up


def point(workers, speedup):
    it = Interval(speedup, speedup, speedup, 0.95, 9)
    return Point(workers, 1.0, 0.1, it, it, 1.0)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_amdahls_share_is_found_again(share):
    points = [point(p, 1 / (share + (1 - share) / p)) for p in (1, 2, 4, 8)]
    assert serial_share(points) == pytest.approx(share)


def test_amdahls_share_stays_a_share():
    assert serial_share([point(1, 1.0)]) is None
    assert serial_share([point(1, 1.0), point(2, 2.6)]) == 0
    assert serial_share([point(1, 1.0), point(2, 0.4)]) == 1


def test_growth_is_a_slope_of_logarithms(monkeypatch):
    assert measure._slope([1, 2, 4, 8], [3.0, 12.0, 48.0, 192.0]) == pytest.approx(2)
    monkeypatch.setattr(measure, "START", {"n": 500, "d": 4, "k": 8})

    def fit(self, exponent):
        seconds = {"assign": 3e-9 * len(self.X) ** 1.5 * 5, "update": 0.0}
        return SimpleNamespace(seconds=seconds, n_iter=5), 0.0, 0.0

    monkeypatch.setattr(measure.Trial, "fit", fit)
    it = growth("cpp", "n", n_rounds=6)
    assert it.sizes == [500, 1000, 2000, 4000]
    assert it.seconds == pytest.approx([3e-9 * n**1.5 for n in it.sizes])
    assert (it.exponent.middle, it.exponent.n) == (pytest.approx(1.5), 6)


def call(capsys, *arguments):
    status = cli.main(["scaling", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_the_command_prints_a_table_or_json(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    options = ("cython", "--preset", BLOBS, "--workers", "2", "--rounds", "2")
    status, out, err = call(capsys, *options)
    assert (status, err) == (0, "")
    assert out.startswith(f"cython on {BLOBS}, threads\n")
    assert max(map(len, out.splitlines())) <= 80
    assert "(Amdahl)" in out
    status, out, _ = call(capsys, *options, "--json")
    data = json.loads(out)
    jsonschema.validate(data, SCHEMA, jsonschema.Draft202012Validator)
    (found,) = data["workers"]
    assert [it["workers"] for it in found["points"]] == [1, 2]


def test_growth_by_the_command(capsys, monkeypatch):
    monkeypatch.setattr(measure, "START", {"n": 400, "d": 4, "k": 8})
    status, out, err = call(capsys, "cpp", "--grow", "k,d", "--rounds", "2")
    assert (status, err) == (0, "")
    assert "time grows as k^" in out
    assert "time grows as d^" in out
    assert "cpp, n = 400, d = 4: time grows as k^" in out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--mode", "serial"], "--mode serial is not known; choose threads or processes"),
        (
            ["--workers", "1,500"],
            "--workers 1,500 must be at most 64, since this process may use 2 ",
        ),
        (["--workers", "0"], "--workers 0 must be counts of at least 1, like 1,2"),
        (["--grow", "n,x"], "--grow n,x must be some of n, k and d, like n,k"),
        (["--rounds", "0"], "--rounds 0 must be at least 1"),
        (["cuda"], "kernel='cuda' is not known"),
    ],
)
def test_refusals(capsys, monkeypatch, options, sentence):
    monkeypatch.setattr("kmeans_lab.crews.cores.available_cores", lambda: 2)
    status, out, err = call(capsys, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert sentence in err


def test_a_wrong_kernel_has_no_scaling(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_added", {})
    (tmp_path / "bad.py").write_text(GOOD + "def assign(*a):\n    return good_assign(*a) + 1\n")
    status, out, err = call(capsys, tmp_path / "bad.py", "--preset", "smoke")
    assert (status, out) == (1, "")
    assert "bad is INVALID (iteration 1: the fit returned" in err
    monkeypatch.setattr(measure, "START", {"n": 2000, "d": 4, "k": 8})
    status, out, err = call(capsys, tmp_path / "bad.py", "--grow", "k")
    assert (status, out) == (1, "")
    status, out, err = call(capsys, tmp_path / "bad.py", "--mode", "processes")
    assert (status, out) == (2, "")
    assert "starts Pythons that do not know" in err
