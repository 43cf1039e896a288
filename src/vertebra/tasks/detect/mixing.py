"""Boxes of images that are made of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.annotations.scope import intersected
from vertebra.tasks.assignment import max_gain_pairs
from vertebra.tasks.box_iou import iou
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.data import MIN_VISIBLE_FRACTION, box_areas, clip_to_visible, visible
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.mixing import Mixing, MosaicTile, Paste, Rectangle

SAME_OBJECT_IOU = 0.5  # of the boxes that two annotations have of one object


class DetectMixing(Mixing):
    """The boxes of all images, without those of which too little is visible."""

    operations = frozenset({"mosaic", "mixup", "cutmix"})
    follows_paste = True

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

    def follow_paste(
        self, first: DetectAnnotation, second: DetectAnnotation, paste: Paste, labels: DetectLabels
    ) -> DetectAnnotation:
        """The boxes of what remains visible of the first image's objects, and of the pasted objects.

        An object whose mask is unknown, as a crowd's may be, keeps its box while enough of that box is visible.
        """
        boxes, kept = _beside_pasted(first.boxes, paste)
        pasted = np.zeros(len(second.labels), dtype=bool)
        pasted[_same_objects(second.boxes, paste.pasted)[0]] = True
        return _joined([visible(first, boxes, kept), visible(second, second.boxes, pasted)])


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


def _same_objects(boxes: np.ndarray, of_masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of boxes (M, 4) and of boxes around masks (P, 4) that belong to one object each."""
    overlaps = iou(boxes[:, None], of_masks[None])
    return max_gain_pairs(np.where(overlaps >= SAME_OBJECT_IOU, overlaps, 0.0))


def _beside_pasted(boxes: np.ndarray, paste: Paste) -> tuple[np.ndarray, np.ndarray]:
    """The boxes (M, 4) float32 of what pasted objects leave of objects, and which are visible enough, (M,) bool.

    A side of a box moves if that of the box around the object's mask does.
    """
    left, top = np.clip(np.floor(boxes[:, :2]), 0, paste.region.shape[::-1]).astype(np.int64).T
    right, bottom = np.clip(np.ceil(boxes[:, 2:]), 0, paste.region.shape[::-1]).astype(np.int64).T
    sums = np.pad(paste.region.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    hidden = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    kept = hidden <= (1 - MIN_VISIBLE_FRACTION) * (right - left) * (bottom - top)
    rest = boxes.astype(np.float32)
    rows, of_masks = _same_objects(boxes, paste.before)
    moved = paste.after[of_masks] != paste.before[of_masks]
    rest[rows] = np.where(moved, paste.after[of_masks], boxes[rows])
    kept[rows] = ~np.isnan(paste.after[of_masks, 0])
    return np.nan_to_num(rest), kept


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
