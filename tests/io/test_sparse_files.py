"""Sparse files: SciPy's .npz and MatrixMarket, as SciPy's own functions write them."""

import gzip
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.io import mmwrite

from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import MissingExtra, Refused

RNG = np.random.default_rng(0)
X = RNG.integers(-3, 4, (6, 4)) * (RNG.random((6, 4)) < 0.4) * 0.5
X[2] = 0


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refusal(path, kind=Refused, **options):
    with pytest.raises(kind) as caught:
        read_rows(Path(path), **options)
    return str(caught.value)


def assert_rows(found, expected):
    """Compare sparse rows, which must be CSR with indices that can be followed."""
    assert isinstance(found, sp.csr_array)
    found.check_format(full_check=True)
    assert found.dtype == expected.dtype or not found.nnz
    np.testing.assert_array_equal(found.toarray(), expected)


# --- .npz of SciPy --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f8", "f4", "i2", "u8", "?"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
@pytest.mark.parametrize("of", [sp.coo_array, sp.coo_matrix])
def test_every_kind_of_sparse_matrix_becomes_csr(of, form, kind):
    expected = np.abs(X * 2).astype(kind)
    sp.save_npz("a.npz", of(expected).asformat(form))
    assert_rows(read_rows(Path("a.npz")), expected)


def test_csr_is_returned_with_its_order_and_its_zeros():
    rows = sp.csr_array(([3.0, 0, 1, 4], [2, 0, 1, 1], [0, 2, 4]), shape=(2, 3))
    sp.save_npz("a.npz", rows)
    found = read_rows(Path("a.npz"))
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))


def test_a_part_of_it_is_read_by_its_name():
    sp.save_npz("a.npz", sp.coo_array(X).asformat("dia"))
    found = read_rows(Path("a.npz"), array="data")
    np.testing.assert_array_equal(found, sp.coo_array(X).asformat("dia").data)


def test_nothing_is_made_dense():
    wide = sp.coo_array(([1.0, 2], ([0, 1], [5, 2**40])), shape=(2, 2**41))
    sp.save_npz("a.npz", wide)
    assert read_rows(Path("a.npz")).shape == (2, 2**41)


WRONG = {
    "csr, beyond": ("csr", {"data": [1.0], "indices": [4], "indptr": [0, 1, 1]}),
    "csr, negative": ("csr", {"data": [1.0], "indices": [-1], "indptr": [0, 1, 1]}),
    "csr, pointers fall": ("csr", {"data": [1.0], "indices": [1], "indptr": [0, 2**20, 1]}),
    "csr, none at last": ("csr", {"data": [1.0], "indices": [1], "indptr": [0, 1, 0]}),
    "csc, none at last": ("csc", {"data": [1.0], "indices": [1], "indptr": [0, 1, 1, 1, 0]}),
    "csc, beyond": ("csc", {"data": [1.0], "indices": [2**30], "indptr": [0, 1, 1, 1, 1]}),
    "bsr, beyond": ("bsr", {"data": [[[1.0]]], "indices": [2**30], "indptr": [0, 1, 1]}),
    "coo, beyond": ("coo", {"data": [1.0], "coords": [[2], [0]]}),
    "coo, negative": ("coo", {"data": [1.0], "coords": [[0], [-1]]}),
    "no such format": ("xyz", {"data": [1.0]}),
    "a part missing": ("csr", {"data": [1.0]}),
}


@pytest.mark.parametrize("case", WRONG)
def test_places_outside_of_the_matrix_are_refused(case):
    form, parts = WRONG[case]
    np.savez("a.npz", format=np.array(form), shape=(2, 4), _is_array=True, **parts)
    why = r"a\.npz is truncated or damaged \(.+\); write it again with scipy\.sparse\.save_npz"
    assert re.fullmatch(why, refusal("a.npz"))


def test_what_is_sparse_and_no_matrix_of_numbers_is_refused():
    sp.save_npz("a.npz", sp.coo_array(X[0]))
    assert refusal("a.npz") == "a.npz has 1 dimension and must have 2; save a matrix"
    sp.save_npz("a.npz", sp.csr_array(X * 1j))
    assert refusal("a.npz").startswith("a.npz: X has dtype complex128 and must be numeric (real);")


@pytest.mark.parametrize("form", ["csc", "coo"])
def test_a_shape_of_rows_that_are_empty_is_refused(form):
    sp.save_npz("a.npz", sp.coo_array(([1.0], ([9], [0])), shape=(2**40, 1)).asformat(form))
    assert refusal("a.npz") == (
        f"a.npz has {2**40} rows and 1 stored values, so that nearly all rows are empty, and must "
        "have one for every 1000 rows; leave out empty rows"
    )


def test_without_scipy_the_sentence_says_what_to_install(monkeypatch):
    sp.save_npz("a.npz", sp.csr_array(X))
    mmwrite("a.mtx", sp.csr_array(X))
    mmwrite("b.mtx", X)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    for path in ("a.npz", "a.mtx"):
        assert refusal(path, kind=MissingExtra) == (
            f"reading {path} needs the package scipy, which is not installed; "
            "pip install 'kmeans-lab[scipy]'"
        )
    np.testing.assert_array_equal(read_rows(Path("b.mtx")), X)


# --- MatrixMarket ---------------------------------------------------------------------------

SQUARE = RNG.integers(-3, 4, (5, 5)) * (RNG.random((5, 5)) < 0.5)
SQUARE[0, 0] = 2
MATRICES = {
    "general": SQUARE,
    "symmetric": SQUARE + SQUARE.T,
    "skew-symmetric": SQUARE - SQUARE.T,
}


FIELDS = [
    *((symmetry, field) for symmetry in MATRICES for field in ("real", "integer")),
    *((symmetry, "unsigned-integer") for symmetry in ("general", "symmetric")),
]


@pytest.mark.parametrize(("symmetry", "field"), FIELDS)
@pytest.mark.parametrize("n", [1, 2, 5])
def test_what_scipy_writes_is_read(symmetry, field, n):
    kind = {"real": "f8", "integer": "i8", "unsigned-integer": "u8"}[field]
    matrix = MATRICES[symmetry][:n, :n]
    expected = (np.abs(matrix) if kind == "u8" else matrix).astype(kind)
    mmwrite("a.mtx", expected, field=field, symmetry=symmetry)
    np.testing.assert_array_equal(read_rows(Path("a.mtx")), expected, strict=True)
    mmwrite("a.mtx", sp.coo_array(expected), field=field, symmetry=symmetry)
    assert_rows(read_rows(Path("a.mtx")), expected)


def test_a_matrix_that_is_not_square_and_its_gzip():
    for matrix in (X, sp.csr_array(X)):
        mmwrite("a.mtx", matrix, comment="two\nlines")
        Path("B.MTX.GZ").write_bytes(gzip.compress(Path("a.mtx").read_bytes()))
        for path in ("a.mtx", "B.MTX.GZ"):
            found = read_rows(Path(path))
            assert sp.issparse(found) == sp.issparse(matrix)
            np.testing.assert_array_equal(found.toarray() if sp.issparse(found) else found, X)
    Path("b.mtx.gz").write_bytes(b"junk")
    assert refusal("b.mtx.gz").startswith("b.mtx.gz is truncated or damaged (")


def market(text):
    Path("a.mtx").write_text("%%MatrixMarket matrix " + text, encoding="latin-1")
    return "a.mtx"


def test_patterns_duplicates_comments_and_blank_lines():
    path = market("coordinate pattern general\n% a\n\n2 3 2\n\n1 3\n% b\n2 1\n")
    assert_rows(read_rows(Path(path)), np.array([[0.0, 0, 1], [1, 0, 0]]))
    path = market("Coordinate REAL General\r\n1 2 3\r\n1 2 .5\r\n1 2 1e1\r\n1 1 -3\r\n")
    assert_rows(read_rows(Path(path)), np.array([[-3, 10.5]]))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("array real general\n2 2\n1\n2\n3\n", "it promises 4 values and has only 3"),
        ("array real general\n2 2\n1\n2\n3\n4\n5\n", "it promises 4 values and has more"),
        ("array real general\n1000000000000 9\n1\n", "it promises 9000000000000 values and .+"),
        ("array real symmetric\n1000000 2\n1\n", "symmetric and 1000000 × 2, which is not square"),
        ("array real skew-symmetric\n2 2\n1\n1\n", "it promises 1 values and has more"),
        ("array real general\n2 1\n1e\n2\n", "could not convert string '1e' to float64 at row 0.*"),
        ("array real general\n2 1\n1\n2S", "could not convert string '2S' to float64 at row 1.*"),
        ("array real general\n2 1\n1\0\n2", "could not convert string .* to float64 at row 0.*"),
        ("array integer general\n1 1\n1.5\n", "could not convert string '1.5' to int64 .*"),
        ("array real general\n1 2\n1 2\n", ".* requires 1 columns but 2 were found .*"),
        ("array real general\n1\n1\n", "its sizes are '1'"),
        ("array real general\n-1 2\n1\n", "its sizes are '-1 2'"),
        ("array real general\n", "its sizes are ''"),
        ("coordinate real general\n2 2 1\n3 1 5\n", "value 1 is at 3, 1 of a matrix 2 × 2"),
        ("coordinate real general\n2 2 2\n1 1 5\n1 0 5\n", "value 2 is at 1, 0 of a matrix 2 × 2"),
        ("coordinate real symmetric\n3 3 1\n1 4 5\n", "value 1 is at 1, 4 of a matrix 3 × 3"),
        ("coordinate real general\n2 2 1\n1.5 1 5\n", "could not convert string '1.5' to int64 .*"),
        ("coordinate real general\n2 2 9999999999\n1 1 5\n", "it promises 9999999999 values .*"),
        (f"array real general\n{'9' * 5000} 2\n1", "Exceeds the limit .*"),
    ],
)
def test_a_damaged_market_file_is_refused(text, why):
    found = refusal(market(text))
    pattern = rf"a\.mtx is truncated or damaged \({why}\); write it again with scipy\.io\.mmwrite"
    assert re.fullmatch(pattern, found), found


def test_other_market_files_are_refused():
    Path("a.mtx").write_text("1,2\n")
    why = "a.mtx is not a MatrixMarket file; write it with scipy.io.mmwrite"
    assert refusal("a.mtx") == why
    why = "a.mtx holds a matrix by rows and must hold a matrix; convert it"
    assert refusal(market("rows real general\n")) == why
    assert refusal(market("array complex general\n1 1\n1 1\n")) == (
        "a.mtx holds numbers that are complex and general, and they must be real, double, integer, "
        "unsigned-integer, pattern, and general, symmetric, skew-symmetric; convert them"
    )
    assert refusal(market("array real hermitian\n1 1\n1\n")).startswith("a.mtx holds numbers that")
    assert refusal(market("array real general\n1 1\nnan\n")).startswith("a.mtx: X[0, 0] is nan and")
    assert "rows are empty" in refusal(market("coordinate real general\n9999999999 1 1\n1 1 1\n"))
