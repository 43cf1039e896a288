"""Converts images of any dtype to 8 bit.

| input | read as |
|---|---|
| uint8 | unchanged |
| bool | 0 and 255 |
| floats within 0..1 | that range, times 255, as in torchvision and scikit-image |
| integers within 0..255 in another dtype | 8-bit values |
| uint16 arrays; files of 16 or 32 bits, or floats beyond 0..1 | stretched from the minimum to the maximum |
| other arrays of numbers (normalized ones, for example) | refused |
| NaN and infinity | refused |
"""

from __future__ import annotations

import numpy as np

from vertebra.errors import DataError

BLOCK = 2**22  # numbers computed at a time
EXACT = 2**16  # integers up to this are exact in float32, and so are their differences
FAR = 1e37  # differences of larger floats may overflow in float32


def array_to_bytes(array: np.ndarray, name: str) -> np.ndarray:
    """An array from memory as uint8 of the same shape.

    Raises:
        DataError: it does not hold numbers, has NaN or infinity, or its range is unknown.
    """
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise DataError(f"{name}: an image array must hold numbers, got {array.dtype}")
    if array.dtype == np.uint16:
        return stretched(array, name)
    lowest, highest = _min_and_max(array, name)
    if array.dtype.kind == "f" and lowest >= 0 and highest <= 1:
        return _scaled(array, 0.0, 1.0)
    if lowest >= 0 and highest <= 255 and (array.dtype.kind != "f" or _whole(array)):
        return array.astype(np.uint8)
    raise DataError(
        f"{name}: it holds {array.dtype} from {lowest:g} to {highest:g}, an ambiguous range; give 8-bit values "
        "(uint8), or floats from 0 to 1 that are not normalized"
    )


def stretched(array: np.ndarray, name: str) -> np.ndarray:
    """Numbers as uint8, stretched from minimum 0 to maximum 255; floats within 0..1 keep that range.

    Raises:
        DataError: some are NaN or infinite.
    """
    lowest, highest = _min_and_max(array, name)
    if array.dtype.kind == "f" and lowest >= 0 and highest <= 1:
        lowest, highest = 0.0, 1.0
    return _scaled(array, lowest, highest)


def _min_and_max(array: np.ndarray, name: str) -> tuple[float, float]:
    lowest, highest = float(array.min()), float(array.max())
    if not np.isfinite(lowest) or not np.isfinite(highest) or not np.isfinite(highest - lowest):
        count = array.size - int(np.isfinite(array).sum())
        what = f"{count} of its {array.size} values are NaN or infinite" if count else "its values are too far apart"
        raise DataError(f"{name}: {what}; replace them by numbers first")
    return lowest, highest


def _scaled(array: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Maps ``lowest`` to ``highest`` onto 0 to 255, a few rows at a time, to avoid a float copy of a large image."""
    far = max(-lowest, highest) > (FAR if array.dtype.kind == "f" else EXACT)
    wide = far or array.dtype.itemsize > 4
    kind = np.float64 if wide else np.float32
    scale = 255.0 / max(highest - lowest, 1e-9)
    result = np.empty(array.shape, dtype=np.uint8)
    rows = max(1, BLOCK // max(1, array[0].size))
    for top in range(0, len(array), rows):
        part = (array[top : top + rows].astype(kind) - lowest) * scale
        result[top : top + rows] = part.round()
    return result


def _whole(array: np.ndarray) -> bool:
    """Whether floats are whole numbers, as an 8-bit image has after ``astype(float)``."""
    rows = max(1, BLOCK // max(1, array[0].size))
    return all(bool((part == np.rint(part)).all()) for part in np.array_split(array, -(-len(array) // rows)))
