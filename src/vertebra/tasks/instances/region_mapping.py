"""Masks as run lengths, moved with their image: cropped, scaled, turned, mirrored or warped."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.run_lengths import Region
from vertebra.preprocess.canvas_map import CanvasMap
from vertebra.preprocess.image_transform import ImageTransform
from vertebra.preprocess.warp import Warp

TIE = 1e-9  # of a pixel: a center on the border of two pixels belongs to the second one


def mapped_region(region: Region, canvas_map: CanvasMap) -> Region:
    """A region of the image on the valid pixels of the canvas; each takes the value under its center.

    Only the part of the canvas that shows the region is computed.
    """
    patch, left, top = region.patch()
    height, width = patch.shape
    corners = canvas_map.boxes(np.array([left, top, left + width, top + height], dtype=np.float64))
    limits = np.array([canvas_map.out[1], canvas_map.out[0]])
    first = np.clip(np.floor(corners[:2]), 0, limits).astype(np.int64)
    last = np.clip(np.ceil(corners[2:]), 0, limits).astype(np.int64)
    if not patch.size or (last <= first).any():
        return Region.of_edges(np.zeros(0, dtype=np.int64), canvas_map.out)
    x = np.arange(first[0], last[0])[None, :] + 0.5
    y = np.arange(first[1], last[1])[:, None] + 0.5
    across, down, depth = (line[0] * x + (line[1] * y + line[2]) for line in np.linalg.inv(canvas_map.matrix))
    columns = np.floor(across / depth + TIE).astype(np.int64) - left
    rows = np.floor(down / depth + TIE).astype(np.int64) - top
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    mask = np.zeros(inside.shape, dtype=bool)
    mask[inside] = patch[rows[inside], columns[inside]]
    return Region.of_patch((mask, int(first[0]), int(first[1])), canvas_map.out)


def uncropped_map(transform: ImageTransform) -> Warp:
    """The map of a whole image onto the canvas."""
    matrix = np.diag([transform.scale_x, transform.scale_y, 1.0])
    matrix[:2, 2] = transform.left, transform.top
    return Warp(matrix, transform.original, transform.size)
