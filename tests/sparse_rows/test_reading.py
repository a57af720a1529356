"""Sparse matrices of SciPy: converted once, checked where compiled code would run out of bounds."""

import os

import numpy as np
import pytest
from scipy import sparse

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.cli import main as cli
from kmeans_lab.sparse.reading import as_scipy, is_sparse, read_sparse

FLOATS = ("float32", "float64")
FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")


def matrix(seed=0, shape=(40, 30), density=0.2, kind=sparse.csr_array):
    found = sparse.random_array(shape, density=density, rng=np.random.default_rng(seed))
    return kind(found)


def parts(rows):
    return rows.data.tolist(), rows.indices.tolist(), rows.indptr.tolist(), rows.n_features


def by_hand(data, indices, indptr, shape):
    """Return a matrix whose arrays are set without any of SciPy's checks."""
    made = sparse.csr_array(shape)
    made.data, made.indices, made.indptr = map(np.asarray, (data, indices, indptr))
    return made


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_becomes_the_same_rows(form, kind):
    expected = read_sparse("X", matrix(), FLOATS)
    given = getattr(sparse, f"{form}_{kind}")(matrix())
    assert is_sparse(given)
    found = read_sparse("X", given, FLOATS)
    np.testing.assert_array_equal(as_scipy(found).toarray(), as_scipy(expected).toarray())
    assert found.indices.dtype == np.int32
    assert found.indptr.dtype == np.int64


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize(
    ("kind", "becomes"),
    [
        ("float16", "float32"),
        ("float32", "float32"),
        (">f8", "float64"),
        ("int8", "float64"),
        ("uint64", "float64"),
        ("bool", "float64"),
        ("longdouble", "float64"),
    ],
)
def test_values_and_indices_of_other_types(index, kind, becomes):
    dense = np.arange(12).reshape(3, 4) % 3
    rows, columns = np.nonzero(dense)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=3))])
    given = by_hand(dense[rows, columns].astype(kind), columns.astype(index), indptr, (3, 4))
    given.indptr = indptr.astype(index)
    found = read_sparse("X", given, FLOATS)
    assert found.dtype == becomes
    np.testing.assert_array_equal(as_scipy(found).toarray(), dense.astype(kind))


def test_a_canonical_matrix_is_shared_and_never_written_to():
    given = matrix()
    found = read_sparse("X", given, FLOATS)
    assert np.shares_memory(found.data, given.data)
    assert np.shares_memory(found.indices, given.indices)
    assert not found.data.flags.writeable
    assert given.data.flags.writeable  # the caller's own stays as it was


def test_columns_that_do_not_ascend_are_put_in_order_in_a_copy():
    # Row 0 stores column 3 twice and column 1 after it; row 1 stores nothing, row 2 an explicit 0.
    data, indices, indptr = [1.0, 2.0, 4.0, 0.0], [3, 1, 3, 2], [0, 3, 3, 4]
    given = by_hand(data, np.int32(indices), np.int32(indptr), (3, 4))
    given.has_sorted_indices = given.has_canonical_format = True  # which is not so
    found = read_sparse("X", given, FLOATS)
    assert parts(found) == ([2.0, 5.0, 0.0], [1, 3, 2], [0, 2, 2, 3], 4)
    assert (given.data.tolist(), given.indices.tolist()) == (data, indices)
    assert given.indptr.tolist() == indptr


@pytest.mark.parametrize("where", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 2**21 - 2])
def test_a_fall_is_found_wherever_it_is(where):
    n_values = 2**21
    indices = np.arange(n_values, dtype=np.int32)
    indices[[where, where + 1]] = indices[[where + 1, where]]
    given = by_hand(np.ones(n_values), indices, np.array([0, n_values]), (1, n_values))
    assert (np.diff(read_sparse("X", given, FLOATS).indices) > 0).all()


def test_rows_may_begin_with_any_column():
    given = by_hand(np.ones(6), np.int32([2, 3, 0, 3, 0, 1]), np.array([0, 2, 4, 4, 6]), (4, 4))
    found = read_sparse("X", given, FLOATS)
    assert np.shares_memory(found.indices, given.indices)  # they ascend: nothing was converted


GOOD = ([1.0, 2.0, 3.0], [0, 2, 1], [0, 2, 3])
REFUSED = {
    "a column too far": ((GOOD[0], [0, 3, 1], GOOD[2]), "stores a value in column 3"),
    "a column below zero": ((GOOD[0], [0, -1, 1], GOOD[2]), "stores a value in column -1"),
    "rows that go back": ((GOOD[0], GOOD[1], [0, 3, 2]), "do not fit"),
    "rows beyond the values": ((GOOD[0], GOOD[1], [0, 2, 4]), "do not fit"),
    "rows below zero": ((GOOD[0], GOOD[1], [-1, 2, 3]), "do not fit"),
    "rows whose differences overflow": (
        (GOOD[0], GOOD[1], [0, 2**63 - 1, -(2**63)]),
        "do not fit",
    ),
    "too few rows": ((GOOD[0], GOOD[1], [0, 3]), "do not fit"),
    "too few columns": ((GOOD[0], [0, 2], GOOD[2]), "do not fit"),
    "columns that are no integers": ((GOOD[0], [0.0, 2.0, 1.0], GOOD[2]), "do not fit"),
    "columns in a matrix": ((GOOD[0], [[0], [2], [1]], GOOD[2]), "do not fit"),
    "not a number": (([1.0, np.nan, 3.0], *GOOD[1:]), r"X\[0, 2\] is nan and every value must be"),
    "infinity": (([1.0, 2.0, -np.inf], *GOOD[1:]), r"X\[1, 1\] is -inf and every value must be"),
    "too large": (([1.0, 2.0, 1e200], *GOOD[1:]), "overflows in a squared distance"),
    "too small": (([0.0, 1e-200, 0.0], *GOOD[1:]), "underflows in a squared distance"),
}


@pytest.mark.parametrize("fit", [kmeans, lambda X, k: KMeans(k).fit(X), "partial"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_damaged_matrix_is_refused_in_one_sentence(case, fit):
    if fit == "partial":
        fit = lambda X, k: MiniBatchKMeans(k).partial_fit(X)  # noqa: E731
    made, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        fit(by_hand(*made, (2, 3)), 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["coo", "csc", "bsr"])
def test_other_formats_may_be_damaged_too(form):
    made = getattr(sparse, f"{form}_array")(np.eye(4))
    if form == "coo":
        made.coords[1][2] = 9
    else:
        made.indices[-1] = 9
    with pytest.raises(ValueError, match="stores a value in"):
        kmeans(made, 2)


@pytest.mark.parametrize(
    ("made", "error", "sentence"),
    [
        (sparse.csr_array((0, 3)), ValueError, "has shape .* at least one row"),
        (sparse.csr_array((3, 0)), ValueError, "has shape .* at least one row"),
        (sparse.csr_array((2, 2), dtype=complex), TypeError, r"complex128.*X\.real"),
        (sparse.coo_array(np.ones(3)), ValueError, "has 1 dimension and must have 2"),
        (sparse.csr_array((2, 2**31)), ValueError, "has 2147483648 columns"),
        (sparse.csr_array((2, 3)), ValueError, "n_clusters=3 must be at most n_samples=2"),
    ],
)
def test_what_is_no_matrix_of_rows(made, error, sentence):
    with pytest.raises(error, match=sentence):
        kmeans(made, 3)


def test_objects_are_refused():
    made = by_hand(np.array([1, "a"], dtype=object), np.int32([0, 1]), np.array([0, 1, 2]), (2, 2))
    with pytest.raises(TypeError, match=r"dtype object and must be numeric"):
        kmeans(made, 2)


def test_a_slice_shares_and_a_choice_copies():
    rows = read_sparse("X", matrix(), FLOATS)
    dense = as_scipy(rows).toarray()
    middle = rows[7:20]
    assert len(middle) == 13
    assert middle.data is rows.data
    np.testing.assert_array_equal(as_scipy(middle).toarray(), dense[7:20])
    np.testing.assert_array_equal(as_scipy(middle[2:5]).toarray(), dense[9:12])
    np.testing.assert_array_equal(middle[np.array([3, 0])], dense[[10, 7]])
    np.testing.assert_array_equal(middle[4], dense[11])
    chosen = np.array([5, 5, 0, 12])
    np.testing.assert_array_equal(as_scipy(middle.take(chosen)).toarray(), dense[7 + chosen])
    assert len(rows[9:9]) == 0


def test_blocks_cover_all_rows_however_long_they_are(monkeypatch):
    monkeypatch.setattr("kmeans_lab.sparse.rows._BLOCK_VALUES", 10)
    dense = np.zeros((50, 25))
    dense[3] = dense[30:33, :4] = 1  # longer than a block; and many rows without any value
    rows = read_sparse("X", sparse.csr_array(dense), FLOATS)
    seen = [as_scipy(block).toarray() for _, block in rows.blocks()]
    np.testing.assert_array_equal(np.concatenate(seen), dense)
    assert max(map(len, seen)) <= 10


def far(offset, spread=1.0):
    """Return rows whose first column lies far from the origin."""
    rng = np.random.default_rng(0)
    first = offset + np.repeat([0.0, 10.0, 20.0], 50) * spread + rng.normal(0, 0.5 * spread, 150)
    return np.column_stack([first, np.eye(3)[np.arange(150) % 3]])


@pytest.mark.parametrize("offset", [1.7e9, 1e12, -1e14])
@pytest.mark.parametrize(
    "fit",
    [
        lambda X: kmeans(X, 3, random_state=0),
        lambda X: KMeans(2, random_state=0, n_init=1).fit(X),
        lambda X: MiniBatchKMeans(2, random_state=0, n_init=1).fit(X),
    ],
)
@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_rows_far_from_the_origin_are_warned_of(fit, offset):
    with pytest.warns(UserWarning, match=r"\(column 0 has mean .*\).*X\.toarray\(\)"):
        fit(sparse.csr_array(far(offset)))


@pytest.mark.parametrize(
    "X",
    [far(0.0), far(1e4), far(1e9, 1e7), np.full((30, 3), 1e9 + 0.1), np.full((30, 2), [7.7, 0])],
)
def test_rows_near_it_and_equal_ones_are_not_warned_of(X):
    kmeans(sparse.csr_array(X), 1)  # warnings are errors


def broken(form, change):
    """Return a matrix of some format after a change to it."""
    made = matrix().asformat(form)
    change(made)
    return made


def put(part, value):
    return lambda made: setattr(made, part, value)


BROKEN = {
    "lists of different lengths": ("lil", lambda X: X.data[3].append(1.0)),
    "many values in a list": ("lil", lambda X: X.data.__setitem__(3, [1.0] * 10**6)),
    "few lists": ("lil", lambda X: setattr(X, "rows", X.rows[:-2])),
    "no lists": ("lil", lambda X: X.rows.__setitem__(3, 7)),
    "lists of no numbers": (
        "lil",
        lambda X: (X.rows.__setitem__(3, ["a"]), X.data.__setitem__(3, [1])),
    ),
    "few diagonals": ("dia", lambda X: setattr(X, "data", X.data[:-1])),
    "flat diagonals": ("dia", put("data", np.ones(3))),
    "a list for values": ("csr", put("data", [1.0])),
    "no values": ("csr", put("data", None)),
    "one value": ("csr", put("data", np.array(1.0))),
    "values in two dimensions": ("csr", put("data", np.ones((3, 3)))),
    "flat blocks": ("bsr", put("data", np.ones(9))),
    "empty blocks": ("bsr", put("data", np.ones((9, 0, 0)))),
    "few rows": ("coo", put("coords", (np.zeros(2, "i4"), np.zeros(3, "i4")))),
    "three coordinates": ("coo", put("coords", (np.zeros(3, "i4"),) * 3)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_matrix_whose_parts_do_not_fit_is_refused(case):
    with pytest.raises(ValueError, match=r"^X is a sparse matrix whose .* do not fit each other"):
        kmeans(broken(*BROKEN[case]), 2)


def test_masked_values_are_refused():
    made = matrix()
    made.data = np.ma.masked_array(made.data, made.data > 0.5)
    with pytest.raises(ValueError, match=r"^X\.data\[\d+\] is masked"):
        kmeans(made, 2)


def test_integers_that_float64_rounds_are_warned_of():
    with pytest.warns(
        UserWarning, match=r"X\.data\[0\] is 1152921504606846977, which float64 rounds"
    ):
        kmeans(sparse.csr_array([[2**60 + 1, 0], [2**60, 4]]), 1)


@pytest.mark.parametrize("part", ["data", "indices", "indptr"])
def test_a_file_that_was_cut_short_is_refused_and_not_read(part, tmp_path):
    made = matrix()
    np.save(tmp_path / "part.npy", np.resize(getattr(made, part), 10_000))
    setattr(made, part, np.load(tmp_path / "part.npy", mmap_mode="r"))
    os.truncate(tmp_path / "part.npy", 200)
    with pytest.raises(ValueError, match=r"^X needs the first \d+ bytes of .*has become shorter"):
        kmeans(made, 2)


def test_three_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"^X has 3 dimensions and must have 2.*X\.shape\[-1\]"):
        kmeans(sparse.coo_array(np.ones((2, 3, 4))), 2)


def test_the_command_line_names_kernels_that_take_sparse_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sparse.save_npz("X.npz", sparse.csr_matrix(matrix()))
    assert cli.main(["fit", "X.npz", "-k", "2", "--kernel", "numba-tiled"]) == 2
    said = capsys.readouterr().err
    assert "--kernel numba-tiled takes no sparse rows, and X.npz has them; choose one of " in said
    sparse.save_npz("zeros.npz", sparse.csr_matrix((3, 2)))
    assert cli.main(["fit", "zeros.npz", "-k", "2", "--metric", "cosine"]) == 2
    assert "or use --metric euclidean" in capsys.readouterr().err
