"""Images of sixteen bits per channel: written by hand here, read in eight bits by one rule."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_lab.cli import main as cli
from kmeans_lab.io.datafiles import read_rows
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.images import read_picture

RNG = np.random.default_rng(0)
#: Values around those where rounding and dropping bits differ, and any others.
EDGES = [0, 127, 128, 129, 255, 256, 257, 0x10FF, 32767, 32768, 65407, 65406, 65535]


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def values(channels, shape=(7, 9)):
    found = RNG.integers(0, 65536, (*shape, channels))
    found.flat[: len(EDGES)] = EDGES
    return found


def eight(array):
    """Return the nearest of 256 levels, by the definition: 65535 is 255."""
    return np.rint(np.asarray(array) * (255 / 65535)).astype(int)


def png(name, array, kind, clear=b"", interlaced=False):
    """Write a PNG as its specification says, without filters; interlaced by Adam7."""

    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2),
                  (0, 1, 2, 2), (1, 0, 2, 1)]  # fmt: skip
    lines = b""
    for top, left, down, right in passes:
        part = array[top::down, left::right].astype(">u2")
        lines += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    height, width = array.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, int(interlaced))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    content += chunk(b"tRNS", clear) if clear else b""
    content += chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    Path(name).write_bytes(content)
    return Path(name)


def tiff(name, array, photometric, order="<", extra=None, packed=False, bits=16, planes=1):
    """Write a TIFF of one strip, packed by deflate or not."""
    height, width, channels = array.shape
    data = array.astype(f"{order}u2").tobytes()
    if planes == 2:
        data = np.moveaxis(array, -1, 0).astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if packed else data
    entries = [
        (256, 3, [width]), (257, 3, [height]), (258, 3, [bits] * channels),
        (259, 3, [8 if packed else 1]), (262, 3, [photometric]), (273, 4, [None]),
        (277, 3, [channels]), (278, 3, [height]), (279, 4, [len(data)]), (284, 3, [planes]),
    ]  # fmt: skip
    if planes == 2:
        size = len(data) // channels
        entries[5], entries[8] = (273, 4, [None] * channels), (279, 4, [size] * channels)
    entries += [(338, 3, [extra])] if extra is not None else []
    after = 8 + 2 + 12 * len(entries) + 4
    more, directory = b"", struct.pack(f"{order}H", len(entries))
    total = sum(4 * len(it[2]) for it in entries if len(it[2]) * (2 if it[1] == 3 else 4) > 4)
    for tag, kind, numbers in entries:
        if tag == 273:
            step = len(data) // len(numbers)
            numbers = [after + total + i * step for i in range(len(numbers))]
        packed_numbers = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed_numbers) > 4:
            place = struct.pack(f"{order}I", after + len(more))
            more += packed_numbers.ljust(4 * len(numbers), b"\0")
        else:
            place = packed_numbers.ljust(4, b"\0")
        directory += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    Path(name).write_bytes(head + directory + b"\0\0\0\0" + more + data)
    return Path(name)


def assert_read(path, expected):
    """The command compress and the command fit see the same pixels."""
    pixels = read_picture(path).pixels
    np.testing.assert_array_equal(pixels, expected)
    rows = read_rows(path)
    np.testing.assert_array_equal(rows, expected[..., :3].reshape(-1, 3))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("kind", "channels", "shown"),
    [(0, 1, [0, 0, 0]), (2, 3, [0, 1, 2]), (4, 2, [0, 0, 0, 1]), (6, 4, [0, 1, 2, 3])],
)
def test_every_png_of_sixteen_bits_is_rounded(kind, channels, shown, interlaced):
    array = values(channels)
    assert_read(png("a.png", array, kind, interlaced=interlaced), eight(array)[..., shown])


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3)])
def test_the_transparent_colour_of_a_png_has_sixteen_bits(kind, channels):
    array = values(channels)
    array[2, 3] = array[0, 0] + 1  # the same in eight bits, and not transparent
    array[4, 4] = clear = array[5, 5]
    path = png("a.png", array, kind, struct.pack(f">{channels}H", *clear))
    alpha = np.where((array == clear).all(axis=-1), 0, 255)
    assert (alpha == 0).sum() == 2
    colors = eight(array)[..., [0, 0, 0] if channels == 1 else [0, 1, 2]]
    assert_read(path, np.dstack([colors, alpha]))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_tiff_of_sixteen_bits_is_rounded(order, packed):
    options = {"order": order, "packed": packed}
    array = values(3)
    assert_read(tiff("rgb.tif", array, 2, **options), eight(array))
    array = values(4)
    assert_read(tiff("rgba.tif", array, 2, extra=2, **options), eight(array))
    assert_read(tiff("rgbx.tif", array, 2, extra=0, **options), eight(array)[..., :3])
    array = values(1)
    assert_read(tiff("black.tif", array, 1, **options), eight(array)[..., [0, 0, 0]])
    if order == "<":
        white = tiff("white.tif", array, 0, **options)
        assert_read(white, 255 - eight(array)[..., [0, 0, 0]])


@pytest.mark.parametrize("packed", [False, True])
def test_colours_that_were_multiplied_with_alpha_are_divided_by_it(packed):
    array = values(4)
    array[..., 3] = np.maximum(array[..., 3], 40_000)
    times = array.copy()
    times[..., :3] = np.rint(array[..., :3] * (array[..., 3:] / 65535))
    path = tiff("a.tif", times, 2, extra=1, packed=packed)
    found = read_picture(path).pixels.astype(int)
    assert np.abs(found - eight(array)).max() <= 1  # the product was rounded
    assert (found == eight(array)).mean() > 0.98


@pytest.mark.parametrize("packed", [False, True])
def test_inks_of_sixteen_bits_are_rounded_before_they_become_colours(packed):
    array = values(4)
    path = tiff("a.tif", array, 5, packed=packed)
    inks = Image.frombytes("CMYK", (9, 7), eight(array).astype(np.uint8).tobytes())
    assert_read(path, np.asarray(inks.convert("RGB")))


def test_sixteen_bits_that_cannot_be_read_whole_are_refused():
    tiff("a.tif", values(3), 2, planes=2)
    with pytest.raises(Refused) as caught:
        read_picture(Path("a.tif"))
    assert str(caught.value) == (
        "a.tif has 16 bits per channel, of which Pillow reads the first 8 only from TIFF in "
        "separate planes; convert it to PNG, or to 8 bits"
    )
    Image.new("RGB", (4, 4)).save("b.sgi", bpc=2)
    with pytest.raises(Refused, match=r"b\.sgi has 16 bits .+ only from SGI; convert it"):
        read_picture(Path("b.sgi"))


def test_greys_of_more_than_sixteen_bits_are_refused_by_every_command(capsys):
    Image.fromarray(np.ones((2, 2), np.float32)).save("a.tif")
    Image.fromarray(np.full((2, 2), 70, np.int32)).save("b.tif")  # of which white is unknown
    for name, mode in {"a.tif": "F", "b.tif": "I"}.items():
        why = (
            f"kmeans-lab: error: {name} has more than 16 bits per channel (mode {mode}) and must "
            "have 16 at most; convert it\n"
        )
        for call in (["fit", name], ["compress", name, "-o", "c.png"]):
            assert cli.main([*call, "-k", "1"]) == 2
            assert capsys.readouterr().err == why


def test_a_portable_pixmap_is_rounded():
    array = values(3)
    Path("a.ppm").write_bytes(b"P6\n9 7\n65535\n" + array.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_picture(Path("a.ppm")).pixels, eight(array))
    Path("b.pgm").write_bytes(b"P5\n9 7\n65535\n" + array[..., :1].astype(">u2").tobytes())
    np.testing.assert_array_equal(read_picture(Path("b.pgm")).pixels, eight(array)[..., [0, 0, 0]])


def test_an_image_of_sixteen_bits_is_turned_upright():
    array = values(3)
    path = png("a.png", array, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    content = path.read_bytes()
    place = content.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + data))
    path.write_bytes(content[:place] + chunk + content[place:])
    assert_read(path, np.rot90(eight(array), -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr",
                                  "HSV"])  # fmt: skip
def test_fit_and_compress_read_every_mode_alike(monkeypatch, mode):
    array = values(3).astype(np.uint8)
    image = Image.fromarray(array)
    image = image.convert("LA").convert("La") if mode == "La" else image.convert(mode)
    monkeypatch.setattr(Image, "open", lambda path: image.copy())
    image.format = "PNG"
    Path("a.png").touch()
    expected = np.asarray(image.convert("LA" if mode == "La" else mode).convert("RGB"))
    assert_read(Path("a.png"), expected)
