"""``kmeans-lab study``: the same numbers in every run, pages that name what is there."""

import json
import re

import matplotlib as mpl
import numpy as np
import pytest

from kmeans_lab.cli import main as cli
from kmeans_lab.studies import STUDIES, run_study
from kmeans_lab.studies.gallery import write_gallery
from kmeans_lab.studies.notebook import PALETTE, Notebook, cluster_colors, draw_clusters
from tests.support.studies import DOCS, numbers, same

#: Minutes, nearly all of it measuring, or results that depend on what is installed or on a file;
#: their parts are tested in files of their own.
MEASURING = {"hybrid", "speedup", "ladder", "regimes", "text", "embeddings"}
#: Run whole by ``make test-all``; test_studies_small.py runs them on less.
LONG = {"starts", "how-many", "limits", "dbscan", "compress", "minibatch"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name in LONG else name
        for name in STUDIES
        if name not in MEASURING
    ],
)
def written(request, tmp_path_factory):
    """Run a study once; return its notebook."""
    return run_study(request.param, tmp_path_factory.mktemp(request.param))


def test_the_numbers_are_those_of_the_docs(written):
    """Of two machines: what rounding does to the twelfth digit is none of their business."""
    tables = [it for it in written.files if it.suffix == ".csv" and "measured" not in it.stem]
    assert tables
    for path in tables:
        found, kept = numbers(path), numbers(DOCS / "studies" / path.name)
        assert len(found) == len(kept)
        for row, other in zip(found, kept, strict=True):
            assert row.keys() == other.keys()
            for name, value in row.items():
                assert same(value, other[name]), (path.name, row, other)


def test_its_page_names_its_files_and_nothing_else(written):
    folder = written.folder
    assert {it.name for it in folder.iterdir()} == {it.name for it in written.files}
    page = (folder / f"{written.name}.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)]+)\)", page))
    assert {it.name for it in written.files if it.suffix != ".svg"} == links
    assert written.claims
    for claim in written.claims:
        assert claim.words in page
    for name, caption in written.figures:
        assert caption
        assert (folder / name).stat().st_size > 3000
        assert (folder / name).with_suffix(".svg").read_text(encoding="utf-8").startswith("<?xml")
    for word in ("nan", "inf "):
        assert not re.search(rf"\b{word}\b", page)


def book(tmp_path, name="trial"):
    return Notebook(name, "What?", tmp_path)


def test_a_figure_is_the_same_bytes_in_every_run(tmp_path):
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        it = book(folder)
        with it.figure("f", "Some rows", 1, 2, (4.0, 2.0)) as axes:
            X = np.random.default_rng(0).normal(size=(40, 2))
            draw_clusters(axes[0], X, np.arange(40) % 3, X[:3])
            axes[1].plot([1, 2], [3, 4], label="a line")
            axes[1].legend()
        files.append([path.read_bytes() for path in it.files])
    assert files[0] == files[1]
    assert mpl.rcParams["axes.grid"] == mpl.rcParamsDefault["axes.grid"]


def test_a_table_keeps_twelve_digits_and_the_page_fewer(tmp_path):
    it = book(tmp_path)
    rows = [{"what": "a|b", "n": 16250, "x": 1 / 3, "none": None}, {"what": "c", "n": 1, "x": 1e9}]
    it.table("t", rows[:1], shown=True)
    it.table("u", [{"x": 1e9}], measured=True, shown=True)
    it.write_page()
    text = (tmp_path / "trial-t.csv").read_text(encoding="utf-8")
    assert text == "what,n,x,none\na|b,16250,0.333333333333,\n"
    assert (tmp_path / "trial-u-measured.csv").exists()
    page = (tmp_path / "trial.md").read_text(encoding="utf-8")
    assert "| a\\|b | 16,250 | 0.3333 | – |" in page
    assert "| 1,000,000,000 |" in page


def test_colours_differ_however_many_clusters():
    assert cluster_colors(3) == list(PALETTE[:3])
    many = {tuple(np.round(color, 2)) for color in cluster_colors(40)}
    assert len(many) == 40


def call(capsys, *arguments):
    status = cli.main(["study", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_the_command_lists_the_studies(capsys):
    status, out, err = call(capsys)
    assert (status, err) == (0, "")
    for name in STUDIES:
        assert name in out
    assert json.loads(call(capsys, "--json")[1]) == STUDIES


def test_the_command_runs_one_and_keeps_what_is_there(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = call(capsys, "convergence")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "does not hold" in out
    page = tmp_path / "studies" / "convergence" / "convergence.md"
    before = page.read_text(encoding="utf-8")
    status, out, err = call(capsys, "convergence")
    assert (status, out) == (2, "")
    assert "has files, which are kept; use --force" in err
    page.write_text("mine", encoding="utf-8")
    status, out, _ = call(capsys, "convergence", "--force", "--json")
    (found,) = json.loads(out)
    assert (status, found["study"]) == (0, "convergence")
    assert found["claims"][0]["verdict"] == "holds"
    assert page.read_text(encoding="utf-8") == before


def test_what_is_refused_costs_a_sentence(capsys, tmp_path, monkeypatch):
    status, out, err = call(capsys, "convrgence")
    assert (status, out) == (2, "")
    assert err.startswith("kmeans-lab: error: study 'convrgence' is not known; choose one of ")
    (tmp_path / "file").write_text("")
    assert (
        "is a file; choose another --output"
        in call(capsys, "convergence", "-o", tmp_path / "file")[2]
    )
    monkeypatch.setattr("kmeans_lab.cli.study.find_spec", lambda name: None)
    status, _, err = call(capsys, "convergence", "-o", tmp_path / "new")
    assert (status, (tmp_path / "new").exists()) == (2, False)
    assert "matplotlib, which is not installed; pip install 'kmeans-lab[studies]'" in err
    with pytest.raises(ValueError, match="study='no' is not known; choose one of hybrid"):
        run_study("no", tmp_path)


def test_the_gallery_is_of_all_studies(tmp_path):
    page = (DOCS / "studies.md").read_text(encoding="utf-8")
    assert re.findall(r"^## ([\w-]+)$", page, re.MULTILINE) == list(STUDIES)
    for link in re.findall(r"\]\((studies/[^)]+)\)", page):
        assert (DOCS / link).exists(), link
    with pytest.raises(FileNotFoundError):
        write_gallery(tmp_path, tmp_path / "docs")
