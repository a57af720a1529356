"""``kmeans-lab compress``: at most k colours, nothing else changed, nothing lost."""

import json
from math import log10

import numpy as np
import pytest
from PIL import Image

from kmeans_lab import __main__ as cli
from kmeans_lab import kmeans
from kmeans_lab.compress import SUFFIXES, quantise


def photograph(seed=0, width=40, height=30):
    """Return (height, width, 3) uint8: smooth, with many colours."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.stack([6 * x, 8 * y, 3 * (x + y)], axis=2) + rng.integers(0, 9, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


PIXELS = photograph()


def call(capsys, *arguments):
    status = cli.main(["compress", *map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.fixture
def image(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PIXELS).save("in.png")
    return "in.png"


def opened(path):
    with Image.open(path) as it:
        return it.copy()


def read(path):
    return np.asarray(opened(path).convert("RGBA")).reshape(-1, 4)


def psnr(a, b):
    return 10 * log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


@pytest.mark.parametrize("k", [1, 2, 7, 64, 256, 300])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".bmp"])
def test_what_is_written_has_k_colours_and_the_quality_that_is_said(capsys, image, k, suffix):
    status, out, err = call(capsys, image, "-k", k, "-o", f"out{suffix}", "--json")
    assert (status, err) == (0, "")
    report = json.loads(out)
    found = read(f"out{suffix}")[:, :3]
    colors = np.unique(found, axis=0)
    assert len(colors) == report["colors"] == k
    assert report["psnr"] == pytest.approx(psnr(PIXELS.reshape(-1, 3), found))
    # Each pixel has the nearest of the colours.
    distances = ((PIXELS.reshape(-1, 1, 3).astype(float) - colors) ** 2).sum(axis=2)
    chosen = ((PIXELS.reshape(-1, 3).astype(float) - found) ** 2).sum(axis=1)
    np.testing.assert_array_equal(chosen, distances.min(axis=1))


def test_quality_rises_with_colours_and_is_better_than_a_median_cut(image):
    found = [quantise(PIXELS.reshape(-1, 3), k).psnr for k in (2, 4, 8, 16, 32, 64)]
    assert found == sorted(found)
    for k, ours in ((8, found[2]), (32, found[4])):
        theirs = Image.fromarray(PIXELS).quantize(k, Image.Quantize.MEDIANCUT, dither=0)
        assert ours > psnr(PIXELS, np.asarray(theirs.convert("RGB")))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_few_colours_come_out_as_they_went_in(capsys, image, suffix):
    flat = np.zeros((20, 30, 3), np.uint8)
    flat[:, 10:], flat[5:] = (200, 30, 7), (1, 2, 3)
    Image.fromarray(flat).save("flat.png")
    status, out, _ = call(capsys, "flat.png", "-k", 9, "-o", f"out{suffix}", "--json")
    report = json.loads(out)
    colors = len(np.unique(flat.reshape(-1, 3), axis=0))
    assert (status, report["psnr"], report["colors"]) == (0, None, colors)
    np.testing.assert_array_equal(read(f"out{suffix}")[:, :3], flat.reshape(-1, 3))


def with_alpha(values):
    alpha = np.array(values, np.uint8)[np.arange(PIXELS[..., 0].size) % len(values)]
    return np.dstack([PIXELS, alpha.reshape(PIXELS.shape[:2])])


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        ((0, 255), ".png"),
        ((0, 255), ".gif"),
        ((0, 255), ".webp"),
        ((0, 255), ".tiff"),
        ((0, 90, 255), ".png"),
        ((0, 90, 255), ".webp"),
        ((0, 90, 255), ".tiff"),
    ],
)
def test_transparency_is_kept_and_what_is_not_seen_does_not_vote(capsys, image, values, suffix):
    pixels = with_alpha(values)
    hidden = pixels[..., 3] == 0
    pixels[hidden, :3] = (255, 0, 255)  # a colour that must not show up
    Image.fromarray(pixels).save("clear.png")
    status, out, err = call(capsys, "clear.png", "-k", 5, "-o", f"out{suffix}", "--json")
    assert (status, err) == (0, "")
    found, alpha = read(f"out{suffix}"), pixels[..., 3].reshape(-1)
    np.testing.assert_array_equal(found[:, 3], alpha)
    seen = found[alpha > 0, :3]
    assert len(np.unique(seen, axis=0)) == 5
    assert json.loads(out)["psnr"] == pytest.approx(psnr(pixels[..., :3][~hidden], seen))
    assert not (seen == (255, 0, 255)).all(axis=1).any()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr"])
def test_any_kind_of_image_is_read(capsys, image, mode):
    Image.fromarray(PIXELS).convert(mode).save("other.tif")
    status, out, err = call(capsys, "other.tif", "-k", 2, "-o", "out.png", "--json")
    assert (status, err, json.loads(out)["colors"]) == (0, "", 2)


def test_an_image_with_nothing_to_see_is_written_as_it_is(capsys, image):
    Image.fromarray(np.zeros((4, 5, 4), np.uint8)).save("nothing.png")
    status, _, err = call(capsys, "nothing.png", "-k", 3, "-o", "out.png", "-q")
    assert (status, err) == (0, "")
    assert not read("out.png")[:, 3].any()


def test_a_photograph_as_cameras_turn_it_stands_upright(capsys, image):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(PIXELS).save("turned.png", exif=exif)
    call(capsys, "turned.png", "-k", 4, "-o", "out.png", "-q")
    assert opened("out.png").size == (30, 40)


def test_a_palette_makes_the_file_small(capsys, image):
    call(capsys, image, "-k", 16, "-o", "out.png", "-q")
    assert opened("out.png").mode == "P"
    call(capsys, image, "-k", 300, "-o", "many.png", "-q")
    assert opened("many.png").mode == "RGB"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("no.png", "-k", 3, "-o", "out.png"), "there is no file no.png; check the path"),
        (("in.png", "-k", 0, "-o", "out.png"), "n_colors=0 must be at least 1"),
        (("in.png", "-k", 3, "-o", "out.jpg"), "has the suffix '.jpg' and must have .png, .gif"),
        (("in.png", "-k", 3, "-o", "in.png", "--force"), "is the input and is never replaced"),
        (("in.png", "-k", 3, "-o", "there.png"), "there.png exists and is kept; use --force"),
        (("text.png", "-k", 3, "-o", "out.png"), "is damaged or not an image that Pillow can read"),
        (("deep.tif", "-k", 3, "-o", "out.png"), "has more than 8 bits per channel"),
        (("in.png", "-k", 3, "-o", "out.png", "--kernel", "gpu"), "kernel='gpu' is not known"),
        (("half.png", "-k", 3, "-o", "out.gif"), "a .gif file keeps 256 colours"),
        (("half.png", "-k", 3, "-o", "out.bmp"), "a .bmp file keeps no transparency"),
        (("in.png", "-k", 300, "-o", "out.gif"), "a .gif file keeps 256 colours"),
    ],
)
def test_what_is_refused_costs_a_sentence_and_loses_nothing(capsys, image, arguments, sentence):
    with open("text.png", "w") as file:
        file.write("not an image")
    with open("there.png", "w") as file:
        file.write("mine")
    Image.fromarray(np.full((3, 3), 40_000, np.uint16)).save("deep.tif")
    Image.fromarray(with_alpha((0, 90))).save("half.png")
    before = opened("in.png").tobytes()
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
    with open("there.png") as file:
        assert file.read() == "mine"
    assert opened("in.png").tobytes() == before


@pytest.mark.parametrize(
    "pixels", [PIXELS, PIXELS.reshape(-1, 3).astype(float), np.zeros((0, 3), np.uint8)]
)
def test_pixels_of_another_kind_are_refused(pixels):
    with pytest.raises(ValueError, match=r"must be uint8 of shape \(n_pixels, 3\)"):
        quantise(pixels, 3)


def test_the_same_colours_from_distinct_ones_as_from_all_pixels():
    """Weights are exact: what rests with them rests, but for rounding, among all pixels."""
    pixels = np.repeat(PIXELS.reshape(-1, 3), 3, axis=0)
    found = quantise(pixels, 8, n_init=3)
    again = kmeans(pixels.astype(float), 8, init=found.palette.astype(float), tol=0)
    squares = 3 * 255**2 / 10 ** (found.psnr / 10)
    assert again.inertia / len(pixels) == pytest.approx(squares, rel=0.02)


def test_the_table_says_what_it_cost(capsys, image):
    status, out, err = call(capsys, image, "-k", 4, "-o", "out.png")
    assert (status, err) == (0, "")
    for words in ("40 × 30", "→ 4", " dB", "out.png"):
        assert words in out
