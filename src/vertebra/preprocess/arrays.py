"""Arrays and tensors of any library as images (H, W, C)."""

from __future__ import annotations

from typing import Any

import numpy as np

from vertebra.errors import DataError, first_line


def with_channel_axis(array: np.ndarray, name: str) -> np.ndarray:
    """An array (H, W) or (H, W, C) as (H, W, C)."""
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DataError(f"{name}: an image array must be (H, W) or (H, W, C) and not empty, got shape {array.shape}")
    return array[:, :, None] if array.ndim == 2 else array


def tensor_to_array(tensor: Any, name: str) -> np.ndarray:
    """A tensor of any library as an array."""
    if hasattr(tensor, "read"):
        raise DataError(f"{name} is an open file; give its content: file.read()")
    if "bfloat16" in str(getattr(tensor, "dtype", "")):
        raise DataError(f"{name}: bfloat16 is not supported; convert it to float32")
    try:
        array = np.asarray(tensor.detach().cpu() if hasattr(tensor, "shape") and hasattr(tensor, "detach") else tensor)
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:  # ragged lists, meta and sparse tensors
        raise DataError(
            f"{name} cannot be converted to an array ({first_line(error)}); give an array or tensor"
        ) from error
    if array.dtype == object:
        raise DataError(
            f"{name} is not an image; give a file, bytes, a Pillow image, an array (H, W, C) or a tensor (C, H, W)"
        )
    if not hasattr(tensor, "shape") and array.ndim == 0:
        raise DataError(f"{name} is a number, not an image; give the numbers of an image as an array: np.array(...)")
    return array
