"""Decodes JPEG files with libjpeg-turbo, whole or at 1/2, 1/4 or 1/8 of their size.

The pixels are those that Pillow decodes, in less time. What libjpeg-turbo objects to (a damaged or cut off file) and CMYK are
left to Pillow, so that the same files are refused, with the same messages.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vertebra.preprocess.image_files import check_size, open_image
from vertebra.preprocess.raw_images import ORIENTATION

MAGIC = b"\xff\xd8\xff"
HEAD = 16  # bytes at the start of a file that show its format
REDUCTIONS = (8, 4, 2)
MARGIN = 1.25  # of a reduced image over its size on the canvas

_COLORS = {"Gray": 1, "YCbCr": 3, "RGB": 3}
_MARKER, _SCAN, _METADATA = 0xFF, 0xDA, 0xE1  # the first byte of a segment, and kinds of segments


class JpegHeader(NamedTuple):
    """The header of a JPEG file that libjpeg-turbo can decode.

    Attributes:
        size: (height, width) in pixels, as stored.
        channels: 1 or 3.
        orientation: the number of the tag Orientation.
    """

    size: tuple[int, int]
    channels: int
    orientation: int

    @property
    def reducible(self) -> bool:
        """Whether a reduced image begins at the upright image's top left corner."""
        return self.orientation == 1 or not any(side % REDUCTIONS[0] for side in self.size)

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) after turning."""
        return self.size[::-1] if self.orientation in (5, 6, 7, 8) else self.size


def file_head(source: str | Path | bytes) -> tuple[bytes, bytes | None]:
    """The first bytes of a file, and the whole content of a JPEG file; None for others."""
    if isinstance(source, bytes):
        return source[:HEAD], source if source.startswith(MAGIC) else None
    with Path(source).open("rb", buffering=0) as file:
        head = file.read(HEAD)
        if not head.startswith(MAGIC):
            return head, None
        file.seek(0)
        return head, file.read()


def read_header(content: bytes, name: str) -> JpegHeader | None:
    """The header of a JPEG file; None for one that Pillow has to read.

    Raises:
        DataError: it exceeds the limits of `vertebra.preprocess.image_files`.
        Exception: raised by Pillow for damaged metadata.
    """
    import simplejpeg

    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        return None
    if colors not in _COLORS:
        return None
    check_size((width, height), "JPEG", "L" if colors == "Gray" else "RGB", len(content), name)
    orientation = 1
    if _has_metadata(content):
        with open_image(content, name) as picture:
            orientation = picture.getexif().get(ORIENTATION, 1)
    return JpegHeader((height, width), _COLORS[colors], orientation)


def decode(content: bytes, header: JpegHeader, factor: int = 1, buffer: np.ndarray | None = None) -> np.ndarray | None:
    """The pixels of a JPEG file, as stored.

    Args:
        factor: 1, 2, 4 or 8. Each pixel covers a square of that many pixels of the image; the last ones reach over its edge.
            The DCT coefficients are decoded at this size, which takes less time.
        buffer: bytes for the pixels, which the result then is a part of; None for new ones.

    Returns:
        (ceil(height / factor), ceil(width / factor), 1 or 3) uint8; None where Pillow has to decode it.
    """
    import simplejpeg

    height, width = (-(-side // factor) for side in header.size)
    colors = "GRAY" if header.channels == 1 else "RGB"
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(content, colors, min_height=height, min_width=width, buffer=buffer)
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


def _has_metadata(content: bytes) -> bool:
    """Whether a segment before the pixels may hold an orientation (Exif or XMP)."""
    start = 2
    while start + 4 <= len(content) and content[start] == _MARKER and content[start + 1] != _SCAN:
        if content[start + 1] == _METADATA:
            return True
        start += 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    return start + 4 > len(content) or content[start] != _MARKER  # what is not understood is left to Pillow
