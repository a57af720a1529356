"""A photograph in a few colours, which k-means chooses, or one of Pillow's own quantizers.

The tutorial's second exercise, on scikit-learn's china.jpg.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import kmeans
from kmeans_lab.compress import compress
from kmeans_lab.io.palettes import encoded
from kmeans_lab.presets import photograph
from kmeans_lab.registry import FLAGSHIP
from kmeans_lab.studies.notebook import INK, PALETTE, Notebook
from kmeans_lab.studies.sources import TUTORIAL

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """What a quantizer made of the photograph: its quality in dB, its size in kB, and the time."""

    who: str
    k: int
    image: Pixels
    colours: int
    psnr: float
    kilobytes: float
    milliseconds: float


SHAPE = (427, 640, 3)  # of china.jpg
COLORS = (2, 4, 8, 16, 32, 64, 256)
SHOWN = (2, 4, 8, 16, 64)
CROP = slice(60, 300), slice(130, 490)  # the roofs
STARTS = 5
KMEANS = "k-means"


def run(book: Notebook) -> None:
    """Compress by k-means and by Pillow; show the images, the numbers and the seconds."""
    pixels = photograph().reshape(SHAPE).astype(np.uint8)
    found: list[Quantized] = []
    for k in book.track(COLORS, "colours"):
        for who, quantize in _quantizers(pixels).items():
            began = perf_counter()
            image, content = quantize(k)
            spent = perf_counter() - began
            found.append(
                Quantized(
                    who,
                    k,
                    image,
                    colours=len(np.unique(image.reshape(-1, 3), axis=0)),
                    psnr=round(_psnr(pixels, image), 2),
                    kilobytes=len(content) / 1000,
                    milliseconds=1000 * spent,
                )
            )
    _images(book, pixels, [row for row in found if row.who == KMEANS])
    _numbers(book, found)
    _distinct_or_all(book, pixels)


def _quantizers(pixels: Pixels) -> dict[str, Callable[[int], tuple[Pixels, bytes]]]:
    """Return functions of k that give the image in k colours, and a PNG of it."""
    from PIL import Image

    picture = Image.fromarray(pixels)

    def ours(k: int) -> tuple[Pixels, bytes]:
        result = compress(pixels, k, n_init=STARTS, random_state=0)
        return result.pixels, encoded(result, ".png", Path("china.png"))

    def pillows(name: str, rounds: int = 0) -> Callable[[int], tuple[Pixels, bytes]]:
        def quantize(k: int) -> tuple[Pixels, bytes]:
            method, plain = Image.Quantize[name], Image.Dither.NONE
            small = picture.quantize(k, method, rounds, dither=plain)
            file = io.BytesIO()
            small.save(file, "PNG", optimize=True)
            return np.asarray(small.convert("RGB")), file.getvalue()

        return quantize

    return {
        KMEANS: ours,
        "median cut, then Pillow's k-means": pillows("MEDIANCUT", 1),
        "median cut": pillows("MEDIANCUT"),
        "maximum coverage": pillows("MAXCOVERAGE"),
        "octree": pillows("FASTOCTREE"),
    }


def _psnr(before: Pixels, after: Pixels) -> float:
    squares = (before.astype(np.float64) - after) ** 2
    return float(10 * np.log10(255**2 / squares.mean()))


def _images(book: Notebook, pixels: Pixels, found: list[Quantized]) -> None:
    before = len(np.unique(pixels.reshape(-1, 3), axis=0))
    book.say(
        f"scikit-learn's china.jpg, {SHAPE[1]} × {SHAPE[0]} pixels with {before:,} colours, "
        f"reduced to k colours: those that `compress` finds from the best of {STARTS} starts, each "
        "pixel in the nearest one, without dithering."
    )
    rows = [{"k": it.k, "colours": it.colours, "PSNR, dB": it.psnr} for it in found]
    book.table("quality", rows, shown=True)
    with book.figure("images", "The roofs, in more and more colours", 2, 3, (9.0, 4.5)) as axes:
        shown = [(f"{before:,} colours", pixels)]
        shown += [(f"{it.k} colours: {it.psnr:.1f} dB", it.image) for it in found if it.k in SHOWN]
        for axis, (title, image) in zip(axes.flat, shown, strict=True):
            axis.imshow(image[CROP], interpolation="none")
            axis.set_title(title)
            axis.set_axis_off()
    quality = [it.psnr for it in found]
    book.claim(
        TUTORIAL,
        "load an image as an (H*W, 3) array of RGB pixels and run k-means to reduce colors",
        f"never more than k colours, and PSNR rises with k: from {quality[0]:.1f} dB with "
        f"{COLORS[0]} to {quality[-1]:.1f} with {COLORS[-1]}",
        all(it.colours <= it.k for it in found)
        and all(fewer < more for fewer, more in pairwise(quality)),
    )


def _numbers(book: Notebook, found: list[Quantized]) -> None:
    """Show the image by each quantizer; bytes and Pillow's colours differ between releases."""
    names = list(dict.fromkeys(it.who for it in found))
    everybody = [
        {"who": it.who, "k": it.k, "colours": it.colours, "PSNR, dB": it.psnr}
        | {"kB": it.kilobytes, "ms": it.milliseconds}
        for it in found
    ]
    book.table("everybody", everybody, measured=True)
    highest = {k: max(it.psnr for it in found if it.k == k) for k in COLORS}
    best = sum(it.psnr == highest[it.k] for it in found if it.who == KMEANS)
    book.say(
        "For comparison, the quantizers that come with Pillow. No PSNR is higher than that of "
        f"k-means for {best} of {len(COLORS)} numbers of colours: k-means minimises the very "
        "squares that PSNR measures. Pillow can refine a palette with its own k-means, from a "
        "single start."
    )
    caption = "Quality and size against the number of colours"
    with book.figure("everybody", caption, 1, 2, (9.6, 3.8)) as axes:
        colors = (INK, *PALETTE)
        for color, who in zip(colors, names, strict=False):
            mine = [it for it in found if it.who == who]
            style = {"color": color, "marker": "o", "ms": 4, "label": who}
            axes[0].plot(COLORS, [it.psnr for it in mine], **style)
            axes[1].plot(COLORS, [it.kilobytes for it in mine], **style)
        for axis, title in zip(axes, ("PSNR, decibels", "PNG, kilobytes"), strict=True):
            axis.set_xscale("log", base=2)
            axis.set_xticks(COLORS, [str(k) for k in COLORS])
            axis.set(title=title, xlabel="colours", ylim=(0, None))
        axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    rows = [{"who": who} | {str(k): _ms(found, who, k) for k in (4, 16, 64, 256)} for who in names]
    book.say(
        f"Milliseconds for 4 to 256 colours, including writing the PNG and all {STARTS} starts of "
        "k-means:"
    )
    book.table("seconds", rows, measured=True, shown=True)


def _ms(found: list[Quantized], who: str, k: int) -> float:
    return next(it.milliseconds for it in found if (it.who, it.k) == (who, k))


def _distinct_or_all(book: Notebook, pixels: Pixels) -> None:
    """Measure what it saves to cluster distinct colours, weighted, instead of pixels."""
    rows = []
    X = pixels.reshape(-1, 3).astype(np.float32)
    for kernel, k in ((FLAGSHIP, 16), (FLAGSHIP, 64), ("cpp", 16)):
        all_pixels = partial(kmeans, X, k, kernel=kernel, random_state=0)
        distinct = partial(compress, pixels, k, kernel=kernel, random_state=0)
        rows.append(
            {
                "kernel": kernel,
                "k": k,
                "distinct colours, ms": _milliseconds(distinct),
                "all pixels, ms": _milliseconds(all_pixels),
            }
        )
    book.say(
        "`compress` clusters the distinct colours, each weighted by its number of pixels. The "
        "inertia is the same, from fewer rows. The flagship kernel is still faster on all pixels "
        "of an image of this size, which need no weights; plain kernels and large photographs "
        "benefit."
    )
    book.table("distinct", rows, measured=True, shown=True)


def _milliseconds(call: Callable[[], Any]) -> float:
    spent = []
    for _ in range(3):
        began = perf_counter()
        call()
        spent.append(1000 * (perf_counter() - began))
    return median(spent)
