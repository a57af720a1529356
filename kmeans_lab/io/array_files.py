"""Read files of arrays: .npy of NumPy, .npz of NumPy and SciPy, and .safetensors.

Nothing in them is ever executed: pickled objects are refused.
"""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.io.errors import MissingExtra, Refused, refusing_damage, short
from kmeans_lab.io.sparse_files import read_sparse_npz

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

Shapes = Mapping[str, tuple[int, ...]]

ARCHIVE_SUFFIXES = (".npz", ".safetensors")

#: What SciPy's ``save_npz`` writes for every kind of sparse matrix.
_SPARSE = {"format", "shape", "data"}
#: Versions of the format .npy that hold numbers, which need no names outside Latin-1.
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
#: The dtypes of safetensors that NumPy has, complex numbers left out.
_TENSORS = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
_LISTED = 10  # arrays that a sentence names


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of an .npy file."""
    with path.open("rb") as file:
        magic = file.read(6)
        file.seek(0)
        if magic.startswith(b"PK"):
            raise Refused(f"{path} is an .npz archive by another name; call it {path.stem}.npz")
        if magic != b"\x93NUMPY":
            raise Refused(f"{path} is not an .npy file; write it with numpy.save")
        with refusing_damage(path, "write it again with numpy.save"):
            return _array(f"{path}", file)


def _array(what: str, file: IO[bytes]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        why = "holds Python objects and must hold numbers; save array.astype(float)"
        raise Refused(f"{what} {why}") from None
    return array


def read_npz(path: Path, array: str | None = None) -> Any:
    """Return the array with this name, by default the only matrix; or what SciPy saved, as CSR."""
    from zipfile import ZipFile

    with path.open("rb") as file:
        if not file.read(4).startswith((b"PK\x03\x04", b"PK\x05\x06")):
            raise Refused(f"{path} is not an .npz archive; write it with numpy.savez")
    with refusing_damage(path, "write it again with numpy.savez"), ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        shapes = {info.filename[:-4]: _shape(archive, info) for info in members}
        if array is None and shapes.keys() >= _SPARSE:
            return read_sparse_npz(path)
        name = choose(path, shapes, array)
        with archive.open(f"{name}.npy") as member:
            return _array(f"{path}: array {short(name)!r}", member)


def _shape(archive: "ZipFile", info: "ZipInfo") -> tuple[int, ...]:
    """Return the shape of an array; ``ValueError`` where it promises more than there is."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version not in _HEADERS:
            raise ValueError(f"{info.filename} has version {version} of the format .npy")
        shape, _, dtype = _HEADERS[version](member)
    promised = prod(shape) * dtype.itemsize
    if promised > info.file_size and not dtype.hasobject:
        raise ValueError(f"{info.filename} has {info.file_size} bytes and promises {promised}")
    return shape


def read_safetensors(path: Path, array: str | None = None) -> NDArray[Any]:
    """Return the tensor with this name, by default the only matrix; 16-bit floats as float32."""
    try:
        from safetensors import safe_open
    except ModuleNotFoundError:
        raise MissingExtra(f"reading {path} needs", "safetensors", "safetensors") from None
    # Read and not mapped: a mapped file that is cut short meanwhile would end the process.
    with (
        refusing_damage(path, "write it again with safetensors"),
        safe_open(path, framework="np", backend="pread") as file,
    ):
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        shapes = {name: tuple(part.get_shape()) for name, part in parts.items()}
        name = choose(path, shapes, array)
        kind = parts[name].get_dtype()
        if kind == "BF16":
            return _bfloat16(path, name).reshape(shapes[name])
        if kind not in _TENSORS:
            raise Refused(
                f"{path}: tensor {name!r} has dtype {kind} and must have BF16 or one of "
                f"{', '.join(_TENSORS)}; save tensor.float()"
            )
        values: NDArray[Any] = file.get_tensor(name)
        return values.astype(np.float32) if kind == "F16" else values


def _bfloat16(path: Path, name: str) -> NDArray[np.float32]:
    """Return the values of a bfloat16 tensor, which are the upper halves of float32.

    NumPy has no such dtype, so that safetensors, which has checked the header, cannot return them.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        begin, end = json.loads(file.read(length))[name]["data_offsets"]
        file.seek(8 + length + begin)
        upper = np.fromfile(file, "<u2", (end - begin) // 2)
    return (upper.astype(np.uint32) << 16).view(np.float32)


def choose(path: Path, shapes: Shapes, wanted: str | None) -> str:
    """Return the name of the array that is wanted, by default that of the only matrix."""
    names = [f"{short(name)!r} {_size(shape)}" for name, shape in shapes.items()]
    listed = ", ".join(names[:_LISTED] + ["…"] * (len(names) > _LISTED))
    if not shapes:
        raise Refused(f"{path} holds no array and must hold one; check what wrote it")
    if wanted is not None:
        if wanted not in shapes:
            raise Refused(f"{path} has no array {short(wanted)!r}; it has {listed}")
        return wanted
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    candidates = matrices or list(shapes)
    if len(candidates) == 1:
        return candidates[0]
    if matrices:
        raise Refused(
            f"{path} holds {len(matrices)} matrices and one is read ({listed}); choose it with "
            f"--array, like --array {short(matrices[0])}"
        )
    raise Refused(
        f"{path} holds no matrix and must hold one, (n_samples, n_features); it has {listed}"
    )


def _size(shape: tuple[int, ...]) -> str:
    return f"({' × '.join(map(str, shape))})"
