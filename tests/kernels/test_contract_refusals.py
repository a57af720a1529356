"""Compiled extension modules check what they are given: they never read or write out of bounds.

A binding that converts an argument by itself would fill a converted copy of an output and lose
the result without a word, so everything but the exact array is refused and nothing is written.
"""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

import numpy as np
import pytest

from kmeans_lab.registry import KERNELS
from tests.support.helpers import prepared, whole_numbers


def is_extension(name):
    """Say whether a kernel is an extension module (or one that was not built); no import."""
    spec = find_spec(KERNELS[name].module)
    return spec is None or str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES))


EXTENSIONS = [name for name in KERNELS if is_extension(name)]

N, K, D = 6, 3, 4


def strided(array):
    """Return equal values, every second element of a larger array."""
    larger = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    larger[..., ::2] = array
    return larger[..., ::2]


def locked(array):
    array.flags.writeable = False
    return array


def swapped(array):
    return array.astype(array.dtype.newbyteorder())


def arguments(dtype):
    return {
        "rows": whole_numbers(1, (N, D), dtype=dtype),
        "centers": whole_numbers(2, (K, D), dtype=dtype),
        "labels": np.array([0, 1, 2, 0, 1, 2], np.int32),
        "sums": np.full((K, D), 5.0),
        "counts": np.full(K, 5),
    }


#: What is done to one argument, and to which.
WRONG_INPUTS = {
    "one feature more": ("centers", lambda a: np.zeros((K, D + 1), a.dtype)),
    "one dimension": ("centers", lambda a: a[0]),
    "three dimensions": ("centers", lambda a: a[None]),
    "the other float": ("centers", lambda a: a.astype("f4" if a.itemsize == 8 else "f8")),
    "integers": ("centers", lambda a: a.astype(f"i{a.itemsize}")),
    "Fortran order": ("centers", np.asfortranarray),
    "strides": ("centers", strided),
    "foreign bytes": ("centers", swapped),
}
WRONG_ROWS = {
    "one row more": ("rows", lambda a: np.zeros((N + 1, D), a.dtype)),
    "one row less": ("rows", lambda a: a[:-1]),
    "one feature less": ("rows", lambda a: np.ascontiguousarray(a[:, 1:])),
    "flat rows": ("rows", lambda a: a.ravel()),
    "half": ("rows", lambda a: a.astype("f2")),
    "integer rows": ("rows", lambda a: a.astype(f"i{a.itemsize}")),
    "Fortran rows": ("rows", np.asfortranarray),
    "strided rows": ("rows", strided),
    "foreign rows": ("rows", swapped),
    "complex rows": ("rows", lambda a: a.astype(complex)),
}
WRONG_LABELS = {
    "one label more": ("labels", lambda a: np.zeros(N + 1, np.int32)),
    "no label": ("labels", lambda a: a[:0]),
    "64-bit labels": ("labels", lambda a: a.astype(np.int64)),
    "unsigned labels": ("labels", lambda a: a.astype(np.uint32)),
    "float labels": ("labels", lambda a: a.astype(np.float32)),
    "strided labels": ("labels", strided),
    "foreign labels": ("labels", swapped),
    "a column of labels": ("labels", lambda a: a[:, None]),
}
WRONG_TOTALS = {
    "one sum more": ("sums", lambda a: np.zeros((K + 1, D))),
    "narrow sums": ("sums", lambda a: a[:, :-1].copy()),
    "float32 sums": ("sums", lambda a: a.astype(np.float32)),
    "Fortran sums": ("sums", np.asfortranarray),
    "strided sums": ("sums", strided),
    "foreign sums": ("sums", swapped),
    "flat sums": ("sums", lambda a: a.ravel()),
    "locked sums": ("sums", locked),
    "one count less": ("counts", lambda a: a[:-1]),
    "32-bit counts": ("counts", lambda a: a.astype(np.int32)),
    "float counts": ("counts", lambda a: a.astype(np.float64)),
    "strided counts": ("counts", strided),
    "foreign counts": ("counts", swapped),
    "locked counts": ("counts", locked),
}
TO_ASSIGN = WRONG_INPUTS | WRONG_ROWS | WRONG_LABELS | {"locked labels": ("labels", locked)}
TO_UPDATE = WRONG_ROWS | WRONG_LABELS | WRONG_TOTALS


def spoil(dtype, wrong):
    """Return the arguments with one of them spoilt."""
    name, change = wrong
    given = arguments(dtype)
    given[name] = change(given[name])
    return given


def refuses(function, outputs, *given):
    """The call raises and leaves its outputs as they were."""
    before = [output.copy() for output in outputs]
    with pytest.raises((TypeError, ValueError)):
        function(*given)
    for output, copy in zip(outputs, before, strict=True):
        np.testing.assert_array_equal(output, copy)


@pytest.mark.parametrize("wrong", TO_ASSIGN)
@pytest.mark.kernels(*EXTENSIONS)
def test_assign_refuses(kernel, dtype, wrong):
    given = spoil(dtype, TO_ASSIGN[wrong])
    labels = given["labels"]

    def assign(rows, *others):
        kernel.assign(prepared(kernel, rows, K), *others)  # where there is prepare, it may refuse

    refuses(assign, [labels], given["rows"], given["centers"], labels)


@pytest.mark.parametrize("wrong", TO_UPDATE)
@pytest.mark.kernels(*EXTENSIONS)
def test_update_refuses(kernel, dtype, wrong):
    given = spoil(dtype, TO_UPDATE[wrong])
    outputs = given["sums"], given["counts"]

    def update(rows, *others):
        kernel.update(prepared(kernel, rows, K), *others)  # where there is prepare, it may refuse

    refuses(update, outputs, given["rows"], given["labels"], *outputs)


@pytest.mark.parametrize("verb", ["assign", "update"])
@pytest.mark.kernels("cpp")
def test_what_is_refused_is_said_in_a_sentence(kernel, dtype, verb):
    assigning = verb == "assign"
    names = ("rows", "centers", "labels") if assigning else ("rows", "labels", "sums", "counts")
    for wrong in (TO_ASSIGN if assigning else TO_UPDATE).values():
        given = spoil(dtype, wrong)
        with pytest.raises((TypeError, ValueError)) as refusal:
            getattr(kernel, verb)(*(given[name] for name in names))
        said = str(refusal.value)
        assert said.startswith(f"{verb} needs") or "not writeable" in said
        assert "\n" not in said


def test_no_center_at_all_is_refused_by_every_kernel(kernel, dtype):
    given = arguments(dtype)
    for rows in (given["rows"], prepared(kernel, given["rows"], K)):
        with pytest.raises(ValueError, match=r"^assign needs at least one center$"):
            kernel.assign(rows, np.ones((0, D), dtype), given["labels"])


@pytest.mark.kernels(*EXTENSIONS)
def test_unspoilt_arguments_are_taken(kernel, dtype):
    """Or the refusals above would prove nothing."""
    given = arguments(dtype)
    rows = prepared(kernel, given["rows"], K)
    kernel.assign(rows, given["centers"], given["labels"])
    kernel.update(rows, given["labels"], given["sums"], given["counts"])
    assert given["counts"].sum() == 5 * K + N


def test_the_extensions_are_found_without_importing_them():
    assert {"cython", "cpp"} <= set(EXTENSIONS)
    assert "python" not in EXTENSIONS
