"""Write images of few colours, with a palette where their format and their alpha allow one.

Colours are read back exactly as they were written: formats that would change them are refused.
"""

import io
import struct
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.io.errors import Refused
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


class Coloured(Protocol):
    """An image of few colours: ``Compressed``, or whatever has the same three arrays."""

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Of shape (height, width, 3), or (height, width, 4) with transparency."""

    @property
    def labels(self) -> NDArray[np.integer[Any]]:
        """The place in the palette of each pixel, −1 for those that are transparent."""

    @property
    def palette(self) -> NDArray[np.uint8]:
        """Of shape (n_colors, 3)."""


def lossless_suffix(path: Path) -> str:
    """Return the suffix of an image file to write; ``Refused`` where it is not supported."""
    if path.suffix.lower() in _LOSSY:
        raise Refused(
            f"{path} would be in a format that loses detail and must be in one that keeps every "
            f"colour; use {', '.join(OUTPUT_SUFFIXES)}"
        )
    return known_suffix(path, OUTPUT_SUFFIXES, "name it so")


def encoded(found: Coloured, suffix: str, path: Path, profile: bytes | None = None) -> bytes:
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


def _with_palette(found: Coloured) -> tuple[Any, bytes]:
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
