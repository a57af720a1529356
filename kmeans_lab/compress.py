"""Colour quantisation: an image drawn with the k colours that differ least from its own.

k-means minimises just what the peak signal-to-noise ratio measures, the sum of squared differences.
It is given each *distinct* colour once, weighted with the number of its pixels: the same clusters
as from all pixels, whose number then does not matter. Needs the extra ``cli``, for Pillow.
"""

import argparse
import io
import json
from dataclasses import dataclass
from math import inf, log10
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import checks
from kmeans_lab.datafiles import Refused, open_image
from kmeans_lab.driver import kmeans
from kmeans_lab.outputs import plan_output
from kmeans_lab.registry import KERNELS, choose_kernel, load_kernel
from kmeans_lab.terminal import emit, make_table, show

Bytes = NDArray[np.uint8]

#: What can be written without bringing other colours in.
SUFFIXES = (".png", ".gif", ".webp", ".tif", ".tiff", ".bmp")
_PALETTE = 256  # entries at most
_START_PIXELS = 1 << 17  # that a start is drawn from
_OPTIONS: dict[str, dict[str, Any]] = {
    ".png": {"optimize": True},
    ".webp": {"lossless": True, "exact": True},
    ".tif": {"compression": "tiff_deflate"},
    ".tiff": {"compression": "tiff_deflate"},
}


@dataclass(frozen=True, slots=True)
class Quantised:
    """An image in few colours.

    Attributes
    ----------
    palette : ndarray of shape (n_colors, 3), uint8
        The colours that are used.
    indices : ndarray of shape (n_pixels,), intp
        Which one each pixel has.
    n_before : int
        Distinct colours before.
    psnr : float
        Peak signal-to-noise ratio in decibels over the pixels that are seen; infinite where
        nothing changed.
    """

    palette: Bytes
    indices: NDArray[np.intp]
    n_before: int
    psnr: float


def quantise(
    pixels: Any,
    n_colors: int,
    *,
    seen: Any = None,
    n_init: int = 1,
    random_state: Any = 0,
    **options: Any,
) -> Quantised:
    """Find at most so many colours for an image.

    Parameters
    ----------
    pixels : array-like of shape (n_pixels, 3), uint8
    n_colors : int
        At least 1. An image with no more colours than that keeps them.
    seen : array-like of shape (n_pixels,), bool, optional
        Pixels that count; the others get whichever colour is nearest.
    n_init : int, default 1
        Repetitions, of which the one with the lowest inertia is kept.
    random_state : None, int or numpy.random.Generator, default 0
    **options
        Of ``kmeans``.

    Returns
    -------
    Quantised

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong kind; the sentence says what to do.
    """
    n_colors = checks.integer("n_colors", n_colors, 1)
    n_init = checks.integer("n_init", n_init, 1)
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3 or not len(pixels):
        raise ValueError(
            f"pixels is {pixels.dtype} of shape {pixels.shape} and must be uint8 of shape "
            "(n_pixels, 3); reshape the image's array"
        )
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    codes, inverse = np.unique(packed, return_inverse=True)
    colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.float64)
    weights = np.bincount(inverse, weights=None if seen is None else np.asarray(seen, dtype=float))
    count = int(np.count_nonzero(weights))
    if count <= n_colors:
        chosen = colors[weights > 0] if count else colors[:1]
    else:
        shown = pixels if seen is None else pixels[np.asarray(seen, dtype=bool)]
        rng = checks.generator(random_state)
        fits = [
            kmeans(
                colors,
                n_colors,
                init=_start(shown, n_colors, rng),
                sample_weight=weights,
                **options,
            )
            for _ in range(n_init)
        ]
        best = min(fits, key=lambda it: it.inertia)
        chosen = np.unique(np.rint(best.centers), axis=0)
    # Rounded, centers are no longer where they were: a colour may have another one nearest.
    labels = np.empty(len(colors), dtype=np.int32)
    load_kernel(choose_kernel("serial")).assign(colors, np.ascontiguousarray(chosen), labels)
    used, places = np.unique(labels, return_inverse=True)
    palette = chosen[used]
    squares = ((colors - palette[places]) ** 2).sum(axis=1) @ weights / max(weights.sum(), 1)
    psnr = 10 * log10(3 * 255**2 / squares) if squares > 0 else inf
    return Quantised(palette.astype(np.uint8), places[inverse], count, psnr)


def _start(pixels: Bytes, n_colors: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return centers to start from: k-means++ on some pixels, and one iteration.

    Pixels are drawn with probability D² as colours would be with their weights; the flagship does
    it in a hundredth of the time that the weighted draws of NumPy take.
    """
    if len(pixels) > _START_PIXELS:
        pixels = pixels[rng.choice(len(pixels), _START_PIXELS, replace=False)]
    n_clusters = min(n_colors, len(pixels))
    found = kmeans(pixels.astype(np.float64), n_clusters, max_iter=1, random_state=rng)
    missing = n_colors - n_clusters
    return np.vstack([found.centers, np.repeat(found.centers[:1], missing, axis=0)])


def encode(found: Quantised, size: tuple[int, int], alpha: Bytes | None, suffix: str) -> bytes:
    """Return an image file: with a palette where the format and the transparency allow it.

    ``size`` is (width, height), ``alpha`` (n_pixels,) or None. ``Refused`` where the format would
    lose what is there.
    """
    from PIL import Image

    partial = alpha is not None and bool(((alpha > 0) & (alpha < 255)).any())
    entries = len(found.palette) + (alpha is not None)
    if suffix == ".bmp" and alpha is not None:
        raise Refused("a .bmp file keeps no transparency and the image has some; write a .png")
    if suffix == ".gif" and (partial or entries > _PALETTE):
        raise Refused(
            "a .gif file keeps 256 colours, one of them for what is fully transparent, and the "
            "image needs more; write a .png"
        )
    options = dict(_OPTIONS.get(suffix, {}))
    transparent = alpha is None or suffix in (".png", ".gif")
    if suffix != ".webp" and not partial and entries <= _PALETTE and transparent:
        indices, palette = found.indices.astype(np.uint8), found.palette
        if alpha is not None:
            options["transparency"] = len(palette)
            indices[alpha == 0] = len(palette)
            palette = np.vstack([palette, np.zeros((1, 3), np.uint8)])
        image = Image.frombytes("P", size, indices.tobytes())
        image.putpalette(palette.tobytes())
    else:
        colors = found.palette[found.indices]
        if alpha is not None:
            colors = np.column_stack([colors, alpha])
        image = Image.fromarray(colors.reshape(size[1], size[0], -1))
    file = io.BytesIO()
    image.save(file, format=Image.registered_extensions()[suffix], **options)
    return file.getvalue()


def add_compress_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab compress``."""
    add = parser.add_argument
    add("image", metavar="IMAGE", type=Path, help="an image that Pillow reads")
    add("-k", "--colors", metavar="K", type=int, required=True, help="colours at most")
    suffixes = ", ".join(SUFFIXES)
    add("-o", "--output", metavar="OUT", type=Path, required=True, help=f"a file: {suffixes}")
    add("--kernel", metavar="NAME", default="auto", help=f"auto, {', '.join(KERNELS)} (auto)")
    add("--n-init", metavar="N", type=int, default=1, help="repetitions, the best is kept (1)")
    add("--seed", metavar="N", type=int, default=0, help="seed of the random choices (0)")
    add("--force", action="store_true", help="replace an output that exists")
    add("-q", "--quiet", action="store_true", help="print nothing")


def compress(arguments: argparse.Namespace) -> None:
    """Write an image with at most k colours, and say what that costs and saves."""
    if not (arguments.json or arguments.quiet):
        make_table()  # a missing extra is better reported before the work
    source, target = arguments.image, arguments.output
    if not source.is_file():
        raise Refused(f"there is no file {source}; check the path")
    output = plan_output(target, source, arguments.force, SUFFIXES)
    start = perf_counter()
    image = open_image(source)
    pixels = np.asarray(image).reshape(-1, len(image.getbands()))
    alpha = None
    if pixels.shape[1] == 4 and (pixels[:, 3] < 255).any():
        alpha = np.ascontiguousarray(pixels[:, 3])
    options = {"n_init": arguments.n_init, "kernel": arguments.kernel}
    try:
        found = quantise(
            pixels[:, :3],
            arguments.colors,
            seen=None if alpha is None else alpha > 0,
            random_state=arguments.seed,
            **options,
        )
    except (ValueError, TypeError) as error:
        raise Refused(str(error)) from error
    output.write_bytes([encode(found, image.size, alpha, target.suffix.lower())])
    report = {
        "image": str(source),
        "width": image.width,
        "height": image.height,
        "colors_before": found.n_before,
        "colors": len(found.palette),
        "psnr": None if found.psnr == inf else found.psnr,
        "bytes_before": source.stat().st_size,
        "bytes": target.stat().st_size,
        "seconds": perf_counter() - start,
        "output": str(target),
    }
    if arguments.json:
        emit(json.dumps(report, indent=2) + "\n")
    elif not arguments.quiet:
        _show(report)


def _show(report: dict[str, Any]) -> None:
    quality = "nothing changed" if report["psnr"] is None else f"{report['psnr']:.2f} dB"
    table = make_table("", "", show_header=False)
    for row in {
        "pixels": f"{report['width']:,} × {report['height']:,}",
        "colours": f"{report['colors_before']:,} → {report['colors']:,}",
        "signal to noise": quality,
        "bytes": f"{report['bytes_before']:,} → {report['bytes']:,}",
        "seconds": f"{report['seconds']:.3f}",
        "written": report["output"],
    }.items():
        table.add_row(*row)
    show(table)
