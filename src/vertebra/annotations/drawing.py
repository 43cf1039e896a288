"""Outlines of ellipses and turned boxes, and run lengths of masks, as labeling tools draw them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vertebra.annotations.outlines import outline_runs
from vertebra.annotations.run_lengths import Patch, Region, patch_edges
from vertebra.annotations.segmentations import Segmentation
from vertebra.errors import DataError

VERTICES = 96  # of an ellipse's outline, which then has 0.07 percent less area than the ellipse
MAX_PIXELS = 178_956_970  # of a mask, as for images
BLOCK = 2**22  # pixels that are encoded at a time


def ellipse_outline(
    center: Sequence[float], radii: Sequence[float], angle: float = 0.0, vertices: int = VERTICES
) -> np.ndarray:
    """An ellipse as a polygon whose vertices lie on it, the four ends of its axes among them.

    Args:
        center: x and y in pixels.
        radii: along its two axes, in pixels.
        angle: by which it is turned, in radians, clockwise on the screen.
        vertices: their number, a multiple of four.

    Returns:
        (2 * vertices,) float64 x, y, x, y …
    """
    steps = np.arange(vertices) * (2 * np.pi / vertices)
    points = np.stack([radii[0] * np.cos(steps), radii[1] * np.sin(steps)], axis=1)
    return _turned(points, angle, center)


def box_outline(box: Sequence[float], angle: float, pivot: Sequence[float]) -> np.ndarray:
    """The four corners of a turned box.

    Args:
        box: xyxy before it is turned, in pixels.
        angle: in radians, clockwise on the screen.
        pivot: x and y of the point that it is turned around.

    Returns:
        (8,) float64 x, y, x, y …
    """
    left, top, right, bottom = box
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)
    return _turned(corners - np.asarray(pivot, dtype=np.float64), angle, pivot)


def _turned(points: np.ndarray, angle: float, pivot: Sequence[float]) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = points @ np.array([[cosine, sine], [-sine, cosine]])
    flat: np.ndarray = (turned + np.asarray(pivot, dtype=np.float64)).reshape(-1)
    return flat


def patch_runs(patches: Iterable[Patch], size: tuple[int, int]) -> Segmentation:
    """The run lengths of the union of some masks on an image; what lies outside of it is cut off.

    Args:
        patches: masks with their corners.
        size: (height, width) of the image.

    Raises:
        DataError: the image is too large.
    """
    height, width = size
    if height * width > MAX_PIXELS:
        raise DataError(f"a mask for an image of {height}x{width} pixels; at most {MAX_PIXELS} are read")
    inside = [cut for patch in patches if (cut := _cut(patch, size)) is not None]
    if len(inside) > 1:
        inside = [_merged(inside)]
    if not inside:
        return Segmentation(runs=np.array([height * width], dtype=np.int64), size=size)
    mask, left, top = inside[0]
    step = max(1, BLOCK // mask.shape[0])
    edges = [
        patch_edges(mask[:, column : column + step], left + column, top, height)
        for column in range(0, mask.shape[1], step)
    ]
    runs = np.diff(np.concatenate(edges), prepend=0, append=height * width)
    return Segmentation(runs=runs.astype(np.int64), size=size)


def drawn_patch(outlines: Sequence[np.ndarray], size: tuple[int, int]) -> Patch:
    """The union of some outlines as a mask, filled as in COCO; raises as `outline_runs` does."""
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(f"a mask for an image of {size[0]}x{size[1]} pixels; at most {MAX_PIXELS} are read")
    return Region(outline_runs(outlines, size), size).mask(), 0, 0


def _cut(patch: Patch, size: tuple[int, int]) -> Patch | None:
    """The part of a patch that lies on the image and is not empty."""
    mask, left, top = patch
    mask = mask[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
    left, top = max(0, left), max(0, top)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return (
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
        left + int(columns[0]),
        top + int(rows[0]),
    )


def _merged(patches: Sequence[Patch]) -> Patch:
    left, top = min(patch[1] for patch in patches), min(patch[2] for patch in patches)
    right = max(patch[1] + patch[0].shape[1] for patch in patches)
    bottom = max(patch[2] + patch[0].shape[0] for patch in patches)
    union = np.zeros((bottom - top, right - left), dtype=bool)
    for mask, x, y in patches:
        union[y - top : y - top + mask.shape[0], x - left : x - left + mask.shape[1]] |= mask
    return union, left, top
