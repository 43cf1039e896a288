"""Boxes of images that are made of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.visible_boxes import box_areas, clip_to_visible, visible_beside
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
        beside = DetectAnnotation(rest[kept], first.labels[kept], first.crowd[kept])
        pasted = DetectAnnotation(inner[inside], second.labels[inside], second.crowd[inside])
        return _joined([beside, _shifted(pasted, left, top)])


def _shifted(annotation: DetectAnnotation, left: int, top: int) -> DetectAnnotation:
    shift = np.array([left, top, left, top], dtype=np.float32)
    return DetectAnnotation(annotation.boxes + shift, annotation.labels, annotation.crowd)


def _joined(annotations: Sequence[DetectAnnotation]) -> DetectAnnotation:
    return DetectAnnotation(
        np.concatenate([each.boxes for each in annotations]),
        np.concatenate([each.labels for each in annotations]),
        np.concatenate([each.crowd for each in annotations]),
    )
