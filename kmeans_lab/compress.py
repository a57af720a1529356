"""Colour quantisation: an image in at most k colours, which k-means chooses among its pixels.

What k-means minimises, the sum of squared distances, is what PSNR measures: a palette of k colours
that is a local optimum of another sum is better by that measure only by chance.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab import checks
from kmeans_lab.arrays import read
from kmeans_lab.driver import kmeans
from kmeans_lab.isolation.availability import choose_kernel
from kmeans_lab.kernel import Kernel
from kmeans_lab.registry import load_kernel
from kmeans_lab.result import Lines, Shown
from kmeans_lab.seeding import greedy

Pixels = NDArray[np.uint8]

#: Most pixels that a start is drawn from: k-means++ goes through all of them for every colour.
_START_PIXELS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Compressed(Shown):
    """An image in few colours.

    Instances are compared by identity, not by their arrays; the repr has three lines.

    Attributes
    ----------
    pixels : ndarray like the one that was given, uint8
        Each visible pixel in its palette colour; alpha unchanged. Fully transparent pixels have the
        first palette colour.
    palette : ndarray of shape (n_colors, 3), uint8
        Distinct colours, n_colors ≤ n_clusters; empty where no pixel is visible.
    labels : ndarray of the shape of the pixels without the last axis, int32
        Each pixel's palette colour; −1 where it is fully transparent.
    n_colors_before : int
        Distinct colours of visible pixels.
    psnr : float
        Peak signal-to-noise ratio of the visible pixels in decibels; infinite where none changed.
    n_iter : int
        Iterations of k-means; 0 where there were few enough colours.
    kernel : str
        The kernel that ran, or "none".
    """

    pixels: Pixels
    palette: Pixels
    labels: NDArray[np.int32]
    n_colors_before: int
    psnr: float
    n_iter: int
    kernel: str

    def _lines(self) -> Lines:
        colors = {"n_colors": len(self.palette), "n_colors_before": self.n_colors_before}
        return [
            {"shape": self.pixels.shape},
            colors | {"psnr": self.psnr},
            {"kernel": self.kernel, "n_iter": self.n_iter},
        ]


@checks.numpys_own_errors
def compress(
    pixels: Any,
    n_clusters: int,
    *,
    kernel: str | Kernel = "auto",
    n_init: int = 1,
    random_state: Any = None,
) -> Compressed:
    """Replace the colours of an image by at most n_clusters.

    Parameters
    ----------
    pixels : array of shape (…, 3) or (…, 4), uint8
        Red, green and blue, and alpha in the last place if there are four. Pixels of alpha 0 do not
        count; all others count equally.
    n_clusters : int
        Maximum number of colours, at least 1. An image with no more colours is returned unchanged.
    kernel : str or module, default "auto"
        As in ``kmeans``.
    n_init : int, default 1
        Repetitions; the best palette wins.
    random_state : None, int or numpy.random.Generator
        Source of the starts.

    Returns
    -------
    Compressed

    Raises
    ------
    ValueError, TypeError
        An argument is out of range or of the wrong kind.
    KernelUnavailable
        The kernel's module or package is not installed.

    Notes
    -----
    The *distinct* colours are clustered, each weighted by its pixels, from starts that are drawn
    among 65 536 pixels. Of 12 megapixels with 1.5 million colours, 256 clusters take 2.3 seconds
    that way, and 9.5 from all pixels. On small photographs this pays only for kernels other than
    the flagship: china.jpg (0.27 megapixels, 97 000 colours) in 16 colours takes ``cpp`` 0.13
    seconds instead of 0.29, and ``cpp-simd`` 0.05 instead of 0.02.
    """
    pixels = _checked(pixels)
    n_clusters = checks.integer("n_clusters", n_clusters, 1)
    n_init = checks.integer("n_init", n_init, 1)
    rng = checks.generator(random_state)
    visible = slice(None) if pixels.shape[-1] == 3 else pixels[..., 3] > 0
    colors, places, counts = _distinct(pixels[visible][..., :3].reshape(-1, 3))
    palette, n_iter, name = colors, 0, "none"
    chosen = np.arange(len(colors), dtype=np.int32)
    if len(colors) > n_clusters:
        palette, n_iter, name = _palette(colors, counts, n_clusters, kernel, n_init, rng)
        chosen = _nearest(colors, palette)
    labels = np.full(pixels.shape[:-1], -1, dtype=np.int32)
    labels[visible] = chosen[places].reshape(labels[visible].shape)
    found = pixels.copy()
    found[..., :3] = palette[labels.clip(0)] if len(palette) else 0
    error = colors.astype(np.int64) - palette[chosen]
    psnr = _psnr(int((error**2).sum(axis=1) @ counts), 3 * int(counts.sum()))
    return Compressed(found, palette, labels, len(colors), psnr, n_iter, name)


def _checked(pixels: Any) -> Pixels:
    array = read("pixels", pixels)
    if array.dtype != np.uint8:
        raise TypeError(
            f"pixels has dtype {array.dtype} and must have uint8, 0 to 255; scale and convert it"
        )
    if array.ndim < 2 or array.shape[-1] not in (3, 4) or array.size == 0:
        raise ValueError(
            f"pixels has shape {array.shape} and must have (…, 3) or (…, 4), with one pixel at "
            "least; stack red, green, blue and, if need be, alpha along the last axis"
        )
    return array


def _distinct(
    colors: Pixels,
) -> tuple[Pixels, NDArray[np.intp], NDArray[np.int64]]:
    """Return distinct colours (n, 3), each pixel's index among them, and the pixels of each."""
    wide = colors.astype(np.uint32)
    packed = wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2]
    found, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    split = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1)
    return split.astype(np.uint8), places, counts


def _palette(
    colors: Pixels,
    counts: NDArray[np.int64],
    n_clusters: int,
    kernel: str | Kernel,
    n_init: int,
    rng: np.random.Generator,
) -> tuple[Pixels, int, str]:
    """Return at most n_clusters colours, the iterations, and the kernel that found them."""
    X = colors.astype(np.float32)  # exact for integers up to 255, in half the memory

    def start(rows: Any, k: int, draws: np.random.Generator) -> Any:
        few = max(_START_PIXELS, 16 * k)
        if counts.sum() <= few:
            return greedy(np.repeat(X, counts, axis=0), k, draws)
        drawn = draws.choice(len(X), few, p=counts / counts.sum())
        return greedy(X[drawn], k, draws)

    result = kmeans(
        X,
        n_clusters,
        kernel=kernel,
        init=start,
        n_init=n_init,
        random_state=rng,
        sample_weight=counts,
    )
    rounded = np.rint(result.centers).clip(0, 255).astype(np.uint8)
    return np.unique(rounded, axis=0), result.n_iter, result.kernel


def _nearest(colors: Pixels, palette: Pixels) -> NDArray[np.int32]:
    """Return each colour's nearest palette entry, which rounding may have changed."""
    kernel = load_kernel(choose_kernel())
    labels = np.empty(len(colors), dtype=np.int32)
    kernel.assign(colors.astype(np.float64), palette.astype(np.float64), labels)
    return labels


def _psnr(squares: int, n_values: int) -> float:
    """Return 10 · log₁₀(255² / mean square)."""
    return float(10 * np.log10(255**2 * n_values / squares)) if squares else float("inf")
