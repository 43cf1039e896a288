"""Masks as shares and probabilities in the cells of boxes (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.run_lengths import Region

TARGET_CELLS = 56  # along each side of a target mask: twice those of the predicted masks, for shifted and resized boxes


def covered_shares(region: Region, cells: int = TARGET_CELLS) -> np.ndarray:
    """(cells, cells) uint8, the share of each cell of the box around a region that it covers, 0 to 255."""
    mask = region.patch()[0].astype(np.float32)
    down, across = (_overlaps(length, cells) for length in mask.shape)
    shares: np.ndarray = np.rint(down @ mask @ across.T * 255).astype(np.uint8)
    return shares


def _overlaps(length: int, cells: int) -> np.ndarray:
    """(cells, length) float32, the share of each of ``cells`` equal parts of a line that each of its pixels covers."""
    edges = np.arange(cells + 1) * (length / cells)
    pixels = np.arange(length)
    starts, ends = np.maximum(edges[:-1, None], pixels), np.minimum(edges[1:, None], pixels + 1)
    shares: np.ndarray = (np.clip(ends - starts, 0, None) * (cells / length)).astype(np.float32)
    return shares


def resampled_mask(mask: np.ndarray, box: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The probabilities in the cells of another box, bilinear; 0 outside of the first one.

    Args:
        mask: (S, S) over ``box``.
        box, target: (4,) xyxy.

    Returns:
        (S, S) float32 over ``target``.
    """
    cells = len(mask)
    starts, sides = box.reshape(2, 2)[0], np.maximum(box.reshape(2, 2)[1] - box.reshape(2, 2)[0], 1e-6)
    corners = target.reshape(2, 2)
    centers = corners[0] + (np.arange(cells)[:, None] + 0.5) * ((corners[1] - corners[0]) / cells)
    position = np.clip((centers - starts) * (cells / sides) + 0.5, 0, cells + 1)  # of a mask with a border of zeros
    weights = np.clip(1 - np.abs(position[:, None, :] - np.arange(cells + 2)[None, :, None]), 0, None)
    resampled: np.ndarray = (weights[..., 1] @ np.pad(mask, 1) @ weights[..., 0].T).astype(np.float32)
    return resampled
