"""Boxes of images that are made of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.annotations.scope import intersected
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.data import MIN_VISIBLE_FRACTION, box_areas, clip_to_visible, visible
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.mixing import Mixing, MosaicTile, Rectangle


class DetectMixing(Mixing):
    """The boxes of all images, without those of which too little is visible."""

    operations = frozenset({"mosaic", "mixup", "cutmix"})

    def mosaic(self, tiles: Sequence[MosaicTile], canvas: tuple[int, int], labels: DetectLabels) -> DetectAnnotation:
        """The boxes of all tiles."""
        return _joined([_shifted(tile.annotation, tile.left, tile.top) for tile in tiles])

    def mixup(
        self, first: DetectAnnotation, second: DetectAnnotation, share: float, labels: DetectLabels
    ) -> DetectAnnotation:
        """The boxes of both."""
        return _joined([first, second])

    def cutmix(
        self,
        first: DetectAnnotation,
        second: DetectAnnotation,
        rectangle: Rectangle,
        share: float,
        labels: DetectLabels,
    ) -> DetectAnnotation:
        """Boxes of the first beside the rectangle, and of the second inside it, clipped."""
        rest, kept = visible_beside(first.boxes, rectangle)
        left, top, right, bottom = rectangle
        inner, inside = clip_to_visible(
            second.boxes - np.array([left, top, left, top]), (bottom - top, right - left), box_areas(second.boxes)
        )
        beside, pasted = visible(first, rest, kept), visible(second, inner, inside)
        return _joined([beside, _shifted(pasted, left, top)])


def _shifted(annotation: DetectAnnotation, left: int, top: int) -> DetectAnnotation:
    shift = np.array([left, top, left, top], dtype=np.float32)
    return visible(annotation, annotation.boxes + shift, np.ones(len(annotation.labels), dtype=bool))


def _joined(annotations: Sequence[DetectAnnotation]) -> DetectAnnotation:
    """All objects; the classes that are exhaustively annotated are those of all images."""
    return DetectAnnotation(
        np.concatenate([each.boxes for each in annotations]),
        np.concatenate([each.labels for each in annotations]),
        np.concatenate([each.crowd for each in annotations]),
        exhaustive=intersected([each.exhaustive for each in annotations]),
    )


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
