"""Which boxes remain where an image is cropped or covered, and their visible parts."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.mixing import Rectangle

MIN_VISIBLE_FRACTION = 0.25
LARGE = 16.0


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """(M,) areas of boxes (M, 4) xyxy."""
    areas: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def clip_to_visible(
    boxes: np.ndarray, size: tuple[int, int], whole: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Clips boxes to the valid pixels, and selects those that are still visible enough.

    A box is left out if less than a pixel of it remains along an axis, or if less than ``MIN_VISIBLE_FRACTION`` of its area
    remains and its short side is under ``LARGE`` pixels.

    Args:
        boxes: (M, 4) xyxy in canvas pixels.
        size: (height, width) of the valid pixels.
        whole: (M,) area of each whole box in canvas pixels; None where nothing is cropped.

    Returns:
        (M, 4) float32 and (M,) bool.
    """
    limit = np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)
    clipped = np.clip(boxes, 0, limit).astype(np.float32)
    sides = clipped[:, 2:] - clipped[:, :2]
    short = sides.min(axis=1, initial=np.inf)
    if whole is None:
        return clipped, short > 0
    return clipped, (short >= 1) & ((sides.prod(axis=1) >= MIN_VISIBLE_FRACTION * whole) | (short >= LARGE))


def visible_beside(boxes: np.ndarray, rectangle: Rectangle) -> tuple[np.ndarray, np.ndarray]:
    """The boxes around what a rectangle leaves of boxes, and those that are still visible enough.

    A box becomes smaller only if the rectangle covers one of its sides wholly. It is left out if less than a pixel remains
    along an axis, or less than ``MIN_VISIBLE_FRACTION`` of its area.

    Args:
        boxes: (M, 4) xyxy in canvas pixels.
        rectangle: the covered part of the canvas.

    Returns:
        (M, 4) float32 and (M,) bool.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    start, stop = np.array(rectangle[:2]), np.array(rectangle[2:])
    covered = (start <= low) & (stop >= high)  # along each axis
    across = covered[:, ::-1]  # along the other axis
    rest_low = np.where(across & (start <= low), np.clip(stop, low, high), low)
    rest_high = np.where(across & (stop >= high), np.clip(start, low, high), high)
    sides = rest_high - rest_low
    hidden = np.clip(np.minimum(high, stop) - np.maximum(low, start), 0, None).prod(axis=1)
    areas = box_areas(boxes)
    kept = (sides.min(axis=1, initial=np.inf) >= 1) & (areas - hidden >= MIN_VISIBLE_FRACTION * areas)
    return np.concatenate([rest_low, rest_high], axis=1).astype(np.float32), kept
