"""Run-length encoding of masks: the lengths of runs of 0, 1, 0 … down the columns, as in COCO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.errors import DataError

LETTERS = 12  # maximum letters of one number: 60 bits


@dataclass(frozen=True, eq=False)
class Region:
    """The pixels of an object on an image.

    Attributes:
        runs: (R,) int64 lengths of runs, not negative, with the sum height * width.
        size: (height, width).
    """

    runs: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(cls, mask: np.ndarray) -> Region:
        """From a mask (H, W) bool."""
        flat = mask.ravel(order="F")
        bounds = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
        runs = np.diff(bounds)
        height, width = mask.shape
        return cls(np.concatenate([[0], runs]) if flat.size and flat[0] else runs, (height, width))

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(self.runs[1::2].sum())

    def bounds(self) -> tuple[float, float, float, float]:
        """The smallest box around the pixels, xyxy as edges in pixels; nan for an empty region."""
        ends = np.cumsum(self.runs)
        starts, ends = (ends - self.runs)[1::2], ends[1::2]
        filled = ends > starts
        if not filled.any():
            return (np.nan, np.nan, np.nan, np.nan)
        starts, last, height = starts[filled], ends[filled] - 1, self.size[0]
        one_column = starts // height == last // height
        top = np.where(one_column, starts % height, 0).min()
        bottom = np.where(one_column, last % height, height - 1).max() + 1
        return (float((starts // height).min()), float(top), float((last // height).max() + 1), float(bottom))

    def mask(self) -> np.ndarray:
        """(H, W) bool."""
        values = np.arange(len(self.runs)) % 2 == 1
        mask: np.ndarray = np.repeat(values, self.runs).reshape(self.size[::-1]).T
        return mask


def decode_runs(text: np.ndarray) -> np.ndarray:
    """Decodes COCO's compressed run lengths.

    Each number is written in groups of five bits, lowest first, with a sixth bit set if more groups follow; from the fourth
    number on, the difference to the number two before is written.

    Args:
        text: (T,) uint8, the letters.

    Returns:
        (R,) int64.

    Raises:
        DataError: invalid letters, or a truncated number.
    """
    bits = text.astype(np.int64) - 48
    if (bits < 0).any() or (bits > 63).any() or (len(bits) and bits[-1] & 32):
        raise DataError("compressed run lengths are damaged")
    starts = np.flatnonzero(np.concatenate([[True], (bits[:-1] & 32) == 0]))
    lengths = np.diff(np.concatenate([starts, [len(bits)]]))
    if lengths.max(initial=0) > LETTERS:
        raise DataError("compressed run lengths are damaged")
    digit = np.arange(len(bits)) - np.repeat(starts, lengths)
    values = np.add.reduceat((bits & 31) << (5 * digit), starts)
    negative = (bits[starts + lengths - 1] & 16) != 0
    values = np.where(negative, values - (np.int64(1) << (5 * lengths)), values)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def check_runs(runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the run lengths if they form a mask of this (height, width).

    Raises:
        DataError: one is negative, or their sum is not height * width.
    """
    pixels = size[0] * size[1]
    wrong = runs[
        (runs < 0) | (runs > pixels)
    ]  # checked first, since a sum of such numbers may overflow to the correct one
    if len(wrong):
        raise DataError(
            f"a run length of {int(wrong[0])} pixels in a mask of {size[0]}x{size[1]}; write the mask again"
        )
    total = int(runs.sum())
    if total != pixels:
        raise DataError(f"run lengths add up to {total} pixels, not to {size[0]}x{size[1]}; write the mask again")
    return runs
