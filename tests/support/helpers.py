"""Data sets, comparisons and the question whether a kernel can be tested: shared by all tests."""

import ctypes
import mmap
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kmeans_lab.isolation.availability import state_of
from kmeans_lab.registry import KERNELS, load_kernel
from kmeans_lab.result import KMeansResult

ROOT = Path(__file__).parents[2]
#: Rows enough for five chunks of the driver, so that several workers have work.
FIVE_CHUNKS = 12_000


def require_ready(name: str, required: str = "available") -> None:
    """Skip the test of an unavailable kernel, or fail it where all are required; broken fails."""
    state, why = state_of(name)
    if state == "broken" or (state == "unavailable" and required == "all"):
        pytest.fail(f"kernel {name!r} is {state}: {why}", pytrace=False)
    if state == "unavailable":
        pytest.skip(why)


def force_isa(monkeypatch: pytest.MonkeyPatch, name: str, isa: str) -> None:
    """Let a kernel use an instruction set; skip the test where processor or build has it not."""
    monkeypatch.setenv("KMEANS_LAB_ISA", isa)
    kernel: Any = load_kernel(name)
    try:
        kernel.isa()
    except ValueError as error:  # no other build can make up for the processor
        pytest.skip(str(error))


def ready_kernels() -> list[str]:
    """Return the names of all kernels that can be tested here; none is broken."""
    states = {name: state_of(name)[0] for name in KERNELS}
    assert "broken" not in states.values(), states
    return [name for name, state in states.items() if state == "ready"]


def prepared(kernel: object, X: Any, n_clusters: int) -> Any:
    """Return the rows in the form that the kernel's other functions take."""
    prepare = getattr(kernel, "prepare", None)
    return X if prepare is None else prepare(X, n_clusters, 1)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous view that cannot be written to, as kernels are given their inputs."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def compile_audit(source: str, library: Path, *flags: str, headers: Path = ROOT / "cpp") -> Path:
    """Compile a C++ file of the checkout, with its audits, into a library; return its path."""
    command = ["g++", "-std=c++17", "-shared", "-fPIC", "-pthread", "-Wno-psabi", "-DLAB_AUDIT"]
    command += ['-DKMEANS_LAB_FLAGS="audit"', *flags]
    command += [f"-I{it}" for it in (headers, sysconfig.get_path("include"))]
    command += [str(ROOT / source), "-o", str(library)]
    subprocess.run(command, check=True, timeout=600)
    return library


def before_a_wall(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that ends where a page begins that nobody may touch.

    It takes Linux. Whoever reads or writes beyond the copy ends the process.
    """
    pages = -(-max(array.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    room = mmap.mmap(-1, pages + mmap.PAGESIZE)
    wall = ctypes.addressof(ctypes.c_char.from_buffer(room)) + pages
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(wall), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    place = np.frombuffer(room, np.uint8, array.nbytes, pages - array.nbytes)
    copy = place.view(array.dtype).reshape(array.shape)  # it keeps the room
    copy[...] = array
    return copy


def whole_numbers(
    seed: int, shape: tuple[int, ...], low: int = -8, high: int = 8, dtype: str = "float64"
) -> NDArray[Any]:
    """Return small random whole numbers: with them every formulation is exact."""
    return np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(dtype)


def cloud(seed: int, n_samples: int, n_features: int, dtype: str = "float64") -> NDArray[Any]:
    """Return rows without clusters: Lloyd's loop takes long, and labels change to the end."""
    X = np.random.default_rng(seed).normal(size=(n_samples, n_features))
    return X.astype(dtype)


def some_rows(X: NDArray[Any], n_clusters: int, seed: int = 0) -> NDArray[Any]:
    """Return distinct rows to start from."""
    return X[np.random.default_rng(seed).choice(len(X), n_clusters, replace=False)]


def assert_same_fit(result: KMeansResult, expected: KMeansResult) -> None:
    """Two fits are equal in every bit that does not measure time."""
    np.testing.assert_array_equal(result.labels, expected.labels)
    assert result.centers.dtype == expected.centers.dtype
    assert result.centers.tobytes() == expected.centers.tobytes()
    assert result.inertia == expected.inertia
    assert (result.n_iter, result.stop) == (expected.n_iter, expected.stop)
    assert result.converged == expected.converged
    assert trace(result) == trace(expected)


def trace(result: KMeansResult) -> list[tuple[int, float, int]]:
    return [(seen.n_iter, seen.inertia, seen.changed) for seen in result.history]
