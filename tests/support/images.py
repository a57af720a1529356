"""Small images of noise, and files of them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def noise(
    seed: int = 0, shape: tuple[int, ...] = (14, 9, 3), low: int = 0, high: int = 256
) -> Pixels:
    """Return pixels of every colour."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.uint8)


def holes(
    seed: int = 0, shape: tuple[int, int] = (14, 9), alphas: tuple[int, ...] = (0, 255)
) -> Pixels:
    """Return noise, transparent in places."""
    alpha = np.random.default_rng(seed + 1).choice(alphas, shape).astype(np.uint8)
    return np.dstack([noise(seed, (*shape, 3)), alpha])


def colors_of(pixels: Pixels) -> Pixels:
    """Return the colours of an image, each once: (n_colors, 3)."""
    return np.unique(pixels.reshape(-1, pixels.shape[-1])[:, :3], axis=0)


def saved(name: str, image: Any, **options: Any) -> Path:
    """Save pixels or an image in the working folder; return its path."""
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(name, **options)
    return Path(name)
