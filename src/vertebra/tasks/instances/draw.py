"""Pictures of objects with masks: translucent colors with bright contours, and tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vertebra.errors import DataError
from vertebra.preprocess.warp import Warp
from vertebra.tasks.detect.draw import boxes_on, draw_tags, shown_objects, tag_texts
from vertebra.tasks.instances.region_mapping import mapped_region
from vertebra.tasks.palette import color
from vertebra.tasks.picture import enlarge, line_width

if TYPE_CHECKING:
    from vertebra.tasks.instances.types import InstancePrediction

OPACITY = 0.45


def draw_instances(prediction: InstancePrediction, picture: Image.Image) -> Image.Image:
    """The picture with the mask and a tag ("dog 0.93") of each object that is not below ``prediction.draw_threshold``; objects
    whose score is NaN, as those of annotations, are drawn without a number. Tracked objects are all drawn, with their ids, in the
    color of the track instead of the class. The best are drawn on top.

    Args:
        prediction: the objects to draw.
        picture: RGB, of the masks' size; a small one is enlarged, and the masks with it.

    Raises:
        DataError: the picture has another size than the masks.
    """
    height, width = prediction.size
    if picture.size != (width, height):
        raise DataError(
            f"the masks are {width}x{height} pixels and the image {picture.width}x{picture.height}; "
            "draw on the image that was predicted on"
        )
    canvas = enlarge(picture)
    tracks = prediction.track_ids
    shown = shown_objects(prediction.scores, prediction.draw_threshold if tracks is None else -np.inf)
    colors = [color(number) for number in (prediction.class_ids if tracks is None else tracks)[shown].tolist()]
    enlarged = Warp(
        np.diag([canvas.width / width, canvas.height / height, 1.0]), prediction.size, (canvas.height, canvas.width)
    )
    painted = np.array(canvas)
    edge = max(1, line_width(canvas) // 2)
    for row, ink in zip(shown[::-1].tolist(), colors[::-1], strict=True):
        mask, left, top = mapped_region(prediction.rles[row], enlarged).patch()
        part = painted[top : top + mask.shape[0], left : left + mask.shape[1]]
        _paint(part, mask, ink, edge)
    drawn = Image.fromarray(painted)
    boxes = boxes_on(drawn, prediction.boxes[shown], picture.size)
    draw_tags(drawn, boxes, tag_texts(prediction, shown, drawn), colors)
    return drawn


def _paint(part: np.ndarray, mask: np.ndarray, ink: tuple[int, int, int], edge: int) -> None:
    """Colors the pixels of a mask (h, w) in a part (h, w, 3) uint8 of a picture, its border of ``edge`` pixels brighter."""
    inner = np.pad(mask, 1)
    for _ in range(edge):
        inner[1:-1, 1:-1] &= inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    border = mask & ~inner[1:-1, 1:-1]
    colors = np.array(ink, dtype=np.float32)
    part[mask] = np.rint((1 - OPACITY) * part[mask] + OPACITY * colors)
    part[border] = np.rint(0.8 * colors + 0.2 * 255)
