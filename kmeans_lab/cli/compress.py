"""The command ``kmeans-lab compress``: an image file in, one of few colours out.

Colours that are written are those that are read back: formats that would bring others are refused.
"""

import argparse
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_lab.cli.kernel_arguments import answerable, refuse_unless_ready
from kmeans_lab.cli.terminal import emit, make_table, show
from kmeans_lab.compress import Compressed, compress
from kmeans_lab.errors import Refused
from kmeans_lab.io.images import read_picture
from kmeans_lab.io.outputs import plan_output
from kmeans_lab.io.paths import known_suffix

_FORMATS = {
    ".png": "PNG",
    ".webp": "WEBP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
OUTPUT_SUFFIXES = tuple(_FORMATS)
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"optimize": True},
    "WEBP": {"lossless": True, "exact": True, "quality": 100, "method": 6},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".avif", ".heic")


def add_compress_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab compress``."""
    add = parser.add_argument
    add("image", metavar="IMAGE", type=Path, help="any image that Pillow reads")
    add("-k", "--clusters", metavar="K", type=int, required=True, help="colours at most")
    add(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        required=True,
        help=f"file to write: {' '.join(OUTPUT_SUFFIXES)}",
    )
    add("--kernel", metavar="NAME", default="auto", help="who assigns (default auto)")
    add("--seed", metavar="N", type=int, help="seed of the random choices (default: a fresh one)")
    add("--n-init", metavar="N", type=int, default=1, help="repetitions, of which the best is kept")
    add("--force", action="store_true", help="replace an output that exists")
    add("-q", "--quiet", action="store_true", help="no table")


def compress_image(arguments: argparse.Namespace) -> None:
    """Read an image, choose its colours, write it, and say what came of it."""
    if not (arguments.json or arguments.quiet):
        make_table()  # a missing extra is better reported before the work
    source, target = arguments.image, arguments.output
    suffix = _lossless_suffix(target)
    output = plan_output([target], [source], arguments.force)
    picture = read_picture(source)
    with answerable(arguments.kernel):
        try:
            refuse_unless_ready(arguments.kernel)
            found = compress(
                picture.pixels,
                arguments.clusters,
                kernel=arguments.kernel,
                n_init=arguments.n_init,
                random_state=arguments.seed,
            )
        except (ValueError, TypeError) as error:
            raise Refused(str(error)) from error
    content = encoded(found, suffix, target, picture.profile)
    before = source.stat().st_size
    output.write([content])
    report = {
        "image": str(source),
        "output": str(target),
        "width": picture.pixels.shape[1],
        "height": picture.pixels.shape[0],
        "mode": picture.mode,
        "frames": picture.frames,
        "n_clusters": arguments.clusters,
        "colors_before": found.n_colors_before,
        "colors": len(found.palette),
        "psnr": found.psnr if np.isfinite(found.psnr) else None,
        "bytes_before": before,
        "bytes": len(content),
        "kernel": found.kernel,
        "n_iter": found.n_iter,
    }
    if arguments.json:
        emit(json.dumps(report, indent=2) + "\n")
    elif not arguments.quiet:
        _show(report)


def _lossless_suffix(path: Path) -> str:
    if path.suffix.lower() in _LOSSY:
        raise Refused(
            f"{path} would be a format that loses detail and must be one that keeps every colour, "
            f"or others would come back; use {', '.join(OUTPUT_SUFFIXES)}"
        )
    return known_suffix(path, OUTPUT_SUFFIXES, "name it so")


def encoded(found: Compressed, suffix: str, path: Path, profile: bytes | None = None) -> bytes:
    """Return the file of an image, with a palette where its format and its alpha allow one.

    Raises
    ------
    Refused
        The format cannot hold it: too many colours, too much transparency, too large.
    """
    from PIL import Image

    opaque = found.pixels.shape[-1] == 3 or bool((found.pixels[..., 3] == 255).all())
    image, clear = _with_palette(found)
    kind = _FORMATS[suffix]
    if kind == "BMP" and not opaque:
        raise Refused(f"{path} would lose the transparency, which BMP does not have; use .png")
    if kind == "GIF" and image is None:
        raise Refused(f"{path} would need more than 256 colours, which GIF does not have; use .png")
    if kind == "GIF" and any(clear):
        raise Refused(f"{path} would be transparent in part, which GIF cannot be; use .png")
    if image is None or kind == "WEBP" or (kind == "TIFF" and not opaque):
        image, clear = Image.fromarray(found.pixels[..., :3] if opaque else found.pixels), b""
    options = dict(_OPTIONS.get(kind, {}))
    if clear:
        options["transparency"] = clear if kind == "PNG" else 0
    if profile is not None:
        options["icc_profile"] = profile
    file = io.BytesIO()
    try:
        image.save(file, kind, **options)
    except (ValueError, OSError, OverflowError, struct.error) as error:
        raise Refused(f"{path} cannot hold this image ({error}); use .png") from error
    return file.getvalue()


def _with_palette(found: Compressed) -> tuple[Any, bytes]:
    """Return an image of mode P, and the alpha of those entries that are not opaque.

    The image is None where 256 entries are too few: each is a colour with one alpha.
    """
    from PIL import Image

    entries = found.labels.clip(0).astype(np.uint32)
    if found.pixels.shape[-1] == 4:  # the transparent ones come first, as PNG and GIF want them
        entries |= found.pixels[..., 3].astype(np.uint32) << 24
    else:
        entries |= np.uint32(255 << 24)
    entries, places = np.unique(entries, return_inverse=True)
    if len(entries) > 256:
        return None, b""
    image = Image.fromarray(places.reshape(found.labels.shape).astype(np.uint8))
    colors = found.palette if len(found.palette) else np.zeros((1, 3), dtype=np.uint8)
    image.putpalette(colors[entries & 0xFFFFFF].tobytes())
    alphas = (entries >> 24).astype(np.uint8)
    return image, alphas[alphas < 255].tobytes()


def _show(report: dict[str, Any]) -> None:
    first = f", the first of {report['frames']:,} frames" if report["frames"] > 1 else ""
    psnr = "unchanged" if report["psnr"] is None else f"{report['psnr']:.2f} dB"
    share = report["bytes"] / report["bytes_before"]
    table = make_table("", "", show_header=False)
    for row in {
        "image": f"{report['width']:,} × {report['height']:,}, mode {report['mode']}{first}",
        "colours": f"{report['colors_before']:,} before, {report['colors']:,} now",
        "PSNR": psnr,
        "bytes": f"{report['bytes_before']:,} before, {report['bytes']:,} now ({share:.0%})",
        "kernel": f"{report['kernel']}, {report['n_iter']:,} iterations",
        "written": report["output"],
    }.items():
        table.add_row(*row)
    show(table)
