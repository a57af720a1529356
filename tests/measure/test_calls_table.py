"""Whole calls beside scikit-learn's: targets, rows that are chosen, the table, the command."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("threadpoolctl", reason="pip install 'kmeans-lab[bench]'")
pytest.importorskip("rich", reason="pip install 'kmeans-lab[bench]'")
pytest.importorskip("sklearn", reason="pip install 'kmeans-lab[data]'")
from rich.console import Console

from bench.peers.calls import table
from bench.peers.calls.estimate import count_of_rounds, seconds_of_row
from bench.peers.calls.main import instruction_sets
from bench.peers.calls.report import Report
from bench.peers.calls.run import TWIN, Measured
from bench.peers.calls.table import Row, choose, nearest, rows, tiny
from bench.peers.cells import Cell, Embedded

ROOT = Path(__file__).parents[2]


def measured(row: Row, ours: float, base: float, **more: object) -> Measured:
    it = Measured(row, ("avx2",), certificate="valid", **more)
    it.seconds = {"avx2": [ours] * 6, it.base("avx2"): [base] * 6, "avx2" + TWIN: [ours * 1.02] * 6}
    return it


CREW = SimpleNamespace(versions={"a": "kmeans-lab 0", "b": "scikit-learn 1"}, blas=set())


def printed(report: Report, width: int = 80) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    report.print(console, CREW)
    return console.export_text().splitlines()


def test_a_row_below_its_target_is_shown_as_such() -> None:
    first, second = rows()[:2]
    report = Report(("avx2",))
    report.rows = [
        measured(first, 1.0, 7.1),
        measured(second, 1.0, 7.4),
        measured(choose("weighted", rows())[0], 1.2, 1.0),
        measured(choose("predict", rows())[0], 1.0, 9.0, reason="no number: row 7 is wrong"),
    ]
    lines = printed(report)
    verdicts = [line.split()[-1] for line in lines if "×" in line[:12]][:4]
    assert verdicts == ["yes", "no", "no", "no"]
    assert any("1.20" in line and "1.15" in line for line in lines)
    assert "AVX2: 1 of 4 listed rows reach their target; 1 have no number" in lines
    assert any("row 7 is wrong" in line for line in lines)
    content = report.as_json(CREW, 6)
    assert [row["by_instruction_set"]["avx2"]["reached"] for row in content["rows"]] == [
        True, False, False, None,
    ]  # fmt: skip
    markdown = report.markdown(CREW).splitlines()
    assert markdown[2].startswith("| fit, 1 thread | 16250×10 k25 35 it. | 7,100 | 1,000 | 7.10 |")
    assert [line.split(" | ")[-1] for line in markdown[2:6]] == ["yes |", "no |", "no |", "no |"]


def test_targets_are_read_from_the_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(("avx2",))
    report.rows = [measured(rows()[0], 1.0, 7.5)]
    assert report.reaches(report.rows[0], "avx2")
    monkeypatch.setattr(table, "FITS", ((table.FITS[0][0], 8.0), *table.FITS[1:]))
    report.rows = [measured(rows()[0], 1.0, 7.5)]
    assert report.reaches(report.rows[0], "avx2") is False


def test_two_threads_are_held_to_what_one_reached_or_else_to_its_target() -> None:
    one, two = choose("16250×10 k25 35 it.", rows())
    report = Report(("avx2",))
    alone = measured(two, 1.0, 6.0)
    report.rows = [alone]
    assert report.target(alone, "avx2") == pytest.approx(0.85 * 7.0)
    report.rows = [measured(one, 1.0, 10.0), alone]
    assert report.target(alone, "avx2") == pytest.approx(0.85 * 10.0)
    assert report.reaches(alone, "avx2") is False


def test_drawn_cells_are_held_to_a_share_of_the_nearest_fit_and_the_worst_is_named() -> None:
    assert nearest(Cell(19_000, 6, 120, 15)) == (Cell(20_011, 7, 100, 20), 7.5)
    assert nearest(Cell(900_000, 3, 30, 15))[1] == 12.0
    drawn = choose("drawn", rows())
    assert len(drawn) == 12
    assert [row.target for row in drawn] == [
        pytest.approx(0.8 * nearest(it.cell)[1]) for it in drawn
    ]
    report = Report(("avx2",))
    report.rows = [
        measured(row, 1.0, row.target * (0.5 if i == 3 else 1.1)) for i, row in enumerate(drawn)
    ]
    (line,) = (line for line in report.notes(CREW) if "drawn cells" in line)
    assert line.startswith("AVX2: 11 of 12 drawn cells reach 0.8 of the nearest target (10 of 12")
    assert f"the worst: {drawn[3].cell}" in line


def test_a_target_that_is_not_a_number_is_not_reached() -> None:
    row = rows()[0]
    assert not row.reaches(float("nan"), 1.0)
    assert not replace(row, call="weighted").reaches(float("nan"), 1.0)


@pytest.mark.parametrize("width", [80, 110])
@pytest.mark.parametrize("isas", [("avx2",), ("avx2", "avx512")])
def test_nothing_is_cut_off(width: int, isas: tuple[str, ...]) -> None:
    everything = rows(np.zeros((5000, 384), np.float32))
    report = Report(isas)
    for row in everything:
        it = measured(row, 0.0123, 0.1532)
        it.seconds |= {isa: [0.0123, 0.0145] * 3 for isa in isas}
        it.seconds |= {it.base(isa): [0.1, 0.2] * 3 for isa in isas}
        report.rows.append(it)
    lines = printed(report, width)
    assert all(len(line.rstrip()) <= width for line in lines)
    assert "…" not in "".join(lines)
    shown = [line for line in lines if " it. " in line and "×" in line[:12]]
    assert len(shown) == len(everything)
    assert ("base ms" in lines[0]) == (width == 110 or len(isas) == 1)


def test_rows_are_chosen_by_kind_or_by_a_part_of_their_name() -> None:
    everything = rows()
    assert {row.title for row in choose("fit", everything)} == {"fit, 1 thread", "fit, 2 threads"}
    assert [row.call for row in choose("predict, score", everything)] == ["predict"] * 3 + [
        "score"
    ] * 3
    assert {row.n_threads for row in choose("four iterations", everything)} == {1, 2}
    real = rows(np.zeros((5000, 384), np.float32))
    (row,) = choose("float32 5000×384 k100", real)  # and not k1000
    assert (row.dtype, row.cell.n_clusters) == ("float32", 100)
    with pytest.raises(ValueError, match="--rows pairs is in no row; name one of fit, few, four,"):
        choose("fit,pairs", everything)
    with pytest.raises(ValueError, match="embeddings need --data"):
        choose("embeddings", everything)


def test_real_embeddings_are_rows_where_there_are_some() -> None:
    found = choose("embeddings", rows(np.zeros((5000, 7), np.float32)))
    assert [(row.dtype, row.cell.n_samples, row.cell.n_clusters, row.target) for row in found] == [
        ("float64", 5000, 100, 3.0), ("float64", 5000, 1000, 5.0), ("float64", 5000, 4000, 5.0),
        ("float64", 200_000, 4000, 4.0), ("float32", 5000, 100, 1.8), ("float32", 5000, 1000, 2.7),
        ("float32", 5000, 4000, 3.0), ("float32", 200_000, 4000, 2.5),
    ]  # fmt: skip
    assert len(choose("embeddings", rows(np.zeros((200, 7), np.float32)))) == 2


def test_resampled_rows_lie_around_those_of_the_file() -> None:
    rng = np.random.default_rng(0)
    file = (rng.normal(size=(300, 4)) * (1, 1, 1, 9)).astype(np.float16)
    X, start = Embedded(file, 300, 7).draw()
    assert np.array_equal(X, file.astype(np.float64))
    assert (start.shape, len(np.unique(start, axis=0))) == ((7, 4), 7)
    X, _ = Embedded(file, 5000, 7).draw()
    again, _ = Embedded(file, 5000, 7).draw()
    assert np.array_equal(X, again)
    apart = np.abs(X[:200, None] - file.astype(np.float64)).max(axis=2).min(axis=1)
    assert 0.1 < np.median(apart) < 3
    # Variances of independent parts add up: 1 + ½².
    assert X.std(axis=0) / file.astype(np.float64).std(axis=0) == pytest.approx(1.25**0.5, rel=0.05)


def test_a_guess_grows_with_the_work_and_long_rows_have_fewer_rounds() -> None:
    short, long = rows()[0], choose("60000×64 k200 20", rows())[0]
    assert seconds_of_row(short, 1, 9) < seconds_of_row(short, 2, 9) < seconds_of_row(long, 2, 9)
    assert [count_of_rounds(short, turn, 9) for turn in (0.1, 20.0, 1e4)] == [9, 4, 3]
    drawing = choose("n_init", rows())[0]
    assert count_of_rounds(drawing, 0.1, 5) == 11


def test_instruction_sets_get_a_column_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEANS_LAB_ISA", "baseline")
    found = instruction_sets("cpp-simd")
    assert set(found) <= {"baseline", "avx2", "avx512"}
    assert len(found) >= 1
    assert instruction_sets("cpp-simd", "baseline") == ("baseline",)
    assert os.environ["KMEANS_LAB_ISA"] == "baseline"
    assert instruction_sets("cpp") == ("",)
    with pytest.raises(ValueError, match="KMEANS_LAB_ISA=sse9 is not known"):
        instruction_sets("cpp-simd", "sse9")


def test_tiny_rows_keep_their_place_in_the_table() -> None:
    for row in rows(np.zeros((500, 9), np.float32)):
        small = tiny(row)
        assert small.cell.n_samples <= 400
        assert (small.call, small.target, small.of is None) == (
            row.call,
            row.target,
            row.of is None,
        )
        assert small.of is None or small.of in [tiny(it) for it in rows()]


def run_calls(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.peers", "--calls", *options]
    environment = os.environ | {"COLUMNS": "80"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_command_measures_prints_and_writes(tmp_path: Path) -> None:
    file = tmp_path / "calls.json"
    options = ["--isa", "baseline", "--rows", "weighted", "--json", str(file)]
    run = run_calls("--quick", "--markdown", *options)
    assert run.returncode == 0, run.stderr
    content = json.loads(file.read_text())
    assert [row["call"] for row in content["rows"]] == ["weighted"] * 3
    for row in content["rows"]:
        assert row["certificate"].startswith("valid"), row["reason"]
        found = row["by_instruction_set"]["baseline"]
        assert found["ratio"] > 0
        assert found["reached"] is None  # tiny data prove nothing
        assert set(row["seconds"]) == {"baseline", "baseline again", "baseline unweighted"}
        assert {len(times) for times in row["seconds"].values()} == {2}
    assert run.stdout.startswith("| call | n × d, k, iterations | base ms | ours ms | baseline |")
    assert "its BLAS chooses its own" in run.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rows", "fast"], "--rows fast is in no row"),
        (["--isa", "sse9"], "KMEANS_LAB_ISA=sse9 is not known"),
        (["--data", "nowhere.npy"], "there is no file"),
    ],
)
def test_what_is_not_known_is_one_sentence(options, sentence) -> None:
    run = run_calls("--quick", *options)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr
