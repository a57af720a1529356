"""``kmeans-lab compress``: at most k colours, the nearest ones, in a file that keeps them."""

import json
import os
from math import inf, log10
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kmeans_lab import kmeans
from kmeans_lab.cli import main as cli
from kmeans_lab.compress import compress
from kmeans_lab.io.palettes import OUTPUT_SUFFIXES
from kmeans_lab.presets import photograph
from tests.support.images import colors_of, holes, noise, saved


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def psnr(before, after):
    """Return what the textbook says, pixel by pixel."""
    squares, values = 0, 0
    for old, new in zip(
        before.reshape(-1, before.shape[-1]).tolist(),
        after.reshape(-1, after.shape[-1]).tolist(),
        strict=True,
    ):
        if len(old) == 3 or old[3]:
            squares += sum((a - b) ** 2 for a, b in zip(old[:3], new[:3], strict=True))
            values += 3
    return 10 * log10(255**2 / (squares / values)) if squares else inf


# --- the function ---------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 16, 100, 125, 126, 500])
@pytest.mark.parametrize("pixels", [noise(), holes(), holes(2, alphas=(0, 9, 255))])
def test_there_are_at_most_k_colours_and_each_pixel_has_the_nearest(pixels, k):
    found = compress(pixels, k, random_state=0)
    assert len(found.palette) == len(colors_of(found.pixels)) <= k
    np.testing.assert_array_equal(colors_of(found.palette), found.palette)
    visible = np.ones(pixels.shape[:2], bool) if pixels.shape[2] == 3 else pixels[..., 3] > 0
    far = (pixels[visible][:, None, :3].astype(int) - found.palette.astype(int)) ** 2
    np.testing.assert_array_equal(found.labels[visible], far.sum(axis=2).argmin(axis=1))
    assert (found.labels[~visible] == -1).all()
    np.testing.assert_array_equal(
        found.pixels[visible][:, :3], found.palette[found.labels[visible]]
    )
    np.testing.assert_array_equal(found.pixels[..., 3:], pixels[..., 3:])
    assert found.psnr == pytest.approx(psnr(pixels, found.pixels), rel=1e-12)
    assert found.n_colors_before == len(colors_of(pixels[visible][None]))


@pytest.mark.parametrize("seed", range(6))
def test_one_colour_is_the_mean(seed):
    pixels = noise(seed)
    found = compress(pixels, 1, random_state=0)
    np.testing.assert_array_equal(found.palette[0], np.rint(pixels.mean(axis=(0, 1))))


def test_it_is_as_good_as_k_means_on_all_pixels():
    pixels = photograph()
    found = compress(pixels, 16, random_state=0, n_init=3)
    full = kmeans(pixels, 16, random_state=0, n_init=3)
    assert found.psnr > 10 * log10(255**2 * pixels.size / full.inertia) - 0.1
    assert found.psnr == pytest.approx(
        10 * log10(255**2 / np.mean((pixels.astype(float) - found.pixels) ** 2))
    )


def test_what_nobody_sees_has_no_vote():
    pixels = holes(alphas=(0, 1, 255))
    other = pixels.copy()
    other[pixels[..., 3] == 0, :3] = 77
    first, second = (compress(it, 5, random_state=0) for it in (pixels, other))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    clear = np.zeros((2, 3, 4), dtype=np.uint8)
    found = compress(clear, 4)
    assert (found.palette.shape, found.psnr, found.n_colors_before) == ((0, 3), inf, 0)
    np.testing.assert_array_equal(found.pixels, clear)


def test_few_colours_come_out_unchanged():
    pixels = noise(1, (50, 40, 3), 0, 2)
    found = compress(pixels, 8)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert (found.psnr, found.n_iter, found.kernel, len(found.palette)) == (inf, 0, "none", 8)
    assert compress(pixels, 7).psnr < inf


def test_colours_that_round_to_one_are_one():
    pixels = np.repeat(
        np.array([[10, 10, 10], [11, 10, 10], [200, 0, 0]], np.uint8), [50, 50, 1], 0
    )
    found = compress(pixels, 2, random_state=0)
    assert len(found.palette) == 2
    assert found.palette.dtype == np.uint8


def test_the_same_seed_gives_the_same_image(kernel_name):
    pixels = noise(5, (20, 20, 3))
    runs = [compress(pixels, 6, kernel=kernel_name, random_state=2).pixels for _ in range(2)]
    np.testing.assert_array_equal(*runs)


def test_more_repetitions_are_no_worse():
    pixels = noise(6, (30, 30, 3))
    few, many = (compress(pixels, 9, n_init=n, random_state=1).psnr for n in (1, 20))
    assert few - 0.01 < many


@pytest.mark.parametrize(
    ("pixels", "k", "kind", "why"),
    [
        (noise().astype(float), 3, TypeError, "pixels has dtype float64 and must have uint8"),
        (noise()[..., 0], 3, ValueError, r"pixels has shape \(14, 9\) and must have"),
        (np.zeros((0, 3), np.uint8), 3, ValueError, "with one pixel at least"),
        (noise(), 0, ValueError, "n_clusters=0 must be at least 1"),
        (noise(), 2.5, TypeError, "n_clusters=2.5 must be an integer"),
    ],
)
def test_what_the_function_does_not_take(pixels, k, kind, why):
    with pytest.raises(kind, match=why):
        compress(pixels, k)
    with pytest.raises(ValueError, match="kernel='gpu' is not known"):
        compress(noise(), 3, kernel="gpu")


# --- the command ----------------------------------------------------------------------------


def call(capsys, *arguments):
    status = cli.main(["compress", *map(str, arguments)])
    return status, *capsys.readouterr()


def test_it_says_what_came_of_it(capsys):
    pixels = noise(9, (30, 20, 3))
    saved("in.png", pixels)
    status, out, err = call(capsys, "in.png", "-k", 5, "-o", "out.png", "--seed", 3, "--json")
    assert (status, err) == (0, "")
    with Image.open("out.png") as image:
        back = np.asarray(image.convert("RGB"))
    assert len(colors_of(back)) == 5
    assert json.loads(out) == {
        "image": "in.png",
        "output": "out.png",
        "width": 20,
        "height": 30,
        "mode": "RGB",
        "frames": 1,
        "n_clusters": 5,
        "colors_before": 600,
        "colors": 5,
        "psnr": pytest.approx(psnr(pixels, back)),
        "bytes_before": Path("in.png").stat().st_size,
        "bytes": Path("out.png").stat().st_size,
        "kernel": "cpp-simd",
        "n_iter": compress(pixels, 5, random_state=3).n_iter,
    }
    status, out, err = call(capsys, "in.png", "-k", 5, "-o", "table.png", "--seed", 3)
    assert (status, err) == (0, "")
    assert f"{psnr(pixels, back):.2f} dB" in out
    assert "600 before, 5 now" in out
    assert Path("table.png").read_bytes() == Path("out.png").read_bytes()
    options = ["--kernel", "cpp", "--n-init", 2, "--quiet"]
    assert call(capsys, "in.png", "-k", 1000, "-o", "same.bmp", *options) == (0, "", "")
    with Image.open("same.bmp") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), pixels)
    out = call(capsys, "in.png", "-k", 1000, "-o", "a.png", "--json")[1]
    assert json.loads(out)["psnr"] is None
    assert "unchanged" in call(capsys, "in.png", "-k", 1000, "-o", "b.png")[1]


def test_what_is_refused_costs_a_sentence_and_writes_nothing(capsys):
    saved("in.png", noise())
    Path("there.png").write_text("mine")
    Path("link.png").symlink_to("in.png")
    names = ", ".join(OUTPUT_SUFFIXES)
    for arguments, why in {
        ("in.png", "-k", 4, "-o", "there.png"): "there.png exists and is kept; use --force to "
        "replace it",
        ("in.png", "-k", 4, "-o", "in.png", "--force"): "in.png is the input and is never "
        "replaced; choose another name",
        ("in.png", "-k", 4, "-o", "link.png", "--force"): "link.png is the input and is never "
        "replaced; choose another name",
        ("in.png", "-k", 4, "-o", "o.JPG"): "o.JPG would be in a format that loses detail and "
        f"must be in one that keeps every colour; use {names}",
        ("in.png", "-k", 4, "-o", "o.txt"): "o.txt has the suffix '.txt' and must have .png, "
        ".webp, .gif, .tif, .tiff or .bmp; name it so",
        ("in.png", "-k", 4, "-o", "no/o.png"): "there is no folder no for no/o.png; create it "
        "first",
        ("in.png", "-k", 0, "-o", "o.png"): "n_clusters=0 must be at least 1",
        ("in.png", "-k", 4, "--n-init", 0, "-o", "o.png"): "n_init=0 must be at least 1",
        ("in.png", "-k", 4, "--seed", -1, "-o", "o.png"): "random_state=-1 must be None, an "
        "integer ≥ 0 or a numpy.random.Generator",
        ("no.png", "-k", 4, "-o", "o.png"): "there is no file no.png; check the path",
    }.items():
        assert call(capsys, *arguments) == (2, "", f"kmeans-lab: error: {why}\n")
    assert {it.name for it in Path.cwd().iterdir()} == {"in.png", "there.png", "link.png"}
    assert Path("there.png").read_text() == "mine"
    assert call(capsys, "in.png", "-k", 4, "-o", "there.png", "--force", "-q") == (0, "", "")
    with Image.open("there.png") as image:
        assert image.mode == "P"


def test_a_file_that_cannot_be_written_leaves_nothing(capsys, monkeypatch):
    saved("in.png", noise())

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    status, _, err = call(capsys, "in.png", "-k", 4, "-o", "o.png")
    assert (status, {it.name for it in Path.cwd().iterdir()}) == (2, {"in.png"})
    assert "o.png cannot be written (No space left on device)" in err
