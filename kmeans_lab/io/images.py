"""Read images: any file that Pillow reads becomes red, green and blue in 8 bits, by one rule.

Sixteen bits are rounded to the nearest eight (65535 = 255 · 257), whatever the mode. Pillow keeps
only the high byte of a colour channel of sixteen bits, so those are decoded twice, the second
time for the low byte.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kmeans_lab.io.errors import MissingExtra, Refused
from kmeans_lab.io.paths import refuse_unreadable

_LITTLE = sys.byteorder == "little"
#: Byte orders of a channel of sixteen bits, as Pillow's raw modes end → the other order.
_OTHER_ORDER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if _LITTLE else ";16L"}
_BITS, _PHOTOMETRIC, _PLANAR = 258, 262, 284  # TIFF tags


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """The parts of an image file that are kept: upright pixels, colour profile, and original mode.

    Attributes
    ----------
    pixels : ndarray of shape (height, width, 3) or, with transparency, (height, width, 4), uint8
    profile : bytes or None
        The ICC profile of its colours, where they still are what it describes.
    mode : str
        Pillow's name for what its pixels were.
    frames : int
        Number of frames in the file, of which this is the first.
    """

    pixels: NDArray[np.uint8]
    profile: bytes | None
    mode: str
    frames: int


def read_picture(path: Path) -> Picture:
    """Read an image file: its first frame, upright, in 8 bits per channel.

    Raises
    ------
    Refused
        It is not there, not readable, not an image, or more than memory or 8 bits can hold.
    MissingExtra
        Pillow is not installed.
    """
    refuse_unreadable(path)
    try:
        with _opened(path) as image:
            frames, mode = int(getattr(image, "n_frames", 1)), str(image.mode)
            raw = _raw_mode(image)
            grey = mode[0] in "IF"
            deep = not grey and _has_more_than_eight_bits(path, image, raw)
            image.load()
            profile = image.info.get("icc_profile")
            if grey or deep:
                values = _grey(path, image, raw) if grey else _sixteen(path, image, raw)
                image = _rounded(image, values)
            pixels = _pixels(_upright(image), path)
    except MemoryError:
        raise Refused(f"{path} does not fit into memory; scale it down") from None
    if mode not in ("RGB", "RGBA", "P", "PA"):  # a profile of greys or inks does not apply to RGB
        profile = None
    return Picture(pixels, profile, mode, frames)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an image with Pillow, and turn any error in reading it into ``Refused``."""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise MissingExtra(f"reading {path} needs", "pillow") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on metadata, size and transparency
            with Image.open(path) as image:
                _refuse_program(path, image.format)
                yield image
    except Image.DecompressionBombError as error:
        raise Refused(f"{path} is too large an image ({error}); scale it down") from None
    except (MemoryError, Refused):
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        raise Refused(
            f"{path} is damaged or not an image that Pillow can read; check or convert it"
        ) from error


def _refuse_program(path: Path, kind: str | None) -> None:
    if kind == "EPS":  # Pillow would run it with Ghostscript
        raise Refused(f"{path} is a PostScript program and must be an image; convert it")


def _raw_mode(image: Any) -> str:
    """Return how the file holds its pixels, by Pillow's name; empty where no name is known."""
    if not getattr(image, "tile", None):
        return ""
    arguments = image.tile[0][3]
    first = arguments if isinstance(arguments, str) else (arguments or ("",))[0]
    return first if isinstance(first, str) else ""


def _has_more_than_eight_bits(path: Path, image: Any, raw: str) -> bool:
    """Return whether colours have sixteen bits; ``Refused`` where they cannot be decoded whole."""
    kind, bits = image.format, 8
    if raw[-4:] in _OTHER_ORDER or (kind == "SGI" and image.tile[0][0] == "SGI16"):
        bits = 16
    elif kind == "TIFF":
        bits = max(image.tag_v2.get(_BITS, (8,)))
    elif kind == "JPEG2000":
        head = path.open("rb").read(1 << 16)
        start = head.find(b"\xff\x4f\xff\x51")  # the codestream; 42 bytes on: one channel's depth
        bits = (head[start + 42] & 127) + 1 if 0 <= start < len(head) - 42 else 8
    if bits <= 8:
        return False
    in_planes = kind == "TIFF" and image.tag_v2.get(_PLANAR, 1) == 2
    if kind in ("PNG", "TIFF") and raw[-4:] in _OTHER_ORDER and not in_planes:
        return True
    raise Refused(
        f"{path} has {bits} bits per channel, of which Pillow reads the first 8 only from "
        f"{kind}{' in separate planes' * in_planes}; convert it to PNG, or to 8 bits"
    )


def _rounded(image: Any, values: NDArray[Any]) -> Any:
    """Return an image whose channels (height, width, channels) have eight bits, rounded."""
    from PIL import Image

    clear = image.info.get("transparency")
    if isinstance(clear, (int, tuple)):  # one colour, in all of its bits
        alpha = np.where((values == clear).all(axis=-1), 0, 65535).astype(np.uint16)
        values = np.dstack([values, alpha])
    four = "CMYK" if image.mode == "CMYK" else "RGBA"
    mode = {1: "L", 2: "LA", 3: "RGB", 4: four}[values.shape[-1]]
    eight = ((values.astype(np.uint32) * 510 + 65535) // (2 * 65535)).astype(np.uint8)
    result = Image.frombytes(mode, image.size, eight.tobytes())
    result.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return result


def _sixteen(path: Path, image: Any, raw: str) -> NDArray[Any]:
    """Return all bits of each channel, by decoding the file again."""
    if raw == "LA;16B":  # as many bits as four channels of eight, which come out as they are
        grey, grey_low, alpha, alpha_low = np.moveaxis(_decoded(path, "RGBA"), -1, 0)
        grey, alpha = (grey << 8 | grey_low), (alpha << 8 | alpha_low)
        return np.stack([grey, grey, grey, alpha], axis=-1)
    order = raw[-4:]
    channels = raw[:-4].replace("RGBa", "RGBA")
    same, other = channels + order, channels + _OTHER_ORDER[order]
    high = np.asarray(image).astype(np.uint16) if same == raw else _decoded(path, same)
    values: NDArray[Any] = high << 8 | _decoded(path, other)
    if channels + order != raw:  # colours were multiplied with their alpha
        alpha = values[..., 3:].astype(np.uint64)
        colors = (values[..., :3] * np.uint64(65535) + alpha // 2) // np.maximum(alpha, 1)
        values[..., :3] = np.minimum(colors, 65535)
    return values


def _decoded(path: Path, raw: str) -> NDArray[Any]:
    """Return a file's pixels (height, width, channels) as if it held them in another way."""
    from PIL import Image

    image: Any
    with Image.open(path) as image:
        image.tile = [
            (type(tile)._make if hasattr(type(tile), "_make") else tuple)(
                (*tile[:3], raw if isinstance(tile[3], str) else (raw, *tile[3][1:]))
            )
            for tile in image.tile
        ]
        image.load()
        pixels: NDArray[Any] = np.asarray(image).astype(np.uint16)
    return pixels


def _grey(path: Path, image: Any, raw: str) -> NDArray[Any]:
    """Return grey (height, width, 1) in sixteen bits; ``Refused`` for more, which has no white."""
    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    of_32_bits = image.mode == "I" and max(tags.get(_BITS, (16,))) > 16
    if image.mode == "F" or of_32_bits or values.min() < 0 or values.max() > 65535:
        raise Refused(
            f"{path} has more than 16 bits per channel (mode {image.mode}) and must have 16 at "
            "most; convert it"
        )
    values = values.astype(np.uint16)
    if raw == "I;12":
        values = values << 4 | values >> 8  # white is 4095
    if tags.get(_PHOTOMETRIC) == 0:
        values = 65535 - values  # TIFF's "white is zero"
    return values[..., np.newaxis]


def _upright(image: Any) -> Any:
    """Turn an image as its EXIF data say; damaged ones are ignored."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever damaged metadata lead Pillow to
        return image


def _pixels(image: Any, path: Path) -> NDArray[np.uint8]:
    """Return red, green, blue and, where anything is transparent, alpha."""
    if image.mode == "La":
        image = image.convert("LA")
    see_through = "transparency" in image.info or image.getbands()[-1] in ("A", "a")
    try:
        image = image.convert("RGBA" if see_through else "RGB")
    except ValueError:
        raise Refused(f"{path} has colours of mode {image.mode}; convert it to RGB") from None
    pixels = np.asarray(image)
    if see_through and (pixels[..., 3] == 255).all():
        pixels = pixels[..., :3]
    return np.ascontiguousarray(pixels)
