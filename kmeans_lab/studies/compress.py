"""How many colours a photograph needs.

The tutorial's exercise: pixels as rows, their clusters' centers as the only colours. Each k-means
image is held against what Pillow's own ways of choosing colours make of the same photograph.
"""

import io
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from kmeans_lab import kmeans
from kmeans_lab.compress import encode, quantise
from kmeans_lab.presets import PRESETS
from kmeans_lab.studies.notebook import PALETTE, Notebook
from kmeans_lab.studies.sources import TUTORIAL

COLORS = (2, 4, 8, 16, 32, 64, 256)
SHAPE = (427, 640)  # of scikit-learn's china.jpg
CROP = np.s_[60:260, 200:440]  # what the page shows of it
THEIRS = {"median cut": 0, "maximum coverage": 1, "octree": 2}  # Pillow's numbers
REPEATS = 5


def run(book: Notebook) -> None:
    """Draw the photograph in few colours, and hold it against other ways of choosing them."""
    pixels = PRESETS["image"].make().astype(np.uint8)
    rows, sizes, images = [], [], {}
    for k in book.track(COLORS, "colours"):
        found = quantise(pixels, k, n_init=4)
        images[k] = found.palette[found.indices].reshape(*SHAPE, 3)
        row: dict[str, Any] = {"k": k, "colours": len(found.palette)}
        row["k-means, dB"] = round(found.psnr, 2)
        size = {"k": k, "k-means": len(encode(found, SHAPE[::-1], None, ".png"))}
        for name in THEIRS:
            theirs, size[name] = by_pillow(pixels, k, name)
            row[f"{name}, dB"] = round(psnr(pixels, theirs), 2)
        rows.append(row)
        sizes.append(size)
    book.say(
        "scikit-learn's photograph, 640 × 427 pixels in 96,615 colours. The peak signal-to-noise "
        "ratio is that of all three channels; k-means is the best of four starts."
    )
    draw_images(book, pixels, images, rows)
    book.table("quality", rows, shown=True)
    book.say("Bytes of a PNG file with a palette, as each way's colours compress:")
    book.table("bytes", sizes, measured=True, shown=True)
    draw_curves(book, rows, sizes)
    values = [row["k-means, dB"] for row in rows]
    book.claim(
        TUTORIAL,
        "exercise: k-means on the pixels reduces the colours of an image",
        f"at most k colours each time; from {values[0]:.1f} dB with {COLORS[0]} to "
        f"{values[-1]:.1f} dB with {COLORS[-1]}, rising each time, and above Pillow's three ways "
        f"by {margin(rows, min):.2f} to {margin(rows, max):.2f} dB",
        values == sorted(values)
        and all(row["colours"] <= row["k"] for row in rows)
        and margin(rows, min) > 0,
    )
    time_both(book, pixels)


def by_pillow(pixels: Any, k: int, name: str) -> tuple[Any, int]:
    """Return the pixels in the colours that Pillow chooses, and the bytes of its PNG file."""
    from PIL import Image

    method = Image.Quantize(THEIRS[name])
    image = Image.fromarray(pixels.reshape(*SHAPE, 3)).quantize(k, method, dither=Image.Dither.NONE)
    file = io.BytesIO()
    image.save(file, format="png", optimize=True)
    return np.asarray(image.convert("RGB")).reshape(-1, 3), file.tell()


def psnr(a: Any, b: Any) -> float:
    """Return the peak signal-to-noise ratio of two images in decibels."""
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def margin(rows: list[dict[str, Any]], choose: Any) -> float:
    """Return by how many decibels k-means is above the best of the others."""
    return float(
        choose(row["k-means, dB"] - max(row[f"{name}, dB"] for name in THEIRS) for row in rows)
    )


def draw_images(book: Notebook, pixels: Any, images: Any, rows: list[dict[str, Any]]) -> None:
    """Show a part of each image."""
    caption = "A part of the photograph in 2 … 256 colours, chosen by k-means"
    with book.figure("images", caption, 2, 4, (9.6, 4.5)) as axes:
        shown = {**images, 0: pixels.reshape(*SHAPE, 3)}
        titles = [f"{row['k']} colours: {row['k-means, dB']:.1f} dB" for row in rows]
        for axis, image, title in zip(
            axes.flat, shown.values(), [*titles, "the photograph"], strict=True
        ):
            axis.imshow(image[CROP], interpolation="nearest")
            axis.set_title(title)
            axis.set_axis_off()


def draw_curves(book: Notebook, rows: list[dict[str, Any]], sizes: list[dict[str, int]]) -> None:
    """Draw quality and bytes against the number of colours."""
    caption = "Quality and size by the number of colours, and by who chose them"
    with book.figure("curves", caption, 1, 2, (9.2, 3.4)) as axes:
        for name, color in zip(("k-means", *THEIRS), PALETTE, strict=False):
            values = [row[f"{name}, dB"] for row in rows]
            axes[0].plot(COLORS, values, "o-", ms=4, color=color, label=name)
            axes[1].plot(COLORS, [it[name] / 1e3 for it in sizes], "o-", ms=4, color=color)
        axes[0].set(title="Peak signal-to-noise ratio, dB")
        axes[1].set(title="PNG file, kB")
        axes[0].legend()
        for axis in axes:
            axis.set(xscale="log", xlabel="colours")
            axis.set_xticks(COLORS, COLORS)
            axis.minorticks_off()


def time_both(book: Notebook, pixels: Any) -> None:
    """Time distinct colours with weights against all pixels, and Pillow's median cut."""
    tasks: dict[str, Callable[[int], Any]] = {
        "distinct colours, weighted": lambda k: quantise(pixels, k),
        "all pixels": lambda k: kmeans(pixels.astype(float), k, random_state=0),
        "Pillow's median cut": lambda k: by_pillow(pixels, k, "median cut"),
    }
    rows = []
    for k in book.track((16, 256), "seconds"):
        spent: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(REPEATS):
            for name, task in tasks.items():
                start = perf_counter()
                task(k)
                spent[name].append(perf_counter() - start)
        rows.append({"k": k} | {f"{name}, s": median(times) for name, times in spent.items()})
    book.say(f"One start, one thread; medians of {REPEATS} in turns, Pillow's with its file.")
    book.table("seconds", rows, measured=True, shown=True)
