"""Image files of kinds that Pillow does not write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import tifffile

COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by number of channels


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png16(pixels: np.ndarray, *extra: bytes) -> bytes:
    """A PNG file of 16 bits a channel.

    Args:
        pixels: (H, W, C) uint16, of 1 to 4 channels.
        extra: further chunks before the pixels.
    """
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    rows = [row.astype(">u2").tobytes() for row in pixels]
    step = 2 * channels
    filtered = bytearray()
    for number, row in enumerate(rows):  # the filters none and sub in turn
        current = np.frombuffer(row, np.uint8)
        if number % 2:
            left = np.concatenate([np.zeros(step, np.uint8), current[:-step]])
            filtered += b"\1" + (current - left).tobytes()
        else:
            filtered += b"\0" + row
    data = chunk(b"IDAT", zlib.compress(bytes(filtered)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(extra) + data + chunk(b"IEND", b"")


def tiff(array: np.ndarray, **options: Any) -> bytes:
    """A TIFF file; the options are those of `tifffile.imwrite`."""
    content = io.BytesIO()
    tifffile.imwrite(content, array, **options)
    return content.getvalue()


def numbers(shape: tuple[int, ...], dtype: Any = np.uint16, high: int = 65536) -> np.ndarray:
    """Random numbers of a type, from 0 to below ``high``."""
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)
