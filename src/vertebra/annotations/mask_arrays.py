"""Masks as arrays in files of numpy (``.npy``) and of MATLAB (``.mat``)."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.errors import DataError, install_command
from vertebra.shards.members import file_size, file_source

ARRAY_SUFFIXES = (".npy", ".mat")
MAX_PIXELS = 178_956_970  # of a mask, as for images
DEEPEST = 4  # structures within structures of a .mat file
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
        DataError: the file is missing or damaged, or holds no mask or several; or SciPy is missing for a ``.mat`` file.
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
        from scipy.io import loadmat, whosmat
    except ModuleNotFoundError:
        raise DataError(f"{path}: .mat files need SciPy: {install_command('matlab')}") from None
    try:
        with path.open("rb") as opened:
            if b"MATLAB 7.3" in opened.read(128):
                raise DataError(f"{path}: a .mat file of version 7.3; save it with -v7, or as PNG")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if any(math.prod(shape) > MAX_PIXELS for _, shape, _ in whosmat(str(path))):
                raise DataError(f"{path}: more than {MAX_PIXELS} numbers in a mask")
            content = loadmat(str(path), squeeze_me=True, struct_as_record=True)
    except DataError:
        raise
    except Exception as error:  # SciPy raises a dozen types on damaged files
        raise DataError(f"{path}: this .mat file is damaged ({_line(error)}); save it again with -v7") from None
    variables = {name: value for name, value in content.items() if not name.startswith("__")}
    masks = dict(_masks(variables, ""))
    named = [name for name in masks if name.rpartition(".")[2].lower() in NAMES]
    chosen = named if len(masks) > 1 else list(masks)
    if len(chosen) != 1:
        listed = ", ".join(list(masks)[:6]) or "none"
        raise DataError(f"{path}: one mask is expected, an array (height, width) of whole numbers; here are {listed}")
    return masks[chosen[0]]


def _masks(value: Any, name: str, depth: int = 0) -> list[tuple[str, np.ndarray]]:
    """The arrays in a variable that may be masks, by name; those in structures, too."""
    if depth > DEEPEST:
        return []
    if isinstance(value, dict):
        return [each for key, inner in value.items() for each in _masks(inner, f"{name}.{key}".lstrip("."), depth + 1)]
    if isinstance(value, np.void) and value.dtype.names:
        fields = {key: value[key] for key in value.dtype.names}
        return _masks(fields, name, depth)
    if not isinstance(value, np.ndarray):
        return []
    if value.dtype.names:
        return _masks(value.reshape(-1)[0], name, depth + 1) if value.size == 1 else []
    if value.dtype.kind == "O":
        return _masks(value.reshape(-1)[0], name, depth + 1) if value.size == 1 else []
    return [(name, value)] if value.ndim == 2 and min(value.shape) > 1 and value.dtype.kind in "buif" else []


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__
