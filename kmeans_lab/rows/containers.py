"""Rows of arrays that lie in files with others: HDF5, zarr, safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.io.array_files import choose
from kmeans_lab.io.errors import MissingExtra, Refused, refusing_damage
from kmeans_lab.rows.files import RawRows
from kmeans_lab.rows.state import FileState

_TENSORS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class Hdf5Rows:
    """Rows of a dataset of an HDF5 file.

    Parameters
    ----------
    path : path-like
    name : str, optional
        The dataset's; by default that of the only matrix.

    Raises
    ------
    Refused
        The file is not there or damaged, or there is no such matrix of numbers.
    MissingExtra
        h5py is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        self.path = Path(path)
        self._state = FileState(self.path)
        shapes: dict[str, tuple[int, ...]] = {}

        def note(at: str, item: Any) -> None:
            if hasattr(item, "dtype"):
                shapes[at] = tuple(item.shape)

        with self._file() as file:
            file.visititems(note)
            self._dataset = choose(self.path, shapes, name)
            found = file[self._dataset]
            self.shape, self.dtype = tuple(found.shape), np.dtype(found.dtype)
        self.name = f"{path}: {self._dataset}"

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop."""
        with self._file() as file:
            return np.asarray(file[self._dataset][start:stop])

    def check(self) -> None:
        """Raise ``Refused`` where the file is not the one that was opened."""
        self._state.check()

    def _file(self) -> Any:
        try:
            import h5py
        except ModuleNotFoundError:
            raise MissingExtra(f"reading {self.path} needs", "h5py", "hdf5") from None
        with refusing_damage(self.path, "write it again with h5py"):
            return h5py.File(self.path, "r")


class ZarrRows:
    """Rows of an array of zarr, or of the only matrix of a group.

    Parameters
    ----------
    path : path-like
    name : str, optional
        The array's within a group.

    Raises
    ------
    Refused
        There is no such array, or it is damaged.
    MissingExtra
        zarr is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        self.path, self.name = Path(path), str(path)
        try:
            import zarr
        except ModuleNotFoundError:
            raise MissingExtra(f"reading {path} needs", "zarr", "zarr") from None
        if not self.path.is_dir():
            raise Refused(f"there is no folder {path}; check the path")
        with refusing_damage(self.path, "write it again with zarr"):
            found: Any = zarr.open(str(self.path), mode="r")
            arrays: Mapping[str, Any] = dict(found.arrays()) if hasattr(found, "arrays") else {}
        if arrays or not hasattr(found, "shape"):
            shapes = {at: tuple(array.shape) for at, array in arrays.items()}
            found = arrays[choose(self.path, shapes, name)]
        self._array = found
        self.shape, self.dtype = tuple(found.shape), np.dtype(found.dtype)

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop."""
        with refusing_damage(self.path, "write it again with zarr"):
            return np.asarray(self._array[start:stop])


class SafetensorsRows(RawRows):
    """Rows of a tensor of a safetensors file: of float64, float32, float16 or bfloat16.

    Parameters
    ----------
    path : path-like
    name : str, optional
        The tensor's; by default that of the only matrix.

    Raises
    ------
    Refused
        The file is not there or damaged, or there is no such tensor.
    MissingExtra
        safetensors is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        try:
            from safetensors import safe_open
        except ModuleNotFoundError:
            raise MissingExtra(f"reading {path} needs", "safetensors", "safetensors") from None
        FileState(Path(path))
        with (
            refusing_damage(Path(path), "write it again with safetensors"),
            safe_open(path, framework="np", backend="pread") as file,  # which checks the header
        ):
            parts = {it: file.get_slice(it) for it in file.keys()}  # noqa: SIM118 (no mapping)
            shapes = {it: tuple(part.get_shape()) for it, part in parts.items()}
            name = choose(Path(path), shapes, name)
            kind = parts[name].get_dtype()
        if kind not in _TENSORS:
            raise Refused(
                f"{path}: tensor {name!r} has dtype {kind} and must have one of "
                f"{', '.join(_TENSORS)}; save tensor.float()"
            )
        if len(shapes[name]) != 2:
            raise Refused(
                f"{path}: tensor {name!r} has shape {shapes[name]} and must hold rows, "
                "(n_samples, n_features); save such a tensor"
            )
        with Path(path).open("rb") as raw:
            length = int.from_bytes(raw.read(8), "little")
            begin = json.loads(raw.read(length))[name]["data_offsets"][0]
        super().__init__(path, shapes[name], _TENSORS[kind], 8 + length + begin)
        self._brain = kind == "BF16"  # the upper halves of float32, which NumPy has not
        if self._brain:
            self.dtype = np.dtype(np.float32)

    def read(self, start: int, stop: int, /) -> NDArray[Any]:
        """Return rows from start to before stop."""
        return self._widened(super().read(start, stop))

    def take(self, numbers: NDArray[np.int64], /) -> NDArray[Any]:
        """Return rows of these numbers."""
        return self._widened(super().take(numbers))

    def _widened(self, rows: NDArray[Any]) -> NDArray[Any]:
        return (rows.astype(np.uint32) << 16).view(np.float32) if self._brain else rows
