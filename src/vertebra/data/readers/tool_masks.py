"""Masks inside of annotation files: pictures and compressed data as text."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np

from vertebra.annotations.drawing import MAX_PIXELS
from vertebra.preprocess.image_files import open_image

MOST_BYTES = 64 * 2**20  # of a compressed mask when it is unpacked


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


def unzipped(content: bytes) -> bytes | None:
    """Unpacked zlib data of at most `MOST_BYTES`; None if it is damaged or larger."""
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(content, MOST_BYTES)
    except zlib.error:
        return None
    return unpacked if stream.eof else None
