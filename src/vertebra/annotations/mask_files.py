"""Mask files: index and palette images, read on demand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vertebra.errors import DataError
from vertebra.preprocess.image_files import open_image

HIGHEST = 65535  # the highest class number of a mask, the maximum of 16 bits
BLOCK = 2**22  # pixels that are mapped at a time


def read_mask(path: Path) -> np.ndarray:
    """The values of a mask file: (H, W) of an unsigned integer type; of a palette image its indices, not its colors.

    Raises:
        DataError: the file is missing, unreadable, or a color picture.
    """
    try:
        with open_image(path) as picture:
            picture.load()
            values = np.asarray(picture)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such mask file") from None
    except Exception as error:  # Pillow raises a dozen types on damaged files
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: this mask is damaged or no image ({reason}); save it again as PNG") from error
    if values.ndim == 3:
        colors = values[:, :, :3] if values.shape[2] >= 3 else values[:, :, :1]
        if (colors != colors[:, :, :1]).any():
            raise DataError(
                f"{path}: a color picture; a mask holds one class number a pixel. Save it as a gray or palette PNG"
            )
        values = values[:, :, 0]
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind not in "ui" or (values.dtype.kind == "i" and values.size and values.min() < 0):
        raise DataError(f"{path}: masks hold whole numbers from 0, this one is {values.dtype}")
    return values


def mask_values(paths: Sequence[Path], max_files: int = 500) -> dict[int, Path]:
    """The values that occur in masks, each with the first file that has it.

    Args:
        max_files: maximum number of files that are read, evenly spaced.

    Raises:
        DataError: none of the masks can be read. Single unreadable masks are skipped here; they are counted and named when
            their image is used.
    """
    file_of: dict[int, Path] = {}
    damaged: list[DataError] = []
    for row in np.unique(np.linspace(0, len(paths) - 1, min(max_files, len(paths)), dtype=int)):
        try:
            values = read_mask(paths[row])
        except DataError as error:
            damaged.append(error)
            continue
        for value in _occurring(values).tolist():
            file_of.setdefault(value, paths[row])
    if damaged and not file_of:
        raise damaged[0]
    return dict(sorted(file_of.items()))


def _occurring(values: np.ndarray) -> np.ndarray:
    """The values of a mask, ascending; only the highest if it is above every class number."""
    if values.dtype != np.uint8:
        highest = values.max(keepdims=True).ravel()
        return highest if highest[0] > HIGHEST else np.unique(values)  # there may be millions of them
    counts = np.zeros(256, dtype=np.int64)
    rows = max(1, BLOCK // max(1, values.shape[1]))
    for top in range(0, len(values), rows):
        counts += np.bincount(values[top : top + rows].ravel(), minlength=256)
    return np.flatnonzero(counts)


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
