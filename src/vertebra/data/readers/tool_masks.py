"""Masks inside of annotation files: pictures and compressed data as text."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np

from vertebra.annotations.drawing import MAX_PIXELS
from vertebra.preprocess.image_files import open_image

MOST_BYTES = 64 * 2**20  # of a compressed mask when it is unpacked
BYTES_A_PIXEL, HEADER_BYTES = 8, 65536  # of a picture at most: 16 bits and 4 bands, and what else a file holds


def base64_bytes(data: object) -> bytes | None:
    """The bytes of base64 text; None if it is none."""
    if not isinstance(data, str):
        return None
    try:
        return base64.b64decode(data, validate=False)
    except (binascii.Error, ValueError):
        return None


def picture_mask(content: bytes) -> np.ndarray | None:
    """A mask from the bytes of a picture, (h, w) bool: where its last band (alpha, or the only one) is not 0.

    None if it is no picture.
    """
    try:
        with open_image(content, "a mask") as picture:
            if picture.width * picture.height > MAX_PIXELS // 4:
                return None
            picture.load()
            values = np.asarray(picture)
    except Exception:  # Pillow raises a dozen types on damaged files
        return None
    mask: np.ndarray = (values[..., -1] if values.ndim == 3 else values) != 0
    return mask


def unzipped(content: bytes, size: tuple[int, int] = (0, 0)) -> bytes | None:
    """Unpacked zlib data of a picture; None if it is damaged, or larger than a picture is, of at most `MOST_BYTES`.

    Args:
        size: height and width of its image, which a mask does not exceed; 0 if unknown.
    """
    most = min(MOST_BYTES, BYTES_A_PIXEL * size[0] * size[1] + HEADER_BYTES) if all(size) else MOST_BYTES
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(content, most)
    except zlib.error:
        return None
    return unpacked if stream.eof else None
