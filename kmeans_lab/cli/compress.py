"""The command ``kmeans-lab compress``: an image file in, one of few colours out."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from kmeans_lab.cli.inputs import answerable, refuse_unless_ready
from kmeans_lab.cli.terminal import emit, show
from kmeans_lab.compress import compress
from kmeans_lab.formatting import make_table
from kmeans_lab.io.errors import Refused
from kmeans_lab.io.images import read_picture
from kmeans_lab.io.outputs import plan_output
from kmeans_lab.io.palettes import OUTPUT_SUFFIXES, encoded, lossless_suffix


def add_compress_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``kmeans-lab compress``."""
    add = parser.add_argument
    add("image", metavar="IMAGE", type=Path, help="any image that Pillow reads")
    add("-k", "--clusters", metavar="K", type=int, required=True, help="at most so many colours")
    add(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        required=True,
        help=f"file to write: {' '.join(OUTPUT_SUFFIXES)}",
    )
    add("--kernel", metavar="NAME", default="auto", help="the kernel to use (default auto)")
    add("--seed", metavar="N", type=int, help="seed of the random choices (default: a fresh one)")
    add("--n-init", metavar="N", type=int, default=1, help="repetitions, of which the best is kept")
    add("--force", action="store_true", help="replace an output that exists")
    add("-q", "--quiet", action="store_true", help="no table")


def compress_image(arguments: argparse.Namespace) -> None:
    """Read an image, choose its colours, write it, and print the result."""
    if not (arguments.json or arguments.quiet):
        make_table()  # a missing extra is better reported before the work
    source, target = arguments.image, arguments.output
    suffix = lossless_suffix(target)
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
