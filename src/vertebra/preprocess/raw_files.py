"""Image files whose numbers are read as they are: TIFF files with bands or pages, and .npy files with arrays."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from vertebra.errors import DataError
from vertebra.preprocess import tiff_files
from vertebra.preprocess.image_files import open_image, unreadable
from vertebra.preprocess.raw_images import RawImage, raw_mode
from vertebra.shards.members import file_source

NPY = b"\x93NUMPY"


def raw_file(source: str | Path | bytes, head: bytes, name: str) -> RawImage | None:
    """The numbers of a .npy file, or of a TIFF file with several bands or pages or more than 8 bits; None for other files.

    Args:
        source: a file, or the bytes of one.
        head: its first bytes.
        name: for messages.

    Raises:
        DataError: it exceeds the limits of a size, or its compression needs a package.
        Exception: raised by Pillow, numpy and tifffile for damaged files.
    """
    if head.startswith(NPY):
        return _read_npy(source, name)
    return tiff_files.read_tiff(source, name) if head.startswith(tiff_files.MAGIC) else None


def is_deep(path: str | Path) -> bool:
    """Whether an image file may have more than 8 bits, from its header.

    Raises:
        DataError: the file is missing or is not an image.
    """
    try:
        source = file_source(path)
        head = source[:16] if isinstance(source, bytes) else _head(Path(source))
        if head.startswith((NPY, *tiff_files.MAGIC)):
            return True
        with open_image(source, str(path)) as picture:
            return picture.mode.startswith("I") or picture.mode == "F" or ";16" in raw_mode(picture)
    except Exception as error:  # Pillow raises a dozen types on damaged files
        raise unreadable(str(path), error) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def raw_size(source: str | Path | bytes, head: bytes, name: str) -> tuple[int, int] | None:
    """(height, width) of files that Pillow does not open, from their header; None for all other files."""
    if head.startswith(NPY):
        height, width = _open_npy(source).shape[:2]
        return int(height), int(width)
    return tiff_files.tiff_size(source, name) if head.startswith(tiff_files.MAGIC) else None


def _read_npy(source: str | Path | bytes, name: str) -> RawImage:
    array = np.array(_open_npy(source))
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"{name}: an image array must be (H, W) or (H, W, C) and not empty, got shape {array.shape}")
    return RawImage(array[:, :, None] if array.ndim == 2 else array, pages=0)


def _open_npy(source: str | Path | bytes) -> np.ndarray:
    """The array of a .npy file, mapped where it is a file; one with Python objects is refused by numpy."""
    if isinstance(source, bytes):
        loaded: np.ndarray = np.load(io.BytesIO(source), allow_pickle=False)
        return loaded
    mapped: np.ndarray = np.load(source, mmap_mode="r", allow_pickle=False)
    return mapped
