"""Pictures of rotated boxes, with tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from vertebra.geometry.rectangles import hulls
from vertebra.tasks.detect.draw import boxes_on, draw_tags, shown_objects, tag_texts
from vertebra.tasks.palette import Color, color
from vertebra.tasks.picture import enlarge, line_width

if TYPE_CHECKING:
    from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction


def draw_rotated_boxes(prediction: RotatedBoxPrediction, picture: Image.Image) -> Image.Image:
    """The picture with a rotated box and a tag ("ship 0.93") for each object that is not below ``prediction.draw_threshold``;
    objects whose score is NaN, as those of annotations, are drawn without a number. The best are drawn on top.

    Args:
        prediction: the boxes to draw, in the picture's pixels.
        picture: RGB, of any size; a small one is enlarged, and the boxes with it.
    """
    canvas = enlarge(picture).copy()
    shown = shown_objects(prediction.scores, prediction.draw_threshold)
    factor = np.array([canvas.width / picture.width, canvas.height / picture.height])
    corners = np.rint(prediction.corners[shown] * factor).astype(int)
    colors = [color(number) for number in prediction.class_ids[shown].tolist()]
    draw, width = ImageDraw.Draw(canvas), line_width(canvas)
    for points, ink in zip(corners[::-1], colors[::-1], strict=True):
        _draw_outline(draw, points, ink, width)
    boxes = boxes_on(canvas, hulls(prediction.corners[shown]), picture.size)
    draw_tags(canvas, boxes, tag_texts(prediction, shown, canvas), colors)
    return canvas


def _draw_outline(draw: ImageDraw.ImageDraw, points: np.ndarray, ink: Color, width: int) -> None:
    """A closed line, with a thin darker line on either side, visible on any background."""
    red, green, blue = ink
    closed = [
        (x, y) for x, y in [*points.tolist(), *points[:2].tolist()]
    ]  # past the start, so that its joint is drawn too
    draw.line(closed, fill=(red // 2, green // 2, blue // 2), width=width + 2, joint="curve")
    draw.line(closed, fill=ink, width=width, joint="curve")
