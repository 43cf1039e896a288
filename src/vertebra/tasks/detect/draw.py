"""Pictures of detections: boxes with tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from vertebra.tasks.palette import Color, color
from vertebra.tasks.picture import draw_tag, enlarge, fit_text, line_width, tag_size, text_size

if TYPE_CHECKING:
    from vertebra.tasks.detect.types import DetectPrediction
    from vertebra.tasks.prediction import Prediction


def draw_detections(prediction: DetectPrediction, picture: Image.Image) -> Image.Image:
    """The picture with a box and a tag ("dog 0.93") for each object that is not below ``prediction.draw_threshold``; objects whose
    score is NaN, as those of annotations, are drawn without a number.

    Tracked objects are all drawn, with their ids ("#7 dog 0.93"), in the color of the track instead of the class. The best are
    drawn on top. A tag is above its box, or at another corner where it is inside the picture and hides no other tag.

    Args:
        prediction: the boxes to draw, in the picture's pixels.
        picture: RGB, of any size; a small one is enlarged, and the boxes with it.
    """
    canvas = enlarge(picture).copy()
    tracks = prediction.track_ids
    shown = shown_objects(prediction.scores, prediction.draw_threshold if tracks is None else -np.inf)
    boxes = boxes_on(canvas, prediction.boxes[shown], picture.size)
    colors = [color(number) for number in (prediction.class_ids if tracks is None else tracks)[shown].tolist()]
    draw = ImageDraw.Draw(canvas)
    width = line_width(canvas)
    for box, outline in zip(boxes[::-1], colors[::-1], strict=True):
        _draw_box(draw, box, outline, width)
    draw_tags(canvas, boxes, tag_texts(prediction, shown, canvas), colors)
    return canvas


def shown_objects(scores: np.ndarray, threshold: float) -> np.ndarray:
    """The rows of the objects whose score is not below the threshold, best first."""
    shown = np.flatnonzero(~(scores < threshold))
    best_first: np.ndarray = shown[np.argsort(-scores[shown], kind="stable")]
    return best_first


def boxes_on(canvas: Image.Image, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (M, 4) of a picture of (width, height) in whole pixels of a canvas that it was enlarged to."""
    factor = np.asarray([canvas.width / size[0], canvas.height / size[1]] * 2)
    limit = np.asarray([canvas.width, canvas.height] * 2)
    whole: np.ndarray = np.clip(np.rint(boxes * factor), 0, limit).astype(int)
    return whole


def draw_tags(canvas: Image.Image, boxes: np.ndarray, texts: Sequence[str], colors: Sequence[Color]) -> None:
    """Draws a tag at each box.

    Args:
        canvas: the picture.
        boxes: (M, 4) in whole pixels of it, best first.
        texts, colors: of the tags.
    """
    size = text_size(canvas)
    tag_corners = _tag_corners(boxes, [tag_size(text, size) for text in texts], canvas.size)
    draw = ImageDraw.Draw(canvas)
    for text, background, corner in reversed(list(zip(texts, colors, tag_corners, strict=True))):
        draw_tag(draw, corner, text, size, background)


def tag_texts(prediction: Prediction, rows: np.ndarray, canvas: Image.Image) -> list[str]:
    """The texts of the tags of some objects on a picture: the track, the class, shortened to half of the picture, the score
    where it is not NaN, and the values of attributes."""
    size, width = text_size(canvas), canvas.width // 2
    names = [fit_text(prediction.spec.classes[label], size, width) for label in prediction.class_ids[rows].tolist()]
    scores = ["" if np.isnan(score) else f" {score:.2f}" for score in prediction.scores[rows].tolist()]
    ids = getattr(prediction, "track_ids", None)
    tracks = [""] * len(rows) if ids is None else [f"#{number} " for number in ids[rows].tolist()]
    texts = [f"{track}{name}{score}" for track, name, score in zip(tracks, names, scores, strict=True)]
    for attribute in prediction.attributes.values():
        values = [fit_text(value, size, canvas.width // 3) for value in attribute[rows].captions()]
        texts = [f"{text}, {value}" for text, value in zip(texts, values, strict=True)]
    return texts


def _draw_box(draw: ImageDraw.ImageDraw, box: np.ndarray, outline: Color, width: int) -> None:
    """A box, with a thin darker line on either side, visible on any background."""
    red, green, blue = outline
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
