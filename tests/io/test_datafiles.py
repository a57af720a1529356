"""Reading data files: what comes out, and every refusal in full."""

import io
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import MissingExtra, Refused

SUFFIXES = (
    ".csv, .tsv, .txt, .npy, .npz, .safetensors, .parquet, .arrow, .arrows, .feather, .mtx, "
    ".mtx.gz, .png, .jpg, .jpeg, .bmp, .gif, .tif, .tiff or .webp"
)


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, content):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Path(name)


def refusal(action, *arguments, kind=Refused):
    with pytest.raises(kind) as caught:
        action(*arguments)
    return str(caught.value)


# --- the file itself ------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_refused():
    assert refusal(read_rows, Path("a.csv")) == "there is no file a.csv; check the path"


def test_a_folder_and_a_device_are_refused():
    Path("a.csv").mkdir()
    Path("b.csv").symlink_to(os.devnull)
    why = refusal(read_rows, Path("a.csv"))
    assert why == "a.csv is a folder and must be a file; name a file in it"
    why = refusal(read_rows, Path("b.csv"))
    assert why == "b.csv is not a regular file; save the data to one first"


def test_a_path_through_a_file_and_one_too_long_are_refused():
    write("a.csv", "1\n")
    why = refusal(read_rows, Path("a.csv/b.csv"))
    expected = "a.csv/b.csv cannot be read (Not a directory); check the path and its permissions"
    assert why == expected
    why = refusal(read_rows, Path(300 * "x" + ".csv"))
    assert why.endswith(
        ".csv cannot be read (File name too long); check the path and its permissions"
    )


def test_a_file_without_permission_is_refused(monkeypatch):
    def denied(self, *_, **__):  # root may read everything: chmod would not show it
        raise PermissionError(13, "Permission denied", str(self))

    path = write("a.csv", "1\n")
    monkeypatch.setattr(Path, "open", denied)
    why = refusal(read_rows, path)
    assert why == "a.csv cannot be read (Permission denied); check the path and its permissions"


@pytest.mark.parametrize(("name", "suffix"), [("a.doc", ".doc"), ("a", ""), ("a.csv.gz", ".gz")])
def test_an_unknown_suffix_is_refused_with_the_choices(name, suffix):
    why = refusal(read_rows, write(name, "1\n"))
    assert why == f"{name} has the suffix {suffix!r} and must have {SUFFIXES}; convert it"


# --- .npy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float32", "float64", "int16"])
def test_npy_is_read_as_it_is(kind):
    X = np.arange(6, dtype=kind).reshape(3, 2)
    np.save("a.npy", X)
    np.testing.assert_array_equal(read_rows(Path("a.npy")), X, strict=True)


def npy_bytes(array, allow_pickle=False):
    np.save("whole.npy", array, allow_pickle=allow_pickle)
    return Path("whole.npy").read_bytes()


def npz_bytes():
    np.savez("whole.npz", a=np.eye(2))
    return Path("whole.npz").read_bytes()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (lambda: b"", "a.npy is not an .npy file; write it with numpy.save"),
        (lambda: b"1,2\n", "a.npy is not an .npy file; write it with numpy.save"),
        (npz_bytes, "a.npy is an .npz archive by another name; call it a.npz"),
        (
            lambda: npy_bytes(np.array([1, "x"], dtype=object), allow_pickle=True),
            "a.npy holds Python objects and must hold numbers; save array.astype(float)",
        ),
    ],
)
def test_what_is_not_an_array_is_refused(content, why):
    assert refusal(read_rows, write("a.npy", content())) == why


RULE = "and every value must be finite"


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (
            np.array([[1, 2], [np.nan, 3]]),
            rf"X\[1, 0\] is nan {RULE}; drop or fill such rows first",
        ),
        (np.array([[1, np.inf]], "f2"), rf"X\[0, 1\] is inf {RULE}; drop or fill such rows first"),
        (np.array([["a"]]), "X has dtype <U1 and must be numeric.+"),
        (np.array([[1j]]), "X has dtype complex128 and must be numeric.+"),
        (np.zeros((2, 2), [("a", "f8")]), "X has dtype .+ and must be numeric.+"),
        (np.array([["2024-01-01"]], "M8[D]"), r"X has dtype datetime64\[D\] and must be numeric.+"),
        (np.arange(3.0), "X has 1 dimension and must have 2.+"),
        (np.zeros((2, 2, 3)), "X has 3 dimensions and must have 2.+"),
        (np.float64(1), "X has 0 dimensions and must have 2.+"),
        (np.zeros((0, 3)), r"X has shape \(0, 3\) and must have at least one row.+"),
    ],
)
def test_what_kmeans_would_not_take_is_refused_with_the_file(array, why):
    np.save("a.npy", array)
    assert re.fullmatch(f"a.npy: {why}", refusal(read_rows, Path("a.npy")))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [">f8", "<f4", ">i2", "?", "f2", "u1"])
def test_any_order_of_numbers_and_bytes_is_read(kind, order):
    X = np.asarray([[1, 0], [0, 1], [1, 1]], dtype=kind, order=order)
    np.save("a.npy", X)
    np.testing.assert_array_equal(read_rows(Path("a.npy")), X, strict=True)


@pytest.mark.parametrize("kept", [7, 9, 40, 127, -1])
def test_an_array_cut_short_is_refused(kept):
    why = refusal(read_rows, write("a.npy", npy_bytes(np.eye(3))[:kept]))
    assert re.fullmatch(
        r"a\.npy is truncated or damaged \(.+\); write it again with numpy\.save", why, re.DOTALL
    )


TEXT, TABLES = ".csv, .tsv or .txt", ".csv, .tsv, .txt, .parquet, .arrow, .arrows or .feather"


@pytest.mark.parametrize(
    ("option", "value", "meant_for"),
    [
        ("skip_rows", 1, TEXT),
        ("delimiter", ";", TEXT),
        ("decimal", ",", TEXT),
        ("thousands", ",", TEXT),
        ("header", "no", TEXT),
        ("columns", ["1"], TABLES),
        ("drop_columns", ["1"], TABLES),
        ("array", "X", ".npz or .safetensors"),
    ],
)
def test_options_have_no_meaning_for_other_files(option, value, meant_for):
    np.save("a.npy", np.eye(2))
    with pytest.raises(Refused) as caught:
        read_rows(Path("a.npy"), **{option: value})
    assert str(caught.value) == (
        f"--{option.replace('_', '-')} has no meaning for a.npy: it is for {meant_for}; leave it "
        "out"
    )


def test_any_damage_to_a_header_is_a_refusal_or_an_array():
    whole, rng = npy_bytes(np.eye(3)), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(6, 80, size=3):
            damaged[place] = rng.integers(256)
        try:
            read_rows(write("a.npy", bytes(damaged)))
        except Refused:
            continue


def test_a_header_that_promises_anything_is_refused():
    np.lib.format.write_array_header_1_0(
        header := io.BytesIO(), {"descr": "<f8", "fortran_order": False, "shape": (2**50, 2)}
    )
    why = refusal(read_rows, write("a.npy", header.getvalue()))
    assert re.fullmatch(r"a.npy does not fit into memory \(.+\); use fewer rows or float32", why)


# --- images ---------------------------------------------------------------------------------

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10


def test_pixels_are_rows_of_red_green_blue():
    Image.fromarray(PIXELS).save("a.png")
    rows = read_rows(Path("a.png"))
    np.testing.assert_array_equal(rows, PIXELS.reshape(8, 3).astype(float), strict=True)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"])
def test_every_promised_image_format_is_read(suffix):
    Image.fromarray(np.full((2, 4, 3), 255, dtype=np.uint8)).save(f"a{suffix}")
    np.testing.assert_array_equal(read_rows(Path(f"a{suffix}")), np.full((8, 3), 255.0))


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "1", "CMYK"])
def test_other_modes_become_rgb(mode):
    image = Image.new("RGB", (2, 1), (255, 255, 255)).convert(mode)
    if mode == "RGBA":
        image.putalpha(0)  # left out, not blended
    image.save("a.tif")
    assert read_rows(Path("a.tif")).tolist() == [[255.0] * 3] * 2


def test_a_palette_with_transparency_keeps_its_colours():
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 6, 5, 4])
    image.putpixel((1, 0), 1)
    image.save("a.png", transparency=b"\x00\x80")
    assert read_rows(Path("a.png")).tolist() == [[9.0, 8.0, 7.0], [6.0, 5.0, 4.0]]


def test_what_is_not_an_image_is_refused():
    why = "a.png is damaged or not an image that Pillow can read; check or convert it"
    assert refusal(read_rows, write("a.png", "1,2\n")) == why
    noise = np.random.default_rng(0).integers(256, size=(40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save("whole.png")
    assert refusal(read_rows, write("a.png", Path("whole.png").read_bytes()[:2000])) == why


def test_an_image_of_absurd_size_is_refused(monkeypatch):
    Image.fromarray(PIXELS).save("a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)  # a warning; an error from twice as many on
    assert len(read_rows(Path("a.png"))) == 8
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3)
    why = refusal(read_rows, Path("a.png"))
    assert re.fullmatch(r"a\.png is too large an image \(.+\); scale it down", why)


def test_without_pillow_an_image_says_what_to_install(monkeypatch):
    Image.fromarray(PIXELS).save("a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert refusal(read_rows, Path("a.png"), kind=MissingExtra) == (
        "reading a.png needs the package pillow, which is not installed; "
        "pip install 'kmeans-lab[cli]'"
    )


def test_a_program_in_the_guise_of_an_image_is_not_run(monkeypatch):
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)  # calling it would be a TypeError
    why = refusal(read_rows, write("a.png", content))
    assert why == "a.png is a PostScript program and must be an image; convert it"
