"""Pictures of keypoints: dots, the skeleton's lines, and a legend below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from vertebra.tasks.palette import color
from vertebra.tasks.picture import draw_tag, enlarge, line_width, tag_size, text_size, with_legend

if TYPE_CHECKING:
    from vertebra.tasks.keypoints.types import KeypointPrediction

LEGEND_ENTRIES = 24


def draw_keypoints(prediction: KeypointPrediction, picture: Image.Image) -> Image.Image:
    """The picture with the points of each object that is not below ``prediction.draw_threshold``, and a legend of their colors.

    Each point has its own color, the same on all objects. Points below that score and the lines to them are left out. The best
    objects are drawn on top. Tracked objects are all drawn, each with its id ("#7") in the color of its track.

    Args:
        prediction: the objects to draw, with points in the picture's pixels.
        picture: RGB, of any size; a small one is enlarged, and the points with it.
    """
    canvas = enlarge(picture).copy()
    draw = ImageDraw.Draw(canvas)
    factor = np.array([canvas.width / picture.width, canvas.height / picture.height])
    named: set[int] = set()
    for row in range(len(prediction) - 1, -1, -1):
        if prediction.track_ids is None and prediction.scores[row] < prediction.draw_threshold:
            continue
        points = prediction.points[row] * factor
        shown = prediction.point_scores[row] >= prediction.draw_threshold
        width = _width(canvas, points[shown])
        for first, second in prediction.spec.skeleton:
            if shown[first] and shown[second]:
                line = [(float(x), float(y)) for x, y in points[[first, second]]]
                draw.line(line, fill=_dark(color(second)), width=width + 2)
                draw.line(line, fill=color(second), width=width)
        for number in np.flatnonzero(shown).tolist():
            _dot(draw, points[number], color(number), 1.5 * width + 1)
            named.add(number)
    if prediction.track_ids is not None:
        _draw_track_tags(draw, prediction.track_ids, prediction.boxes * np.tile(factor, 2), canvas)
    entries = [(prediction.spec.points[number], color(number)) for number in sorted(named)]
    return with_legend(canvas, entries, LEGEND_ENTRIES)


def _draw_track_tags(draw: ImageDraw.ImageDraw, tracks: np.ndarray, boxes: np.ndarray, canvas: Image.Image) -> None:
    """The ids of tracks (M,) at the top left corners of boxes (M, 4), inside the canvas; those of the best objects on top."""
    size = text_size(canvas)
    for track, box in reversed(list(zip(tracks.tolist(), boxes, strict=True))):
        width, height = tag_size(f"#{track}", size)
        corner = np.clip(np.rint(box[:2] - (0, height)), 0, (canvas.width - width, canvas.height - height)).astype(int)
        draw_tag(draw, (int(corner[0]), int(corner[1])), f"#{track}", size, color(track))


def _width(canvas: Image.Image, points: np.ndarray) -> int:
    """Width in pixels of an object's lines; thinner if its points (M, 2) lie close together."""
    width = line_width(canvas)
    extent = float(np.ptp(points, axis=0).max()) if len(points) > 1 else np.inf
    return int(min(width, max(1, extent / 40)))


def _dot(draw: ImageDraw.ImageDraw, point: np.ndarray, fill: tuple[int, int, int], radius: float) -> None:
    """A filled disc with a dark rim, visible on any background."""
    x, y = float(point[0]), float(point[1])
    for reach, inside in ((radius + 1, _dark(fill)), (radius, fill)):
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=inside)


def _dark(fill: tuple[int, int, int]) -> tuple[int, int, int]:
    return (fill[0] // 2, fill[1] // 2, fill[2] // 2)
