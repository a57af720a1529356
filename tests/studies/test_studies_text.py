"""The study of texts: which documents are found, how they are judged, and a whole small study."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from kmeans_lab import kmeans
from kmeans_lab.studies import documents, run_study, text, trials
from kmeans_lab.studies.documents import Document, paragraphs, read_documents
from kmeans_lab.studies.trials import Judge, same_start, sums_of

PROSE = "These are eight words of prose, at least"
SOURCE = f'''"""One line.

{PROSE} and
one more line.

    {PROSE}, indented.

Parameters
----------
{PROSE} after a heading.

>>> {PROSE}
:param x: {PROSE}

.. note:: {PROSE}

x, *y : {PROSE}
"""
raise SystemExit("imported")

class A:
    """{PROSE} of a class."""

    async def f(self):
        r"""{PROSE} with \\d."""
        def g():
            "{PROSE} \\d of an inner function."

def h():
    """{PROSE}, last."""
    """{PROSE}, no docstring."""
'''


def test_prose_is_found_wherever_a_docstring_is() -> None:
    assert list(paragraphs(SOURCE.encode())) == [
        f"{PROSE} and one more line.",
        f"{PROSE} of a class.",
        f"{PROSE} with \\d.",
        f"{PROSE} \\d of an inner function.",
        f"{PROSE}, last.",
    ]
    text = '# coding: latin-1\n"""Acht Wörter müssen es sein, damit es gefunden würde"""'
    assert "Wörter" in next(paragraphs(text.encode("latin-1")))


@pytest.mark.parametrize("source", [b"def", b"\0", b"x = " + b"(" * 10_000, b'"\xff"', b""])
def test_a_file_that_does_not_parse_has_none(source: bytes) -> None:
    assert list(paragraphs(source)) == []


def write(root: Path, **files: str) -> None:
    for name, said in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""{said}"""', encoding="utf-8")


def test_documents_know_where_they_are_from_and_come_once(tmp_path) -> None:
    words = "said in quite a few more words than that"
    write(tmp_path / "std", email__b=f"B {words}", abc=f"A {words}", email__a=f"C {words}")
    write(tmp_path / "std", email__c=f"K {words}")
    write(tmp_path / "std", test__x=f"D {words}", email__test_y=f"E {words}", zip=f"b {words}")
    write(tmp_path / "pack", stats__tests__z=f"F {words}", stats__s=f"a\n {words}")
    write(tmp_path / "pack", stats__deep__s=f"G {words}", top=f"H {words}")
    (tmp_path / "pack" / "__init__.py").write_text(f'"""I {words}"""', encoding="utf-8")
    (tmp_path / "pack" / "broken.py").write_text('"""J', encoding="utf-8")
    roots = {documents.LIBRARY: tmp_path / "std", "pack": tmp_path / "pack"}
    found = [(it.text[0], it.package, it.module) for it in read_documents(roots)]
    assert found == [
        ("A", "Python", "abc"),
        ("b", "Python", "zip"),  # a folder's files before the folders in it
        ("C", "Python", "email"),
        ("K", "Python", "email"),
        ("I", "pack", "pack"),
        ("H", "pack", "pack.top"),
        ("G", "pack", "pack.stats"),
    ]
    assert [it.text[0] for it in read_documents(roots, 2)] == ["C", "K"]


def test_what_is_installed_is_found_without_importing_it() -> None:
    before = set(sys.modules)
    roots = documents.installed()
    assert list(roots) == [documents.LIBRARY, *documents.PACKAGES]
    assert (roots["scipy"] / "stats" / "__init__.py").is_file()
    assert (roots[documents.LIBRARY] / "email" / "__init__.py").is_file()
    assert set(sys.modules) == before
    found = read_documents({"email": roots[documents.LIBRARY] / "email"})
    assert any("MIME" in it.text for it in found)
    assert all(it.package == "email" for it in found)


rng = np.random.default_rng(0)
ROWS = rng.integers(0, 4, (40, 6)) + np.eye(6)[rng.integers(0, 6, 40)]
LABELS = rng.permutation(np.repeat([0, 1, 3], [5, 15, 20]))  # no row has label 2
TRUTH = rng.permutation(np.repeat([0, 1], 20))


@pytest.mark.parametrize("kind", [np.array, csr_array])
def test_a_partition_is_judged_by_direct_computations(kind) -> None:
    from sklearn.metrics import adjusted_rand_score, silhouette_score, v_measure_score

    judge = Judge(kind(ROWS), TRUTH)
    found = judge.scores(LABELS)
    inertia = angles = pure = 0.0
    for j in (0, 1, 3):
        mine = ROWS[j == LABELS]
        inertia += np.square(mine - mine.mean(axis=0)).sum()
        units = mine / np.linalg.norm(mine, axis=1, keepdims=True)
        mean = units.mean(axis=0)
        angles += (1 - units @ (mean / np.linalg.norm(mean))).sum()
        pure += np.bincount(TRUTH[j == LABELS]).max()
        assert sums_of(kind(ROWS), LABELS, 4)[j].tolist() == mine.sum(axis=0).tolist()
    assert found == {
        "inertia": pytest.approx(inertia, rel=1e-12),
        "Σ(1 − cos)": pytest.approx(angles, rel=1e-12),
        "silhouette": pytest.approx(silhouette_score(ROWS, LABELS, metric="cosine")),
        "largest, %": 50.0,
        "under 10 rows": 2,  # of 5, and of none
        "V-measure": v_measure_score(TRUTH, LABELS),
        "adjusted Rand": adjusted_rand_score(TRUTH, LABELS),
        "purity": pure / 40,
    }
    assert "purity" not in Judge(kind(ROWS)).scores(LABELS)


def test_the_silhouette_is_that_of_a_sample(monkeypatch) -> None:
    from sklearn.metrics import silhouette_score

    monkeypatch.setattr(trials, "SAMPLE", 25)
    chosen = np.sort(np.random.default_rng(0).permutation(40)[:25])
    expected = silhouette_score(ROWS[chosen], LABELS[chosen], metric="cosine")
    assert Judge(ROWS).silhouette(LABELS) == pytest.approx(expected)


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_the_start_is_the_one_that_a_fit_would_draw(init) -> None:
    fit = kmeans(csr_array(ROWS), 3, init=init, random_state=5, history=True)
    np.testing.assert_array_equal(same_start(csr_array(ROWS), 3, init, 5), fit.history[0].centers)


def test_half_of_a_vector_is_counted_in_its_largest_terms() -> None:
    assert text.terms_of_half(np.array([[0.0, 3, -4, 0], [4, 0, 0, 3], [1, 1, 1, 1]])) == 1
    assert text.terms_of_half(np.array([[1.0, -1, 1, 1, 1]])) == 3


def made_up(n_modules: int, each: int) -> list[Document]:
    """Return documents of words of their module's own, and some of everybody's."""
    draw = np.random.default_rng(1)
    letters = [chr(ord("a") + i) for i in range(26)]
    words = ["".join(draw.choice(letters, 6)) for _ in range(20 * (n_modules + 1))]
    found = []
    for i in range(n_modules):
        for _ in range(each):
            mine = draw.choice(words[20 * i : 20 * (i + 1)], 9)
            found.append(" ".join([*mine, *draw.choice(words[-20:], 3)]))
    return [Document(it, "made", f"made.m{i // each}") for i, it in enumerate(found)]


@pytest.fixture
def small(monkeypatch):
    """Put few made-up documents in the place of the real ones."""
    values = {"SEEDS": 2, "CONCEPTS": (2, 4)}
    values |= {"read_documents": lambda roots, fewest: made_up(4, 60)}
    for name, value in values.items():
        monkeypatch.setattr(text, name, value)


@pytest.mark.usefixtures("small")
def test_it_runs_on_few_texts_and_finds_their_modules(tmp_path) -> None:
    written = run_study("text", tmp_path)
    page = (tmp_path / "text.md").read_text(encoding="utf-8")
    links = set(re.findall(r"\]\(([^)]+)\)", page))
    assert {it.name for it in written.files if it.suffix != ".svg"} == links
    assert all(it.stem.endswith("-measured") for it in written.files if it.suffix == ".csv")
    assert not re.search(r"\b(nan|inf)\b", page)
    assert "240 documents: 240 of made" in page
    assert len(written.claims) == 8
    table = (tmp_path / "text-clusters-measured.csv").read_text(encoding="utf-8")
    assert table.count("made.m") >= 4


@pytest.mark.slow
def test_the_real_texts_are_many(tmp_path) -> None:
    """Of the whole study: half a minute. With Python 3.11 they are 21 344; distutils is 700."""
    written = run_study("text", tmp_path)
    page = (tmp_path / "text.md").read_text(encoding="utf-8")
    found = re.search(r"([\d,]+) documents: ", page)
    assert found
    assert int(found[1].replace(",", "")) >= 18_000
    assert len(written.claims) == 8
