"""Images as ``kmeans-lab compress`` reads and writes them: any mode, any format, nothing lost."""

import io
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from kmeans_lab.cli import main as cli
from kmeans_lab.compress import compress
from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.images import read_picture
from kmeans_lab.io.palettes import OUTPUT_SUFFIXES, encoded
from tests.support.images import holes, noise, saved


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


# --- files in -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_is_read(mode):
    image = Image.fromarray(noise()).convert(mode)
    name = "a.jpg" if mode == "YCbCr" else "a.tif"
    picture = read_picture(saved(name, image))
    with Image.open(name) as again:
        expected = np.asarray(again.convert("RGB"))
    np.testing.assert_array_equal(picture.pixels, expected)  # opaque: three channels
    assert picture.mode == ("RGB" if mode == "YCbCr" else mode)
    assert picture.frames == 1


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_read(mode):
    pixels = holes(alphas=(0, 7, 255))
    image = Image.fromarray(pixels).convert(mode)
    picture = read_picture(saved("a.png", image))
    np.testing.assert_array_equal(picture.pixels[..., 3], pixels[..., 3])


def test_a_transparent_palette_colour_and_a_transparent_rgb_colour_are_read():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([9, 8, 7, 6, 5, 4, 3, 2, 1])
    found = read_picture(saved("p.png", image, transparency=b"\x00\x80")).pixels
    assert found.tolist() == [[[9, 8, 7, 0], [6, 5, 4, 128], [3, 2, 1, 255]]]
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    found = read_picture(saved("rgb.png", image, transparency=(4, 5, 6))).pixels
    assert found[..., 3].tolist() == [[255, 0]]


def test_sixteen_bits_become_eight_by_rounding():
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    for name in ("a.png", "a.tif"):
        found = read_picture(saved(name, values)).pixels
        assert found[0, :, 0].tolist() == [round(v / 257) for v in values[0].tolist()]
        assert found.shape == (1, 6, 3)
    image = Image.fromarray(values)
    found = read_picture(saved("clear.png", image, transparency=257)).pixels
    assert found[0, :, 3].tolist() == [255, 255, 255, 0, 255, 255]


def test_what_has_no_eight_bits_in_it_is_refused():
    saved("f.tif", np.ones((2, 2), np.float32))
    saved("i.tif", np.full((2, 2), 70_000, np.int32))
    for name, why in {
        "f.tif": "f.tif has more than 16 bits per channel (mode F) and must have 16 at most; "
        "convert it",
        "i.tif": "i.tif has more than 16 bits per channel (mode I) and must have 16 at most; "
        "convert it",
    }.items():
        with pytest.raises(Refused) as caught:
            read_picture(Path(name))
        assert str(caught.value) == why


def test_a_mode_that_pillow_cannot_convert_is_refused(monkeypatch):
    """Older releases do not convert LAB."""

    def convert(self, mode):
        raise ValueError("conversion from LAB to RGB not supported")

    saved("a.png", noise())
    monkeypatch.setattr(Image.Image, "convert", convert)
    with pytest.raises(Refused, match=r"a\.png has colours of mode RGB; convert it to RGB"):
        read_picture(Path("a.png"))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, lambda it: it), (3, lambda it: it[::-1, ::-1]), (6, lambda it: np.rot90(it, -1))],
)
def test_an_image_is_turned_upright(name, orientation, turned):
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:8, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if name.endswith("webp") else {}
    found = read_picture(saved(name, pixels, exif=exif, **options)).pixels
    expected = turned(pixels)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3  # JPEG is lossy


def test_of_several_frames_the_first_is_taken_and_said(capsys):
    frames = [Image.fromarray(np.full((3, 4, 3), v, np.uint8)) for v in (10, 90, 200)]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    picture = read_picture(Path("a.gif"))
    assert (picture.frames, np.unique(picture.pixels).tolist()) == (3, [10])
    assert cli.main(["compress", "a.gif", "-k", "2", "-o", "b.png"]) == 0
    assert "the first of 3 frames" in capsys.readouterr().out


def image_files():
    """Yield files of every kind: (name, content)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = {"RGB": noise(1, (7, 5, 3)), "RGBA": holes(1, (7, 5)), "L": noise(2, (7, 5))}
    kinds = {"PNG": "RGBA", "GIF": "L", "TIFF": "RGB", "WEBP": "RGBA", "BMP": "RGB", "JPEG": "RGB",
             "PPM": "RGB", "TGA": "RGBA", "ICO": "RGBA", "PCX": "L"}  # fmt: skip
    for kind, mode in kinds.items():
        file = io.BytesIO()
        options = {"exif": exif} if kind in ("PNG", "TIFF", "WEBP", "JPEG") else {}
        Image.fromarray(pictures[mode]).save(file, kind, **options)
        yield kind.lower(), file.getvalue()


def read_or_refused(path):
    """Read an image; return why it was refused, or None. Nothing else may be raised."""
    try:
        pixels = read_picture(path).pixels
    except Refused as error:
        return str(error)
    assert (pixels.dtype, pixels.ndim) == (np.uint8, 3)
    assert pixels.shape[2] in (3, 4)
    return None


@pytest.mark.parametrize("n", range(30))
def test_a_damaged_image_is_read_or_refused(n):
    chance = random.Random(n)
    for kind, content in image_files():
        for cut in range(4):
            damaged = bytearray(content)
            for _ in range(cut and chance.randrange(1, 6)):
                where = chance.randrange(len(damaged))
                damaged[where : where + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
            if cut == 3:
                del damaged[chance.randrange(len(damaged)) :]
            path = Path(f"file.{kind}")
            path.write_bytes(damaged)
            if (why := read_or_refused(path)) is not None:
                assert cut
                assert path.name in why
                assert "\n" not in why


def test_what_is_no_image_is_refused(monkeypatch):
    Path("a.png").write_text("<svg/>")
    for path, why in {
        "a.png": "a.png is damaged or not an image that Pillow can read; check or convert it",
        "no.png": "there is no file no.png; check the path",
        ".": ". is a folder and must be a file; name a file in it",
    }.items():
        with pytest.raises(Refused) as caught:
            read_picture(Path(path))
        assert str(caught.value) == why
    saved("b.png", noise())
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
        with pytest.raises(Refused, match=r"b\.png is too large an image \(.+\); scale it down"):
            read_picture(Path("b.png"))
    with monkeypatch.context() as patch:
        patch.setattr(np, "asarray", None)  # nothing is decoded
        patch.setattr("PIL.ImageFile.ImageFile.load", _out_of_memory)
        with pytest.raises(Refused, match=r"b\.png does not fit into memory; scale it down"):
            read_picture(Path("b.png"))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"reading b\.png needs the package pillow"):
        read_picture(Path("b.png"))


def _out_of_memory(image):
    raise MemoryError


# --- files out ------------------------------------------------------------------------------


def read_back(content):
    with Image.open(io.BytesIO(content)) as image:
        return image.mode, np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize("suffix", OUTPUT_SUFFIXES)
@pytest.mark.parametrize("k", [1, 2, 7, 100, 256])
def test_every_format_gives_back_the_very_pixels(suffix, k):
    found = compress(noise(4, (40, 30, 3)), k, random_state=0)
    mode, back = read_back(encoded(found, suffix, Path("o")))
    np.testing.assert_array_equal(back[..., :3], found.pixels)
    assert (back[..., 3] == 255).all()
    assert mode == ("RGB" if suffix == ".webp" else "P") or (suffix == ".bmp" and k < 3)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".tif"])
@pytest.mark.parametrize("k", [1, 3, 200])
def test_holes_stay_holes(suffix, k):
    found = compress(holes(4, (40, 30)), k, random_state=0)
    mode, back = read_back(encoded(found, suffix, Path("o")))
    np.testing.assert_array_equal(back[..., 3], found.pixels[..., 3])
    visible = back[..., 3] > 0
    np.testing.assert_array_equal(back[visible], found.pixels[visible])
    assert mode == ("P" if suffix in (".png", ".gif") else "RGBA")


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
@pytest.mark.parametrize(("k", "alphas"), [(4, (0, 100, 255)), (200, range(256))])
def test_alpha_comes_back_as_it_was(suffix, k, alphas):
    pixels = holes(4, (40, 30), alphas=tuple(alphas))
    found = compress(pixels, k, random_state=0)
    mode, back = read_back(encoded(found, suffix, Path("o")))
    np.testing.assert_array_equal(back, found.pixels)
    np.testing.assert_array_equal(back[..., 3], pixels[..., 3])
    assert mode == ("P" if suffix == ".png" and k == 4 else "RGBA")


def test_more_colours_than_a_palette_has_are_written_without_one():
    found = compress(noise(4, (40, 30, 3)), 400, random_state=0)
    assert len(found.palette) > 256
    for suffix in (".png", ".webp", ".tif", ".bmp"):
        mode, back = read_back(encoded(found, suffix, Path("o")))
        np.testing.assert_array_equal(back[..., :3], found.pixels)
        assert mode == "RGB"
    holed = compress(holes(4, (40, 30)), 256, random_state=0)
    assert read_back(encoded(holed, ".png", Path("o")))[0] == "RGBA"  # 257 entries


@pytest.mark.parametrize(
    ("pixels", "k", "suffix", "why"),
    [
        (noise(4, (40, 30, 3)), 400, ".gif",
         "o would need more than 256 colours, which GIF does not have; use .png"),
        (holes(4, (40, 30)), 256, ".gif",
         "o would need more than 256 colours, which GIF does not have; use .png"),
        (holes(4, alphas=(0, 9, 255)), 4, ".gif",
         "o would be transparent in part, which GIF cannot be; use .png"),
        (holes(), 4, ".bmp", "o would lose the transparency, which BMP does not have; use .png"),
        (np.zeros((1, 20_000, 3), np.uint8), 4, ".webp", "o cannot hold this image"),
        (np.zeros((1, 70_000, 3), np.uint8), 4, ".gif", "o cannot hold this image"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_refused(pixels, k, suffix, why):
    with pytest.raises(Refused) as caught:
        encoded(compress(pixels, k, random_state=0), suffix, Path("o"))
    assert str(caught.value).startswith(why)
    assert str(caught.value).endswith("; use .png")


def test_an_invisible_image_is_written():
    found = compress(np.zeros((3, 4, 4), dtype=np.uint8), 4)
    for suffix in (".png", ".gif", ".webp", ".tif"):
        assert read_back(encoded(found, suffix, Path("o")))[1].max() == 0


def test_the_profile_of_the_colours_is_kept_where_they_are_its_own():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, kept in (("RGB", True), ("L", False), ("CMYK", False)):
        path = saved("a.tif", Image.fromarray(noise()).convert(mode), icc_profile=profile)
        picture = read_picture(path)
        assert (picture.profile == profile) is kept
        content = encoded(compress(picture.pixels, 4), ".png", Path("o"), picture.profile)
        with Image.open(io.BytesIO(content)) as image:
            assert image.info.get("icc_profile") == (profile if kept else None)
