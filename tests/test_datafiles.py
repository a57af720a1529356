"""Reading data files: what comes out, and every refusal in full."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_lab.datafiles import MissingExtra, Refused, read_rows

SUFFIXES = ".csv, .npy, .png, .jpg, .jpeg, .bmp, .gif, .tif, .tiff or .webp"
RULE, HEADER = "and every field must be a number", "if this is a header, use --skip-rows"


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


@pytest.mark.parametrize(("name", "suffix"), [("a.txt", ".txt"), ("a", ""), ("a.npz", ".npz")])
def test_an_unknown_suffix_is_refused_with_the_choices(name, suffix):
    why = refusal(read_rows, write(name, "1\n"))
    assert why == f"{name} has the suffix {suffix!r} and must have {SUFFIXES}; convert it"


# --- CSV ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "skip_rows", "expected"),
    [
        ("1,2\n3,4\n", 0, [[1, 2], [3, 4]]),
        ("1,2\n3,4", 0, [[1, 2], [3, 4]]),
        ("1,2\r\n\r\n3,4\r\n", 0, [[1, 2], [3, 4]]),
        ("\ufeff1,2\n", 0, [[1, 2]]),
        ("1,2,3\n", 0, [[1, 2, 3]]),
        ("1\n2\n3\n", 0, [[1], [2], [3]]),
        ("x,y\n1,2\n", 1, [[1, 2]]),
        (" -1.5e3 , .5\n", 0, [[-1500, 0.5]]),
    ],
)
def test_csv_is_read_as_a_matrix(text, skip_rows, expected):
    rows = read_rows(write("a.csv", text), skip_rows)
    assert rows.dtype == np.float64
    np.testing.assert_array_equal(rows, np.array(expected, dtype=float), strict=True)


def test_a_suffix_in_capitals_is_the_same_suffix():
    assert read_rows(write("A.CSV", "1,2\n")).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("text", "skip_rows", "why"),
    [
        ("x,y\n1,2\n", 0, f", line 1, column 1 holds 'x' {RULE}; {HEADER} 1"),
        ('# by hand\n\n"x","y"\n1,2\n', 1, f", line 3, column 1 holds '\"x\"' {RULE}; {HEADER} 3"),
        ("1,2\n\n3,four\n", 0, f", line 3, column 2 holds 'four' {RULE}; correct it or drop it"),
        (
            "1,2\n3," + 40 * "y",
            0,
            f", line 2, column 2 holds '{30 * 'y'}…' {RULE}; correct it or drop it",
        ),
        # Full-width digits: Python's float takes them, NumPy does not.
        ("1,2\n１,2\n", 0, f", line 2, column 1 holds '１' {RULE}; correct it or drop it"),
        ("1,2\n3,4#5\n", 0, f", line 2, column 2 holds '4#5' {RULE}; correct it or drop it"),
        ("1,2\n3\n", 0, ", line 2 has 1 column and must have 2 like line 1; correct it or drop it"),
        (
            "1\n2,3\n",
            0,
            ", line 2 has 2 columns and must have 1 like line 1; correct it or drop it",
        ),
        (
            "1,2,3\n1,,2\n",
            0,
            f", line 2, column 2 is empty {RULE}; fill it in or drop the line",
        ),
        (
            '"1","2"\n',
            0,
            ", line 1, column 1 holds '\"1\"' and numbers must stand without quotes; "
            "save the file without quotes",
        ),
        (
            "1;2\n3;4\n",
            0,
            ", line 1, column 1 holds '1;2' and commas must separate the columns; "
            "save the file with commas",
        ),
        ("", 0, " has no row of numbers and needs one; check the file"),
        ("\n\n", 0, " has no row of numbers and needs one; check the file"),
        ("x,y\n", 1, " has no row of numbers left and needs one; check --skip-rows"),
        ("1,2\n", 10**30, " has no row of numbers left and needs one; check --skip-rows"),
        (b"\xff\xfe1", 0, " is not UTF-8 text (invalid start byte at byte 0); save it as UTF-8"),
    ],
)
def test_what_is_wrong_with_a_csv_is_said_with_its_place(text, skip_rows, why):
    assert refusal(read_rows, write("a.csv", text), skip_rows) == "a.csv" + why


def test_a_fault_that_only_numpy_sees_is_passed_on(monkeypatch):
    def loadtxt(*_, **__):
        raise ValueError("a new rule")

    monkeypatch.setattr(np, "loadtxt", loadtxt)
    why = refusal(read_rows, write("a.csv", "1,2\n"))
    assert why == "a.csv cannot be read as a table of numbers: a new rule"


def test_skip_rows_counts_lines_of_csv_only():
    why = refusal(read_rows, write("a.csv", "1\n"), -1)
    assert why == "--skip-rows -1 must be at least 0"
    np.save("a.npy", np.eye(2))
    why = refusal(read_rows, Path("a.npy"), 1)
    assert why == "--skip-rows has no meaning for a.npy: it is for .csv; leave it out"


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
        (npz_bytes, "a.npy is an .npz archive and not one array; save that with numpy.save"),
        (
            lambda: npy_bytes(np.array([1, "x"], dtype=object), allow_pickle=True),
            "a.npy holds Python objects and must hold numbers; save array.astype(float)",
        ),
    ],
)
def test_what_is_not_an_array_is_refused(content, why):
    assert refusal(read_rows, write("a.npy", content())) == why


@pytest.mark.parametrize("kept", [7, 9, 40, 127, -1])
def test_an_array_cut_short_is_refused(kept):
    why = refusal(read_rows, write("a.npy", npy_bytes(np.eye(3))[:kept]))
    assert re.fullmatch(
        r"a\.npy is truncated or damaged \(.+\); write it again with numpy\.save", why, re.DOTALL
    )


def test_any_damage_to_a_header_is_a_refusal_or_an_array():
    whole, rng = npy_bytes(np.eye(3)), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(6, 80, size=3):
            damaged[place] = rng.integers(256)
        try:
            read_rows(write("a.npy", bytes(damaged)))
        except (Refused, MemoryError):
            continue


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


def test_deep_images_are_refused_rather_than_clipped():
    Image.fromarray(np.full((2, 2), 40_000, dtype=np.uint16)).save("a.png")
    assert refusal(read_rows, Path("a.png")) == (
        "a.png has more than 8 bits per channel (mode I;16) and must have 8; convert it, or save "
        "its pixels with numpy.save"
    )


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
