"""Sparse matrices whose arrays do not belong together, given to everything that takes X.

Each follows from a seed. A sentence refuses it, as a ``ValueError`` or ``TypeError``, or else it is
clustered: nothing else may happen. ``python -m tests.support.damaged FIRST LAST`` tries the seeds
from FIRST on, and ends at the one that gave anything else.
"""

import faulthandler
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from kmeans_lab import KMeans, MiniBatchKMeans, kmeans
from kmeans_lab.registry import SPARSE

#: What a matrix consists of, by format.
PARTS = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
}
_TYPES = ("float64", "float32", "float16", "int64", "int32", "uint8", "uint64", "bool", ">f8")
_INDICES = ("int32", "int64", "int16", "uint32", "uint64", ">i4", "float64", "bool")
_VALUES = (np.nan, np.inf, -np.inf, 1e300, 1e-300, -0.0, 5e-324)
_NUMBERS = (-1, -(2**31), 2**31 - 1, 2**31, 2**40, -(2**63), 2**63 - 1)


def damaged(seed: int) -> tuple[str, Any]:
    """Return what was done to a small matrix, and the matrix; some are as they should be."""
    rng = np.random.default_rng(seed)
    form = str(rng.choice(list(PARTS)))
    shape = tuple(int(size) for size in rng.integers(1, 12, 2) * (2 if form == "bsr" else 1))
    whole = rng.integers(-3, 4, shape) * (rng.random(shape) < rng.random())
    made = sparse.csr_array(whole.astype(float)).asformat(form)
    done = [f"{form} {shape}"]
    for _ in range(rng.integers(0, 4)):
        part = str(rng.choice(PARTS[form]))
        found = np.array(getattr(made, part))
        try:
            kind, array = _change(rng, part, found)
            setattr(made, part, array)
        except (ValueError, TypeError, AttributeError):
            continue  # NumPy or SciPy has seen it
        done.append(f"{part}: {kind}")
    for flag in ("has_sorted_indices", "has_canonical_format"):
        if form != "coo" and rng.random() < 0.3:
            setattr(made, flag, True)  # it may be a lie
    return ", ".join(done), made


def _change(rng: np.random.Generator, part: str, array: Any) -> tuple[str, Any]:
    """Return what is done to an array, and the changed copy."""
    kind = str(rng.choice(["value", "type", "cut", "longer", "order", "empty", "shape", "object"]))
    if kind == "value" and array.size and array.dtype != object:
        values = _VALUES if part == "data" else (*_NUMBERS, *range(-2, 14))
        if part != "data":
            array = array.astype(np.int64)
        array.flat[rng.integers(array.size)] = values[rng.integers(len(values))]
    elif kind == "type" and array.dtype != object:
        types = _TYPES if part == "data" else _INDICES
        array = array.astype(types[rng.integers(len(types))])
    elif kind == "cut":
        array = array[: rng.integers(len(array) + 1)]
    elif kind == "longer":
        array = np.concatenate([array, array[: rng.integers(len(array) + 1)]])
    elif kind == "order":
        array = rng.permutation(array)
    elif kind == "empty":
        array = array[:0]
    elif kind == "shape":
        array = array.reshape(*array.shape, 1)
    elif kind == "object":
        array = array.astype(object)
    return kind, array


def sound(made: Any) -> bool:
    """Return whether the arrays of a matrix belong together: each value has a place, and is one."""
    rows, columns = made.shape
    data = np.asarray(made.data)
    if data.dtype.kind not in "buif" or not np.isfinite(data).all():
        return False
    if made.format == "coo":
        places = zip(made.row.tolist(), made.col.tolist(), strict=True)
        return all(0 <= i < rows and 0 <= f < columns for i, f in places)
    height, width = made.blocksize if made.format == "bsr" else (1, 1)
    major, minor = rows // height, columns // width
    if made.format == "csc":
        major, minor = minor, major
    starts, places = made.indptr.tolist(), made.indices.tolist()
    return (
        len(starts) == major + 1
        and starts == sorted(starts)
        and starts[0] == 0
        and starts[-1] <= len(places) == len(data)
        and all(0 <= place < minor for place in places[: starts[-1]])
    )


def feed(seed: int) -> int:
    """Give a matrix to everything; return how many took it.

    ``AssertionError`` where one takes what is damaged, or refuses without a sentence.
    """
    told, made = damaged(seed)
    good = sparse.csr_array(np.eye(made.shape[1] + 1)[:, : made.shape[1]])
    model = KMeans(1, n_init=1).fit(good)
    calls: dict[str, Callable[[], Any]] = {
        "kmeans": lambda: kmeans(made, 1 + seed % 2, kernel=SPARSE[seed % len(SPARSE)], max_iter=3),
        "KMeans.fit": lambda: KMeans(1 + seed % 3, n_init=1, max_iter=3).fit(made),
        "KMeans.predict": lambda: model.predict(made),
        "KMeans.transform": lambda: model.transform(made),
        "MiniBatchKMeans.partial_fit": lambda: MiniBatchKMeans(1).partial_fit(made),
    }
    taken = 0
    for name, call in calls.items():
        try:
            call()
            assert sound(made), f"seed {seed}, {told}: {name} took it"
            taken += 1
        except (ValueError, TypeError) as error:
            said = str(error)
            assert len(said.splitlines()) == 1, f"seed {seed}, {told}: {name} said {said!r}"
        except (AssertionError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise AssertionError(f"seed {seed}, {told}: {name} raised {error!r}") from error
    assert taken or ":" in told, f"seed {seed}, {told}: nothing took it"
    return taken


def main(first: int, last: int) -> None:
    """Try the seeds of a range, and print how many calls were answered."""
    faulthandler.enable()
    warnings.simplefilter("ignore")  # of few distinct rows, for one
    taken = sum(feed(seed) for seed in range(first, last))
    print(f"{taken} of {5 * (last - first)} calls took what they were given")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
