"""Pictures of detections: boxes with tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from vertebra.tasks.palette import color
from vertebra.tasks.picture import draw_tag, enlarge, fit_text, line_width, tag_size, text_size

if TYPE_CHECKING:
    from vertebra.tasks.detect.types import DetectPrediction


def draw_detections(prediction: DetectPrediction, picture: Image.Image) -> Image.Image:
    """The picture with a box and a tag ("dog 0.93") for each object that is not below ``prediction.draw_threshold``; objects whose
    score is NaN, as those of annotations, are drawn without a number.

    The best are drawn on top. A tag is above its box, or at another corner where it is inside the picture and hides no other tag.

    Args:
        prediction: the boxes to draw, in the picture's pixels.
        picture: RGB, of any size; a small one is enlarged, and the boxes with it.
    """
    canvas = enlarge(picture).copy()
    shown = np.flatnonzero(~(prediction.scores < prediction.draw_threshold))
    shown = shown[np.argsort(-prediction.scores[shown], kind="stable")]
    factor = np.asarray([canvas.width / picture.width, canvas.height / picture.height] * 2)
    limit = np.asarray([canvas.width, canvas.height] * 2)
    boxes = np.clip(np.rint(prediction.boxes[shown] * factor), 0, limit).astype(int)
    labels = prediction.class_ids[shown]
    draw = ImageDraw.Draw(canvas)
    width = line_width(canvas)
    for box, label in zip(boxes[::-1], labels[::-1], strict=True):
        _draw_box(draw, box, int(label), width)
    size = text_size(canvas)
    texts = [
        fit_text(prediction.spec.classes[label], size, canvas.width // 2) + ("" if np.isnan(score) else f" {score:.2f}")
        for label, score in zip(labels, prediction.scores[shown], strict=True)
    ]
    for attribute in prediction.attributes.values():
        values = attribute[shown].captions()
        texts = [
            f"{text}, {fit_text(value, size, canvas.width // 3)}" for text, value in zip(texts, values, strict=True)
        ]
    tag_corners = _tag_corners(boxes, [tag_size(text, size) for text in texts], canvas.size)
    for text, label, corner in reversed(list(zip(texts, labels, tag_corners, strict=True))):
        draw_tag(draw, corner, text, size, color(int(label)))
    return canvas


def _draw_box(draw: ImageDraw.ImageDraw, box: np.ndarray, label: int, width: int) -> None:
    """A box in its class's color, with a thin darker line on either side, visible on any background."""
    red, green, blue = color(label)
    left, top, right, bottom = (int(side) for side in box)
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    halo = (red // 2, green // 2, blue // 2)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=halo, width=width + 2)
    draw.rectangle((left, top, right, bottom), outline=(red, green, blue), width=width)


def _tag_corners(boxes: np.ndarray, sizes: list[tuple[int, int]], canvas: tuple[int, int]) -> list[tuple[int, int]]:
    """Top left corners of tags, best first: the first of a box's corners that has no other tag yet.

    Args:
        boxes: (M, 4) xyxy, best first.
        sizes: width and height of each tag.
        canvas: width and height of the picture; tags stay inside.
    """
    starts, stops = np.zeros((2, len(boxes), 2), dtype=int)  # corners of the tags so far
    for number, ((left, top, right, bottom), (width, height)) in enumerate(zip(boxes.tolist(), sizes, strict=True)):
        candidates = [(left, top - height), (left, top), (left, bottom), (right - width, top - height)]
        candidates += [(right - width, top), (left, bottom - height), (right - width, bottom)]
        inside = np.clip(candidates, 0, (max(0, canvas[0] - width), max(0, canvas[1] - height)))
        overlaps = (starts[:number] < inside[:, None] + (width, height)) & (stops[:number] > inside[:, None])
        corner = inside[overlaps.all(axis=2).any(axis=1).argmin()]  # the first one where all are covered
        starts[number], stops[number] = corner, corner + (width, height)
    return [(x, y) for x, y in starts.tolist()]
