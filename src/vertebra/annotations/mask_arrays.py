"""Masks as arrays in files of numpy (``.npy``) and of MATLAB (``.mat``)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from vertebra.annotations.matlab_files import is_hdf5, mat_arrays
from vertebra.errors import DataError
from vertebra.shards.members import file_size, file_source

ARRAY_SUFFIXES = (".npy", ".mat")
MAX_PIXELS = 178_956_970  # of a mask, as for images
NAMES = (
    "mask",
    "label",
    "labels",
    "labelmap",
    "segmentation",
    "segmap",
    "groundtruth",
    "gt",
    "gtcls",
    "anno",
    "annotation",
)


def read_array(path: Path) -> np.ndarray:
    """The mask of a ``.npy`` or ``.mat`` file: (H, W) or (H, W, C) of numbers.

    Raises:
        DataError: the file is missing or damaged, or holds no mask or several.
    """
    if file_size(path) is None:
        raise DataError(f"{path}: no such mask file")
    array = _npy(path) if path.suffix.lower() == ".npy" else _mat(path)
    if array.ndim not in (2, 3) or not array.size or array.dtype.kind not in "buif":
        raise DataError(
            f"{path}: a mask is an array (height, width) of numbers, this one is {array.shape}, {array.dtype}"
        )
    return array


def _npy(path: Path) -> np.ndarray:
    try:
        source = file_source(path)
        if isinstance(source, bytes):
            mapped = np.load(io.BytesIO(source), allow_pickle=False)
        else:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(mapped, np.ndarray) or mapped.size > MAX_PIXELS:
            raise ValueError(f"more than {MAX_PIXELS} numbers, or no array")
        return np.array(mapped)
    except Exception as error:  # numpy parses the header as Python, and raises a dozen types
        raise DataError(
            f"{path}: damaged, or no array of numpy ({_line(error)}); save it again with numpy.save"
        ) from None


def _mat(path: Path) -> np.ndarray:
    try:
        source = file_source(path)
        content = source if isinstance(source, bytes) else path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if is_hdf5(content):
        raise DataError(f"{path}: a .mat file of version 7.3; save it with -v7, or as PNG")
    try:
        arrays = list(mat_arrays(content))
    except ValueError as error:
        raise DataError(f"{path}: this .mat file is damaged ({_line(error)}); save it again with -v7") from None
    masks = {name: values for name, values in arrays if values.ndim == 2 and min(values.shape) > 1}
    named = [name for name in masks if name.rpartition(".")[2].lower() in NAMES]
    chosen = named if len(masks) > 1 else list(masks)
    if len(chosen) != 1:
        listed = " ".join(", ".join(list(masks)[:6]).split()) or "none"
        raise DataError(f"{path}: one mask is expected, an array (height, width) of whole numbers; here are {listed}")
    return masks[chosen[0]]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
