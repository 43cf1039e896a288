"""Reads images of every ordinary kind as 8-bit arrays, and brings them onto the canvas (numpy and Pillow only)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vertebra.errors import DataError
from vertebra.preprocess.plan import Placement, Plan

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def read_image(source: Any, channels: int = 3) -> np.ndarray:
    """An image as (H, W, channels) uint8.

    What is done to each kind: the EXIF orientation is applied; a palette is resolved; transparency lies on white; 16-bit
    values are divided by 257 (so 65535 becomes 255) and wider ones stretched to their range; grey becomes three equal
    channels, or one channel where ``channels`` is 1 (then colour becomes grey).

    Args:
        source: a file, its bytes, a Pillow image, or an (H, W) or (H, W, C) array of uint8 or uint16.
        channels: 1 or 3; another number is for arrays and ``.npy`` files, which must have it.

    Raises:
        DataError: a file is missing, truncated or no image; the message names it.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, channels, "the array")
    if isinstance(source, Image.Image):
        return _from_pillow(source, channels)
    if isinstance(source, str | Path) and Path(source).suffix.lower() == ".npy":
        return _from_array(_load_array(Path(source)), channels, str(source))
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return _from_pillow(image, channels, str(source) if not isinstance(source, bytes) else "the image")
    except FileNotFoundError:
        raise DataError(f"{source}: no such image") from None
    except UnidentifiedImageError:
        raise DataError(f"{_name(source)}: not an image, or of a kind that cannot be read; convert it to JPEG or PNG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{_name(source)}: truncated or damaged image ({error}); replace or remove it") from None


def _name(source: Any) -> str:
    return "the image" if isinstance(source, bytes) else str(source)


def _load_array(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
        return array
    except FileNotFoundError:
        raise DataError(f"{path}: no such image") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a plain numpy array ({error}); save it with numpy.save") from None


def _from_pillow(image: Image.Image, channels: int, name: str = "the image") -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode in _SIXTEEN_BIT:
        return _from_array(_to_8_bit(np.asarray(image)), channels, name)
    if channels not in (1, 3):
        return _from_array(np.asarray(image), channels, name)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array[..., None] if channels == 1 else array


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.uint16 or (values.dtype.kind == "i" and values.min() >= 0 and values.max() <= 65535):
        return (values.astype(np.uint32) // 257).astype(np.uint8)
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    return np.round((wide - low) * (255.0 / (high - low) if high > low else 0.0)).astype(np.uint8)


def _from_array(array: np.ndarray, channels: int, name: str) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(f"{name}: an image has height, width and channels, but this has shape {array.shape}")
    if array.dtype != np.uint8:
        if array.dtype.kind not in "ui":
            raise DataError(f"{name}: of type {array.dtype}; give 8 or 16 bit unsigned values (0..255 or 0..65535)")
        array = _to_8_bit(array)
    if array.shape[2] == channels:
        return np.ascontiguousarray(array)
    if array.shape[2] == 1:
        return np.repeat(array, channels, axis=2)
    if array.shape[2] in (3, 4) and channels in (1, 3):
        return _from_pillow(Image.fromarray(array), channels)
    raise DataError(f"{name}: has {array.shape[2]} channels, but the model takes {channels} (backbone option in_channels)")


def apply(plan: Plan, image: np.ndarray) -> np.ndarray:
    """An image (H, W, C) uint8 on its canvas, (height, width, C) uint8: bilinear, antialiased, rounded."""
    place = plan.place(image.shape[0], image.shape[1])
    scaled = resize(image, scaled_size(place))
    if plan.mode == "resize":
        return scaled
    height, width = plan.size
    if plan.mode == "centre_crop":
        top, left = -int(place.top), -int(place.left)
        return np.ascontiguousarray(scaled[top : top + height, left : left + width])
    canvas = np.empty((height, width, image.shape[2]), dtype=np.uint8)
    canvas[:] = np.resize(np.array(plan.fill, dtype=np.uint8), image.shape[2])
    canvas[: place.size[0], : place.size[1]] = scaled
    return canvas


def scaled_size(place: Placement) -> tuple[int, int]:
    """(height, width) of the whole image after scaling, before anything is cropped."""
    return (round(place.original[0] * place.scale_y), round(place.original[1] * place.scale_x))


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The one resize rule: bilinear, antialiased where it shrinks, rounded to uint8.

    Args:
        image: (H, W, C) uint8.
        size: (height, width).
    """
    if image.shape[:2] == tuple(size):
        return image
    if image.shape[2] == 3:
        return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    layers = [
        np.asarray(Image.fromarray(image[..., index]).resize(size[::-1], Image.Resampling.BILINEAR))
        for index in range(image.shape[2])
    ]
    return np.stack(layers, axis=-1)
