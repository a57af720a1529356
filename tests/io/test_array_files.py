"""Archives of arrays: .npz and .safetensors, what is chosen, and every refusal."""

import io
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from kmeans_lab import kmeans
from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.outputs import result_files

X = np.array([[0.0, 1.5], [2, -3], [4, 5]])


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refusal(path, kind=Refused, **options):
    with pytest.raises(kind) as caught:
        read_rows(Path(path), **options)
    return str(caught.value)


# --- which array ----------------------------------------------------------------------------

SAVE = {
    "a.npz": lambda arrays: np.savez("a.npz", **arrays),
    "a.safetensors": lambda arrays: save_file(arrays, "a.safetensors"),
}
each = pytest.mark.parametrize("path", SAVE)


@each
@pytest.mark.parametrize("kind", ["f8", "f4", "i8", "u8", "i2", "u1", "?"])
def test_the_only_matrix_is_read_as_it_is(path, kind):
    rows = X.astype(kind)
    SAVE[path]({"y": np.arange(3), "rows": rows, "images": np.zeros((2, 2, 2))})
    np.testing.assert_array_equal(read_rows(Path(path)), rows, strict=True)


@each
def test_one_of_several_matrices_is_read_by_its_name(path):
    SAVE[path]({"a": X, "b": X + 1, "c": X[0]})
    np.testing.assert_array_equal(read_rows(Path(path), array="b"), X + 1)
    assert refusal(path) == (
        f"{path} holds 2 matrices and one is read ('a' (3 × 2), 'b' (3 × 2), 'c' (2)); choose it "
        "with --array, like --array a"
    )
    why = f"{path} has no array 'd'; it has 'a' (3 × 2), 'b' (3 × 2), 'c' (2)"
    assert refusal(path, array="d") == why


@each
def test_what_holds_no_matrix_is_refused(path):
    SAVE[path]({"a": X[0], "b": np.zeros((2, 2, 2))})
    assert refusal(path) == (
        f"{path} holds no matrix and must hold one, (n_samples, n_features); it has 'a' (2), "
        "'b' (2 × 2 × 2)"
    )
    SAVE[path]({"a": X[0]})
    assert refusal(path).startswith(f"{path}: X has 1 dimension and must have 2")
    assert refusal(path, array="a").startswith(f"{path}: X has 1 dimension and must have 2")
    SAVE[path]({})
    why = f"{path} holds no array and must hold one; check what wrote it"
    assert refusal(path) == refusal(path, array="a") == why


@each
def test_of_many_arrays_some_are_listed(path):
    SAVE[path]({f"{'layer' * 10}{i:02}": X for i in range(30)})
    assert len(refusal(path)) < 700
    assert ", …)" in refusal(path)


@each
def test_values_are_checked(path):
    SAVE[path]({"a": np.array([[1.0], [np.inf]])})
    assert refusal(path).startswith(f"{path}: X[1, 0] is inf and every value must be finite")


@each
@pytest.mark.parametrize("kept", [1, 4, 7, 30, 100, -1])
def test_a_file_cut_short_is_refused(path, kept):
    SAVE[path]({"a": X})
    Path(path).write_bytes(Path(path).read_bytes()[:kept])
    remedy = re.escape(f"{path} is truncated or damaged (") + r".+\); write it again with "
    otherwise = r"a\.npz is not an \.npz archive; write it with numpy\.savez"
    assert re.fullmatch(f"{remedy}(numpy.savez|safetensors)|{otherwise}", refusal(path))


@each
def test_what_is_neither_is_refused(path):
    for content in (b"", b"1,2\n", os.urandom(100)):
        Path(path).write_bytes(content)
        refusal(path)


# --- .npz -----------------------------------------------------------------------------------


def test_compressed_archives_and_the_output_of_a_fit_are_read():
    np.savez_compressed("a.npz", X)
    np.testing.assert_array_equal(read_rows(Path("a.npz")), X)
    result = kmeans(X, 2, random_state=0)
    Path("fit.npz").write_bytes(next(iter(result_files(Path("fit.npz"), result))))
    np.testing.assert_array_equal(read_rows(Path("fit.npz")), result.centers)
    with zipfile.ZipFile("a.npz", "a") as archive:
        archive.writestr("notes.txt", "no array")
    np.testing.assert_array_equal(read_rows(Path("a.npz")), X)


class Planted:
    """What a pickle would run."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("names", [("a",), ("format", "shape", "data")])
def test_a_pickle_is_never_executed(names):
    objects = np.array([[Planted(), 1]])
    np.savez("a.npz", allow_pickle=True, **dict.fromkeys(names, objects))
    refusal("a.npz", array=names[0])
    refusal("a.npz")
    np.save("a.npy", objects, allow_pickle=True)
    refusal("a.npy")
    assert not Path("executed").exists()
    np.load("a.npy", allow_pickle=True)
    assert Path("executed").exists()  # the trap is one


def test_objects_are_refused():
    np.savez("a.npz", allow_pickle=True, names=np.array([["a", 1]], dtype=object))
    why = "a.npz: array 'names' holds Python objects and must hold numbers; save array.astype"
    assert refusal("a.npz").startswith(why)


@pytest.mark.parametrize("n_rows", [4, 2**50])
def test_a_header_that_promises_more_than_there_is(n_rows):
    header = {"descr": "<f8", "fortran_order": False, "shape": (n_rows, 2)}
    np.lib.format.write_array_header_1_0(member := io.BytesIO(), header)
    content = member.getvalue() + X.tobytes()
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    promised = f"a.npy has {len(content)} bytes and promises {n_rows * 16}"
    reason = promised if n_rows > 4 else "EOF: reading array data, expected 64 bytes got 48"
    assert refusal("a.npz") == (
        f"a.npz is truncated or damaged ({reason}); write it again with numpy.savez"
    )


# --- .safetensors ---------------------------------------------------------------------------


def test_half_precision_becomes_float32():
    save_file({"a": X.astype("f2")}, "a.safetensors")
    np.testing.assert_array_equal(read_rows(Path("a.safetensors")), X.astype("f4"), strict=True)


def write_tensors(tensors):
    """Write tensors of dtypes that NumPy has not: {name: (dtype, shape, bytes)}."""
    header, offset = {}, 0
    for name, (dtype, shape, content) in tensors.items():
        offsets = [offset, offset := offset + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    content = b"".join(content for _, _, content in tensors.values())
    Path("a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content)


def test_bfloat16_becomes_float32():
    words = np.random.default_rng(0).integers(0x3000, 0x4F80, (4, 2)).astype("<u2")
    words[0] |= 0x8000
    words[1, 0] = 0
    # 8 bits of exponent and 7 of fraction, by the definition.
    exponent, fraction = (words >> 7 & 255).astype(float), (words & 127) / 128
    size = np.where(words << 1, (1 + fraction) * 2.0 ** (exponent - 127), 0)
    expected = np.where(words >> 15, -size, size).astype("f4")
    write_tensors({"y": ("U8", [3], b"abc"), "a": ("BF16", [4, 2], words.tobytes())})
    np.testing.assert_array_equal(read_rows(Path("a.safetensors")), expected, strict=True)


@pytest.mark.parametrize(("kind", "size"), [("F8_E4M3", 1), ("C64", 8)])
def test_other_dtypes_are_refused(kind, size):
    write_tensors({"a": (kind, [2, 2], bytes(4 * size))})
    assert refusal("a.safetensors") == (
        f"a.safetensors: tensor 'a' has dtype {kind} and must have BF16 or one of F64, F32, F16, "
        "I64, I32, I16, I8, U64, U32, U16, U8, BOOL; save tensor.float()"
    )


def test_tensors_beyond_the_file_are_refused():
    write_tensors({"a": ("F32", [2**40, 2], b"1234")})
    assert refusal("a.safetensors").startswith("a.safetensors is truncated or damaged (")
    write_tensors({"a": ("BF16", [2, 2], b"1234")})
    assert refusal("a.safetensors").startswith("a.safetensors is truncated or damaged (")


def test_without_safetensors_the_sentence_says_what_to_install(monkeypatch):
    save_file({"a": X}, "a.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert refusal("a.safetensors", kind=MissingExtra) == (
        "reading a.safetensors needs the package safetensors, which is not installed; "
        "pip install 'kmeans-lab[safetensors]'"
    )
