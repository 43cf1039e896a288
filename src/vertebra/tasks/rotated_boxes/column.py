"""The rotated boxes of all images of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, size_change
from vertebra.annotations.scope import LabelScope
from vertebra.geometry.rectangles import MIN_AREA, clipped_rectangles, enclosing_rectangles, hulls
from vertebra.tasks.detect.column import ObjectColumn
from vertebra.tasks.rotated_boxes.annotation import RotatedBoxAnnotation

MIN_SIDE = 0.5  # pixels of the shorter side


@dataclass(frozen=True, eq=False, kw_only=True)
class RotatedBoxColumn(ObjectColumn):
    """The rotated boxes of all images, concatenated; ``boxes`` are the upright ones around them.

    Attributes:
        corners: (B, 4, 2) float32 of x, y in image pixels.
    """

    per_object: ClassVar[tuple[str, ...]] = (*ObjectColumn.per_object, "corners")

    corners: np.ndarray

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        corners: np.ndarray,
        labels: np.ndarray,
        crowd: np.ndarray,
        labeled: np.ndarray,
        annotated: AnnotatedSizes | None = None,
        scope: LabelScope | None = None,
        class_count: int = 0,
    ) -> RotatedBoxColumn:
        """A column from objects in any order; ``rows`` (B,) int64 is the image of each."""
        corners = corners.astype(np.float32).reshape(-1, 4, 2)
        column = cls(
            offsets=np.zeros(0, dtype=np.int64),
            boxes=hulls(corners),
            corners=corners,
            labels=labels.astype(np.int64),
            crowd=crowd.astype(bool),
            labeled=labeled,
            annotated=annotated,
            scope=scope,
            class_count=class_count,
        )
        return column.sorted_by_image(rows)

    def get(self, row: int, size: tuple[int, int]) -> RotatedBoxAnnotation:
        """The objects of an image. A box that extends beyond it becomes the one around its visible part, with the same angle; those
        outside are left out.

        Raises:
            DataError: they were made for another size of the image, and cannot be brought over.
        """
        part, change = self.part(row), size_change(self.annotated, row, size)
        corners = self.corners[part]
        if change.done:
            corners = enclosing_rectangles(change.points(corners))
        exhaustive = None if self.scope is None else self.scope.of_image(row, self.class_count)
        annotation = RotatedBoxAnnotation(corners, self.labels[part], self.crowd[part], exhaustive)
        return shown(annotation, size, 0.0)

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts boxes with a corner beyond an image of this size by more than a pixel."""
        corners = size_change(self.annotated, row, size).points(self.corners[self.part(row)])
        limit = np.array([size[1], size[0]]) + 1
        outside = ((corners > limit) | (corners < -1)).any(axis=(1, 2))
        return {"box": int(outside.sum())} if outside.any() else {}


def shown(annotation: RotatedBoxAnnotation, size: tuple[int, int], min_fraction: float) -> RotatedBoxAnnotation:
    """The boxes around the visible parts, without objects of which less is visible, or a side is under `MIN_SIDE` pixels.

    Args:
        annotation: in pixels of an image; boxes may extend beyond it.
        size: (height, width) of the visible part.
        min_fraction: of the area that must be visible.
    """
    if not len(annotation.labels):
        return annotation
    corners, visible = clipped_rectangles(annotation.corners, size)
    sides = np.linalg.norm(annotation.corners[:, [1, 3]] - annotation.corners[:, :1], axis=-1)
    rest = np.linalg.norm(corners[:, [1, 3]] - corners[:, :1], axis=-1)
    kept = (visible > MIN_AREA) & (visible >= min_fraction * sides.prod(axis=1)) & (rest.min(axis=1) >= MIN_SIDE)
    return RotatedBoxAnnotation(corners, annotation.labels, annotation.crowd, annotation.exhaustive).take(kept)
