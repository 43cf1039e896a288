"""Which points remain where an image is cropped."""

from __future__ import annotations

import numpy as np


def clear_points_outside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Points (M, K, 3); those outside (height, width) pixels and unlabeled ones become 0, 0, 0."""
    x, y, visibility = points[..., 0], points[..., 1], points[..., 2]
    kept = (visibility > 0) & (x >= 0) & (y >= 0) & (x <= size[1]) & (y <= size[0])
    inside: np.ndarray = np.where(kept[..., None], points, 0).astype(np.float32)
    return inside
