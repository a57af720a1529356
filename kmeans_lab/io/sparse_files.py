"""Read the sparse matrices that SciPy saves as .npz, and check those that come from any file.

SciPy is imported when there is such a file. What is sparse stays so.
"""

from pathlib import Path
from typing import Any

from kmeans_lab import checks
from kmeans_lab.io.errors import MissingExtra, Refused, refusing_damage

#: Rows beyond a million that one stored value may stand for: a row without any takes memory, too.
_EMPTY_ROWS = 1000


def scipy_sparse(path: Path) -> Any:
    """Return ``scipy.sparse``; ``MissingExtra`` where there is none."""
    try:
        import scipy.sparse
    except ModuleNotFoundError:
        raise MissingExtra(f"reading {path} needs", "scipy", "scipy") from None
    return scipy.sparse


def read_sparse_npz(path: Path) -> Any:
    """Return what ``scipy.sparse.save_npz`` wrote as a ``csr_array``."""
    sparse = scipy_sparse(path)
    with refusing_damage(path, "write it again with scipy.sparse.save_npz"):
        return compressed(path, sparse.load_npz(path))


def compressed(path: Path, matrix: Any) -> Any:
    """Return a sparse matrix of any format as a ``csr_array`` whose indices are in range."""
    if matrix.ndim != 2:
        raise Refused(f"{path} has {matrix.ndim} dimension and must have 2; save a matrix")
    if hasattr(matrix, "indptr"):  # where indices are out of range, conversions read elsewhere
        matrix.check_format(full_check=True)
        if (matrix.indptr[1:] < matrix.indptr[:-1]).any():  # not looked at where the last is 0
            raise ValueError("index pointer values must not decrease")
    n_rows, n_values = matrix.shape[0], matrix.nnz
    if matrix.format != "csr" and n_rows > _EMPTY_ROWS * n_values + 10**6:
        raise Refused(
            f"{path} has {n_rows} rows and {n_values} stored values, so that nearly all rows are "
            f"empty, and must have one for every {_EMPTY_ROWS} rows; leave out empty rows"
        )
    rows = scipy_sparse(path).csr_array(matrix)
    try:
        checks.numbers("X", rows.data, exact=False)
    except TypeError as error:
        raise Refused(f"{path}: {error}") from None
    return rows
