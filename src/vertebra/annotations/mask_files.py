"""Mask files: index, palette and color images and arrays, read on demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vertebra.annotations.mask_arrays import ARRAY_SUFFIXES, read_array
from vertebra.errors import DataError
from vertebra.preprocess.image_files import open_image

HIGHEST = 65535  # the highest class number of a mask, the maximum of 16 bits
BLOCK = 2**22  # pixels that are mapped at a time


def read_mask(path: Path, codes: np.ndarray | None = None) -> np.ndarray:
    """The values of a mask file: (H, W) of an unsigned integer type; of a palette image its indices, not its colors.

    Args:
        path: an image, or an array in a ``.npy`` or ``.mat`` file.
        codes: (C,) int32, ascending colors, see `color_codes`, of masks that are color pictures; then the values are positions in
            it, and C for other colors.

    Raises:
        DataError: the file is missing, unreadable, or a color picture where no colors are given.
    """
    pixels = mask_pixels(path, colored=codes is not None)
    if codes is not None:
        return _positions(color_codes(pixels), codes)
    if pixels.ndim == 3:
        raise DataError(
            f"{path}: a color picture; a mask holds one class number a pixel. Save it as a gray or palette PNG, or write "
            "the colors of the classes into class_dict.csv (name,r,g,b)"
        )
    return pixels


def mask_pixels(path: Path, *, colored: bool = False) -> np.ndarray:
    """The pixels of a mask file: (H, W) of an unsigned integer type, or (H, W, 3) uint8 of a color picture.

    Args:
        colored: whether a palette image gives its colors instead of its indices.

    Raises:
        DataError: the file is missing or unreadable.
    """
    if path.suffix.lower() in ARRAY_SUFFIXES:
        values = read_array(path)
    else:
        values = _picture(path, colored)
    if values.ndim == 3:
        colors = values[:, :, :3] if values.shape[2] >= 3 else values[:, :, :1]
        if (colors != colors[:, :, :1]).any():
            if colors.dtype != np.uint8:
                raise DataError(f"{path}: a color picture of {colors.dtype}; colors of classes have 8 bits a channel")
            return np.ascontiguousarray(colors)
        values = values[:, :, 0]
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind == "f" and path.suffix.lower() in ARRAY_SUFFIXES:
        whole = np.where(np.isfinite(values), values, -1)
        if (whole == np.floor(whole)).all() and whole.min(initial=0) >= 0 and whole.max(initial=0) < 2**31:
            numbers: np.ndarray = whole.astype(np.uint32)
            return numbers
    if values.dtype.kind not in "ui" or (values.dtype.kind == "i" and values.size and values.min() < 0):
        raise DataError(f"{path}: masks hold whole numbers from 0, this one is {values.dtype}")
    return values


def color_codes(pixels: np.ndarray) -> np.ndarray:
    """Colors as numbers, red * 65536 + green * 256 + blue: (H, W) int32 from (H, W, 3), or from (H, W) of gray values."""
    if pixels.ndim == 2:
        gray: np.ndarray = np.minimum(pixels, 255).astype(np.int32) * 0x010101
        return gray
    wide = pixels.astype(np.int32)
    codes: np.ndarray = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    return codes


def upright_mask(values: np.ndarray, orientation: int) -> np.ndarray:
    """A mask turned as a photo of an EXIF orientation is."""
    quarters = {6: 3, 7: 2, 8: 1}.get(orientation, 0)
    turned: np.ndarray = np.rot90(values, quarters)
    return turned.T if orientation in (5, 7) else turned


def _positions(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The position of each value in ascending codes; their number for other values."""
    positions: np.ndarray = np.searchsorted(codes, values).clip(max=len(codes) - 1)
    positions[codes[positions] != values] = len(codes)
    return positions


def _picture(path: Path, colored: bool) -> np.ndarray:
    try:
        with open_image(path) as picture:
            picture.load()
            pixels: np.ndarray = np.asarray(
                picture.convert("RGB") if colored and picture.mode in ("P", "PA") else picture
            )
            return pixels
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such mask file") from None
    except Exception as error:  # Pillow raises a dozen types on damaged files
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: this mask is damaged or no image ({reason}); save it again as PNG") from error


def read_segment_ids(path: Path) -> np.ndarray:
    """The ids in a file of segments: (H, W) int32, R + 256 G + 65536 B.

    Raises:
        DataError: the file is missing, unreadable, or no color picture.
    """
    try:
        with open_image(path) as picture:
            picture.load()
            values = np.asarray(picture)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of segments") from None
    except Exception as error:  # Pillow raises a dozen types on damaged files
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: damaged or no image ({reason}); save it again as PNG") from error
    if values.ndim != 3 or values.shape[2] < 3 or values.dtype != np.uint8:
        raise DataError(f"{path}: not a color picture; the ids of segments are R + 256 G + 65536 B")
    red, green, blue = (values[:, :, channel].astype(np.int32) for channel in range(3))
    ids: np.ndarray = red + 256 * green + 65536 * blue
    return ids


def segment_colors(ids: np.ndarray) -> np.ndarray:
    """A map of segment ids (H, W) as the colors that `read_segment_ids` reads: (H, W, 3) uint8, R + 256 G + 65536 B."""
    return np.stack([ids & 255, (ids >> 8) & 255, ids >> 16], axis=-1).astype(np.uint8)


def describe_values(values: np.ndarray) -> str:
    """Mask values as text: ``value 7`` or ``values 7, 9, 11 …``."""
    shown = ", ".join(str(value) for value in values[:5].tolist()) + (" …" if len(values) > 5 else "")
    return f"value {shown}" if len(values) == 1 else f"values {shown}"


def span(values: np.ndarray) -> str:
    """Sorted numbers as text: ``0 to 10``, or a list if there are gaps."""
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]} to {values[-1]}"
    return ", ".join(str(value) for value in values[:12].tolist()) + (" …" if len(values) > 12 else "")


def file_format(path: Path) -> str:
    """The format of an image file by its content, as Pillow names it; empty if it is damaged or no image."""
    try:
        with open_image(path) as picture:
            return picture.format or ""
    except Exception:  # Pillow raises a dozen types on damaged files
        return ""
