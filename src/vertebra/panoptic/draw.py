"""Pictures of panoptic predictions: translucent colors of classes with contours of segments, and tags of things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from vertebra.errors import DataError
from vertebra.tasks.detect.draw import boxes_on, draw_tags, tag_texts
from vertebra.tasks.palette import color
from vertebra.tasks.picture import enlarge, line_width, with_legend

if TYPE_CHECKING:
    from vertebra.panoptic.types import PanopticPrediction

OPACITY = 0.5


def draw_panoptic(prediction: PanopticPrediction, picture: Image.Image) -> Image.Image:
    """The picture with the class color and the bright contour of each segment, a tag ("dog 0.93") on each thing, and a legend of
    the stuff and its shares.

    Args:
        prediction: the segments to draw.
        picture: RGB, of the map's size; a small one is enlarged, and the map with it.

    Raises:
        DataError: the picture has another size than the map.
    """
    height, width = prediction.size
    if picture.size != (width, height):
        raise DataError(
            f"the map is {width}x{height} pixels and the image {picture.width}x{picture.height}; "
            "draw on the image that was predicted on"
        )
    canvas = enlarge(picture)
    rows = np.zeros(int(prediction.ids.max(initial=0)) + 1, dtype=np.int32)
    rows[prediction.segment_ids] = np.arange(1, len(prediction) + 1)
    numbers = rows[prediction.ids]
    if canvas.size != picture.size:
        numbers = np.asarray(Image.fromarray(numbers).resize(canvas.size, Image.Resampling.NEAREST))
    drawn = Image.fromarray(_painted(np.asarray(canvas), numbers, prediction, max(1, line_width(canvas) // 2)))
    things = np.flatnonzero(prediction.is_thing)
    colors = [color(number) for number in prediction.class_ids[things].tolist()]
    boxes = boxes_on(drawn, prediction.boxes[things], picture.size)
    draw_tags(drawn, boxes, tag_texts(prediction, things, drawn), colors)
    shown = np.flatnonzero(~prediction.is_thing)
    shown = shown[np.argsort(-prediction.areas[shown], kind="stable")]
    names, shares = prediction.class_names, 100 * prediction.areas / prediction.ids.size
    return with_legend(
        drawn, [(f"{names[row]} {shares[row]:.1f} %", color(int(prediction.class_ids[row]))) for row in shown.tolist()]
    )


def _painted(canvas: np.ndarray, numbers: np.ndarray, prediction: PanopticPrediction, edge_width: int) -> np.ndarray:
    """(H, W, 3) uint8, the pixels of segments in the colors of their classes, and their borders brighter."""
    inks = np.array([(0, 0, 0), *(color(number) for number in prediction.class_ids.tolist())], dtype=np.float32)
    ink = inks[numbers]
    painted = np.where((numbers > 0)[..., None], (1 - OPACITY) * canvas + OPACITY * ink, canvas)
    border = (numbers > 0) & _border(numbers, edge_width)
    painted[border] = 0.8 * ink[border] + 0.2 * 255
    return np.asarray(painted.round(), dtype=np.uint8)


def _border(numbers: np.ndarray, width: int) -> np.ndarray:
    """(H, W) bool, the pixels within ``width`` pixels of another number; the picture's border is not one."""
    border = np.zeros(numbers.shape, dtype=bool)
    down, across = numbers[1:] != numbers[:-1], numbers[:, 1:] != numbers[:, :-1]
    for _ in range(width):
        wider = border.copy()
        wider[1:] |= down | border[:-1]
        wider[:-1] |= down | border[1:]
        wider[:, 1:] |= across | border[:, :-1]
        wider[:, :-1] |= across | border[:, 1:]
        border = wider
    return border
