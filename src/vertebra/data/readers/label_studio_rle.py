"""Run lengths of Label Studio's brush: four bands of an image, packed as bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from vertebra.annotations.drawing import MAX_PIXELS

BANDS = 4  # red, green, blue, alpha; the mask is where alpha is not 0
MOST_BYTES = 32 * 2**20
MOST_RUNS = 2_000_000


def brush_mask(rle: Any, size: tuple[int, int]) -> np.ndarray | None:
    """The mask of a brush, (H, W) bool; None if its run lengths are damaged or for an image of another (height, width).

    The packed form (thi.ng's ``rle-pack``) begins with 32 bits of the number of values, 5 bits of the bits of a value less one,
    and four times 4 bits of the bits of a length less one. Each piece has 1 bit whether it is a run, 2 bits which of the four
    sizes its length has, its length less one, and one value if it is a run, or else as many as its length.
    """
    packed = _packed(rle)
    if packed is None or not 0 < size[0] * size[1] <= MAX_PIXELS:
        return None
    bits = np.unpackbits(packed)
    digits = (bits + ord("0")).tobytes().decode("ascii")
    if len(digits) < 53 or int(digits[:32], 2) != size[0] * size[1] * BANDS:
        return None
    value_bits = int(digits[32:37], 2) + 1
    length_bits = [int(digits[at : at + 4], 2) + 1 for at in range(37, 53, 4)]
    pieces = _pieces(digits, bits, size[0] * size[1] * BANDS, value_bits, length_bits)
    if pieces is None:
        return None
    ends = np.cumsum(pieces[1])
    pixels = np.diff(np.minimum(ends, size[0] * size[1] * BANDS) // BANDS, prepend=0)  # whose alpha is within each run
    mask: np.ndarray = np.repeat(pieces[0], pixels).reshape(size)
    return mask


def _packed(rle: Any) -> np.ndarray | None:
    try:
        values = np.asarray(rle)
    except (TypeError, ValueError, OverflowError):
        return None
    if values.ndim != 1 or values.dtype.kind not in "iu" or not 0 < len(values) <= MOST_BYTES:
        return None
    return values.astype(np.uint8) if values.min() >= 0 and values.max() <= 255 else None


def _pieces(
    digits: str, bits: np.ndarray, count: int, value_bits: int, length_bits: list[int]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Whether values are not 0, and how often each occurs in a row; None if the bits end too early."""
    filled: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    at, done = 53, 0
    while done < count and len(filled) < MOST_RUNS:
        width = length_bits[int(digits[at + 1 : at + 3] or "0", 2)]
        start = at + 3 + width
        if start + value_bits > len(digits):
            return None
        length, is_run = int(digits[at + 3 : start], 2) + 1, digits[at] == "1"
        at = start + value_bits * (1 if is_run else length)
        if at > len(digits):
            return None
        values: np.ndarray = bits[start:at].reshape(-1, value_bits).max(axis=1) > 0
        filled.append(values)
        lengths.append(np.full(len(values), length if is_run else 1))
        done += length
    return None if done < count else (np.concatenate(filled), np.concatenate(lengths))
