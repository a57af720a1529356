"""The study of embeddings: what is counted, a whole small study, and none without a file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from kmeans_lab import kmeans
from kmeans_lab.cli import main as cli
from kmeans_lab.cli import study
from kmeans_lab.presets import EMBEDDINGS_VARIABLE
from kmeans_lab.studies import STUDIES, embeddings, gallery, run_study
from kmeans_lab.studies.embeddings import (
    ANGLE,
    DISTANCE,
    Fit,
    analyse,
    between,
    excess,
    reduced_fit,
    with_distance,
)
from kmeans_lab.studies.notebook import Notebook


def blobs(n_samples: int, n_features: int, n_clusters: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(n_clusters, n_features))[rng.integers(n_clusters, size=n_samples)] * 3
    return X + rng.normal(size=X.shape)


def fit(k: int, way: str, labels: list[int], inertia: float) -> Fit:
    return Fit(k, way, np.array(labels), 1, 1.0, {"inertia": inertia})


def test_ways_are_compared_seed_by_seed() -> None:
    fits = [
        fit(2, DISTANCE, [0, 0, 1, 1], 10.0),
        fit(2, ANGLE, [1, 1, 0, 0], 11.0),
        fit(2, DISTANCE, [0, 1, 0, 1], 20.0),
        fit(2, ANGLE, [0, 1, 0, 1], 19.0),
        fit(3, DISTANCE, [0, 1, 2, 1], 5.0),
    ]
    assert with_distance(fits, 2, ANGLE) == [1.0, 1.0]
    assert with_distance(fits, 2, DISTANCE) == [-0.5]  # by Hubert and Arabie (1985)
    assert excess(fits, 2, ANGLE) == pytest.approx([10.0, -5.0])
    assert excess(fits, 3, DISTANCE) == [0.0]


def test_the_scatter_of_the_centers_is_a_direct_computation() -> None:
    X, k = blobs(200, 12, 4), 4
    space, labels = analyse(X), kmeans(X, k, random_state=0).labels
    middle = X - X.mean(axis=0)
    directions = np.linalg.svd(middle, full_matrices=False)[2][: k - 1]
    inside = whole = 0.0
    for j in range(k):
        mean = middle[labels == j].mean(axis=0)
        inside += (labels == j).sum() * np.square(directions @ mean).sum()
        whole += (labels == j).sum() * np.square(mean).sum()
    assert between(X, space, labels) == pytest.approx(inside / whole, rel=1e-10)
    assert 0.5 < inside / whole < 1
    assert space.variances.sum() == pytest.approx(1)


def test_with_all_components_the_clusters_are_those_of_the_rows() -> None:
    X = blobs(150, 9, 3)
    start, space = X[:3], analyse(X)
    options = {"tol": 0.0, "max_iter": 50}
    plain, low = kmeans(X, 3, init=start, **options), reduced_fit(X, space, 9, start, options)
    np.testing.assert_array_equal(plain.labels, low.labels)
    assert low.inertia == pytest.approx(plain.inertia)
    few = kmeans((X - X.mean(axis=0)) @ space.directions[:, :2], 3, init=start[:, :2], max_iter=1)
    assert reduced_fit(X, space, 2, start, options).centers.shape == few.centers.shape == (3, 2)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    """A file of embeddings of length 1, and fewer of all that is tried."""
    for name, value in {"CLUSTERS": (3, 5, 100), "COMPONENTS": (4, 8), "SEEDS": 2}.items():
        monkeypatch.setattr(embeddings, name, value)
    X = blobs(400, 12, 5)
    path = tmp_path / "mine.npy"
    np.save(path, (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float16))
    monkeypatch.setenv(EMBEDDINGS_VARIABLE, str(path))
    return path


@pytest.mark.usefixtures("file")
def test_it_runs_on_a_small_file_and_its_page_is_whole(tmp_path) -> None:
    written = run_study("embeddings", tmp_path / "out")
    page = (tmp_path / "out" / "embeddings.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)]+)\)", page))
    assert {it.name for it in written.files if it.suffix != ".svg"} == links
    assert all(it.stem.endswith("-measured") for it in written.files if it.suffix == ".csv")
    assert not re.search(r"\b(nan|inf)\b", page)
    assert "400 × 12 embeddings, as float32" in page
    assert {
        row[2:].partition(" ")[0] for row in page.splitlines() if row[:3] in ("| 3", "| 5")
    } == {
        "3",
        "5",
    }  # 400 rows are too few for 100 clusters
    assert len(written.claims) == 3
    assert str(tmp_path) not in page


def refused(capsys, tmp_path) -> str:
    status = cli.main(["study", "embeddings", "-o", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out").exists()
    return str(err)


def test_a_missing_or_unfit_file_costs_a_sentence(capsys, file, tmp_path, monkeypatch) -> None:
    X = np.load(file)
    np.save(file, X[:29])
    assert "needs 30 rows and more than 4 features, and the file has 29 × 12" in refused(
        capsys, tmp_path
    )
    np.save(file, np.vstack([X, np.zeros((1, 12))]))
    assert "row 400 holds only zeros, which have no direction" in refused(capsys, tmp_path)
    np.save(file, np.tile(X[:3], (100, 1)))
    assert "needs 30 different rows, and the first 300 of the file have 3" in refused(
        capsys, tmp_path
    )
    np.save(file, np.full((40, 12), np.nan))
    assert "nan" in refused(capsys, tmp_path).lower()
    file.unlink()
    assert "there is no file" in refused(capsys, tmp_path)
    monkeypatch.delenv(EMBEDDINGS_VARIABLE)
    assert "cannot ship; set KMEANS_LAB_EMBEDDINGS to an .npy file" in refused(capsys, tmp_path)
    with pytest.raises(ValueError, match="cannot ship"):
        run_study("embeddings", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("there", [True, False])
def test_all_studies_are_those_that_can_run(there, capsys, file, tmp_path, monkeypatch) -> None:
    if not there:
        monkeypatch.delenv(EMBEDDINGS_VARIABLE)
    monkeypatch.setattr(
        study, "run_study", lambda name, folder, full: Notebook(name, "", folder, full)
    )
    assert cli.main(["study", "all", "--json", "-o", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    names = [it["study"] for it in json.loads(out)]
    assert names == [it for it in STUDIES if there or it != "embeddings"]
    assert ("study embeddings is left out: embeddings are the rows" in err) is not there


def test_the_gallery_keeps_the_section_of_a_study_that_was_not_run(tmp_path) -> None:
    docs, first = tmp_path / "docs", tmp_path / "first"
    first.mkdir()
    for name in STUDIES:
        page = f"# {name}\n\nWhat?\n\n## How\n\n[a]({name}-a.csv)\n\nFiles: [x](y)\n"
        (first / f"{name}.md").write_text(page, encoding="utf-8")
        (first / f"{name}-a.csv").write_text("1\n", encoding="utf-8")
    gallery.write_gallery(first, docs)
    before = (docs / "studies.md").read_text(encoding="utf-8")
    second = tmp_path / "second"
    second.mkdir()
    gallery.write_gallery(second, docs)
    assert (docs / "studies.md").read_text(encoding="utf-8") == before
    (second / "soft.md").write_text("# soft\n\nSofter?\n\nFiles: [x](y)\n", encoding="utf-8")
    gallery.write_gallery(second, docs)
    after = (docs / "studies.md").read_text(encoding="utf-8")
    old = "## soft\n\nWhat?\n\n### How\n\n[a](studies/soft-a.csv)\n"
    assert old in before
    assert after == before.replace(old, "## soft\n\nSofter?\n")
