"""Decodes JPEG files with libjpeg-turbo, whole or at 1/2, 1/4 or 1/8 of their size.

The pixels are those that Pillow decodes, in less time. What libjpeg-turbo objects to (a damaged or cut off file) is left to
Pillow, so that the same files are refused, with the same messages.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

MAGIC = b"\xff\xd8\xff"
REDUCTIONS = (8, 4, 2)
MARGIN = 1.25  # of a reduced image over its size on the canvas

_COLORS = {"L": "GRAY", "RGB": "RGB"}


def decode(content: bytes, picture: Image.Image, factor: int = 1) -> np.ndarray | None:
    """The pixels of a JPEG file, as stored.

    Args:
        content: the file.
        picture: the same, as Pillow opened it, not decoded.
        factor: 1, 2, 4 or 8. Each pixel covers a square of that many pixels of the image; the last ones reach over its edge.
            The DCT coefficients are decoded at this size, which takes less time.

    Returns:
        (ceil(height / factor), ceil(width / factor), 1 or 3) uint8; None where Pillow has to decode it.
    """
    import simplejpeg

    colors = _COLORS.get(picture.mode)
    if colors is None:  # CMYK
        return None
    height, width = -(-picture.height // factor), -(-picture.width // factor)
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(content, colors, min_height=height, min_width=width)
    except ValueError:
        return None
    return pixels if pixels.shape[:2] == (height, width) else None


def reduction(size: tuple[int, int], needed: tuple[int, int]) -> int:
    """The largest of 8, 4, 2 and 1 that leaves a part of an image larger than needed, by `MARGIN`.

    The pixels of a reduced image that is resized further differ from those of the whole image by 1.6 gray levels in the mean
    with this margin, on photographs; compression as JPEG of quality 90 changes them by 1.4.

    Args:
        size: (height, width) of the part in pixels of the image.
        needed: (height, width) that it is resized to.
    """
    for factor in REDUCTIONS:
        if all(side >= MARGIN * factor * least for side, least in zip(size, needed, strict=True)):
            return factor
    return 1
