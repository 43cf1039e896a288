"""An image decoded at reduced scale, with the facts of its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from vertebra.preprocess.image_files import open_image, unreadable
from vertebra.preprocess.images import read_image
from vertebra.preprocess.raw_images import ORIENTATION

SIDE = 256  # pixels of the longer side after reduction, where none other is given


@dataclass(frozen=True, eq=False)
class SmallImage:
    """An image, reduced so that its longer side has at most `SIDE` pixels, or as many as asked; smaller images stay as they are.

    Attributes:
        image: (h, w, 3) uint8, upright; values of more than 8 bits are stretched from the image's minimum to its maximum.
        size: (height, width) in pixels of the upright image in the file.
        mode: Pillow's mode of the file.
        channels: channels in the file; a palette counts as three, or four with transparency.
        bits: bits of one channel in the file.
        deep: whether the file may have numbers of more than 8 bits.
    """

    image: np.ndarray
    size: tuple[int, int]
    mode: str
    channels: int
    bits: int
    deep: bool = False


def read_small(path: str | Path, side: int = SIDE) -> SmallImage:
    """Decodes an image at reduced scale, JPEG files in the decoder itself.

    Args:
        path: of the file.
        side: largest number of pixels of the longer side.

    Raises:
        DataError: the file is missing, damaged, of another format or too large; the message names it.
    """
    try:
        with open_image(path) as picture:
            mode, channels, bits = picture.mode, _channels(picture), _bits(picture)
            deep = bits > 8 or picture.format == "TIFF"  # of which Pillow opens the first page or bands only
            width, height = picture.size
            scale = min(1.0, side / max(width, height))
            target = (max(1, round(width * scale)), max(1, round(height * scale)))
            picture.draft(None, target)
            picture.load()
            turned = picture.getexif().get(ORIENTATION, 1)
            small = _resizable(picture)
            if small.size != target:
                small = small.resize(target, Image.Resampling.BILINEAR)
            upright = ImageOps.exif_transpose(small)
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(str(path), error) from error
    size = (width, height) if turned in (5, 6, 7, 8) else (height, width)
    return SmallImage(read_image(upright, 3, str(path)), size, mode, channels, bits, deep)


def _resizable(picture: Image.Image) -> Image.Image:
    """The picture in a mode whose values may be averaged."""
    if picture.mode in ("P", "PA"):
        return picture.convert("RGBA" if "transparency" in picture.info or picture.mode == "PA" else "RGB")
    if picture.mode == "1":
        return picture.convert("L")
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_stretched(np.asarray(picture)))
    return picture


def _stretched(values: np.ndarray) -> np.ndarray:
    """Numbers (H, W) as uint8, from the smallest to the largest finite one; others become 0."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    low, high = numbers.min(where=finite, initial=np.inf), numbers.max(where=finite, initial=-np.inf)
    shares = np.where(finite, (numbers - low) / (high - low) if high > low else 0.0, 0.0)
    stretched: np.ndarray = np.rint(255 * shares).astype(np.uint8)
    return stretched


def _channels(picture: Image.Image) -> int:
    if picture.mode in ("P", "PA"):
        return 4 if "transparency" in picture.info or picture.mode == "PA" else 3
    return len(picture.getbands())


def _bits(picture: ImageFile.ImageFile) -> int:
    """Bits of one channel; Pillow opens PNG and TIFF files with 16 bits and three channels in a mode of 8 bits."""
    if picture.mode == "1":
        return 1
    raw = str(picture.tile[0][3]) if picture.tile else ""
    if picture.mode.startswith("I;16") or ";16" in raw:
        return 16
    return 32 if picture.mode in ("I", "F") else 8
