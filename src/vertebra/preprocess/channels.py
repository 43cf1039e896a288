"""Gives images the number of channels of a model's input."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vertebra.errors import DataError

BACKDROP = (255, 255, 255)
STRIP = 2**22  # pixels converted at a time


def picture_to_channels(picture: Image.Image, channels: int, name: str) -> np.ndarray:
    """A Pillow image of 8 bits a channel as (H, W, channels) uint8; transparency is blended onto white.

    Raises:
        DataError: the model takes other channels than Pillow's modes have.
    """
    if channels not in (1, 3, 4):
        raise _mismatch(name, len(picture.getbands()), channels, 1)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    clear = channels != 4 and (picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info)
    pixels = np.empty((picture.height, picture.width, channels), dtype=np.uint8)
    rows = max(1, STRIP // picture.width)
    for top in range(0, picture.height, rows):
        part = picture
        if rows < picture.height:  # in strips, to avoid further copies of a large image
            part = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        part = _on_white(part) if clear else part
        converted = part if part.mode == mode else part.convert(mode)
        pixels[top : top + rows] = np.asarray(converted).reshape(-1, picture.width, channels)
    return pixels


def to_channels(array: np.ndarray, channels: int, name: str, *, transparent: bool = True, pages: int = 0) -> np.ndarray:
    """(H, W, C) uint8 with the number of channels of the model's input.

    One channel is repeated for three; color becomes gray for one.

    Args:
        transparent: whether the last of two or four channels is transparency, which is blended onto white for one and three.
        pages: number of a file's pages that the channels are from; 0 for an array.

    Raises:
        DataError: the channels cannot be converted.
    """
    count = array.shape[2]
    if count == channels:
        return np.ascontiguousarray(array)
    if count == 1 and channels == 3:
        return np.repeat(array, channels, axis=2)
    if channels in (1, 3) and (count == 3 or (transparent and count in (2, 4))):
        mode = {2: "LA", 3: "RGB", 4: "RGBA"}[count]
        height, width = array.shape[:2]
        picture = Image.frombytes(mode, (width, height), np.ascontiguousarray(array).tobytes())
        return picture_to_channels(picture, channels, name)
    raise _mismatch(name, count, channels, pages)


def _mismatch(name: str, count: int, channels: int, pages: int) -> DataError:
    """The error of an image whose channels are not those of the model's input."""
    text = f"it has {count} {'channel' if count == 1 else 'channels'}"
    if pages > 1:
        text = f"its {pages} pages have {count} channels in all"
        remedy = "save each page as an image of its own, or build the model for the channels of all pages"
    elif pages == 1:
        remedy = "build the model for them, or save the image with other channels"
    else:
        return DataError(f"{name}: {text}, and the model takes {channels}; arrays are (H, W, C), and tensors (C, H, W)")
    return DataError(f"{name}: {text}, and the model takes {channels}; {remedy} (model.backbone.in_channels={count})")


def _on_white(picture: Image.Image) -> Image.Image:
    """The image blended onto white, without transparency."""
    layer = picture.convert("RGBA")
    page = Image.new("RGBA", layer.size, (*BACKDROP, 255))
    page.alpha_composite(layer)
    return page.convert("RGB")
