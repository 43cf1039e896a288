"""Masks of a fixed number of cells over their boxes, drawn into the image as run lengths (numpy only).

A mask is sampled bilinearly at the centers of the image's pixels, 0 outside of its box, and its object is where it is above one
half. Along a column of pixels the mask is linear between two rows of cells, so the ends of the object are computed from these rows
alone: time and memory grow with the width of a box, not with its area.
"""

from __future__ import annotations

import numpy as np

from vertebra.annotations.run_lengths import Region

LEVEL = 0.5


def pasted_region(mask: np.ndarray, box: np.ndarray, size: tuple[int, int], *, whole_pixels: bool = False) -> Region:
    """The pixels of an object.

    Args:
        mask: (S, S) probabilities of the object in the cells of its box.
        box: (4,) xyxy in the image's pixels; it may extend beyond the image.
        size: (height, width) of the image.
        whole_pixels: see `vertebra.tasks.instances.labels.InstanceLabels`; equal to torchvision's ``paste_masks_in_image`` with a
            threshold of one half.
    """
    padded = np.pad(mask.astype(np.float64), 1)  # the border between inside and outside is a part of the mask
    left, top, right, bottom = _padded_box(box.astype(np.float64), len(mask), whole_pixels)
    none = np.zeros(0, dtype=np.int64)
    if not (right > left and bottom > top):
        return Region.of_edges(none, size)
    columns = np.arange(max(0, int(np.floor(left))), min(size[1], int(np.ceil(right))))
    cells = len(padded)
    position = np.clip((columns + 0.5 - left) * (cells / (right - left)) - 0.5, 0, cells - 1)
    before = np.minimum(position.astype(np.int64), cells - 2)
    share = position - before
    profiles = (padded[:, before] * (1 - share) + padded[:, before + 1] * share).T  # (columns, rows of cells)
    inside = profiles > LEVEL
    column, row = np.nonzero(inside[:, 1:] != inside[:, :-1])
    low, high = profiles[column, row], profiles[column, row + 1]
    crossing = (row + (LEVEL - low) / (high - low) + 0.5) * ((bottom - top) / cells) + top
    # the first pixel whose center is above the level, or no longer is
    pixel = np.where(high > low, np.floor(crossing - 0.5) + 1, np.ceil(crossing - 0.5))
    edges = columns[column] * size[0] + np.clip(pixel, 0, size[0]).astype(np.int64)
    return Region.of_edges(edges, size)


def _padded_box(box: np.ndarray, cells: int, whole_pixels: bool) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom) with a further cell at each side."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * ((cells + 2) / cells)
    low, high = middle - half, middle + half
    if whole_pixels:
        low, high = np.trunc(low), np.trunc(high)
        high = np.maximum(high, low) + 1
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
